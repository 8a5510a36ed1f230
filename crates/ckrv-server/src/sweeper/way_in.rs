//! Whether runners and workers can reach us: asked by going the way that they go, through the listener.
//!
//! Each replica that can be reached says so by a beat; while none does, nobody's silence counts.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{WAY_IN, beat_and_lease};
use crate::db::beats;
use crate::state::AppState;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const GOOD: &[u8] = b"HTTP/1.1 200 ";
const PATIENCE: Duration = Duration::from_secs(2);

/// Beats twice in each beat of a worker's for as long as `listener` answers, until `shutdown`.
pub async fn run(state: AppState, listener: SocketAddr, shutdown: CancellationToken) {
    let (beat, lease) = beat_and_lease(&state);
    let mut ticks = tokio::time::interval((beat / 2).max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let answered = tokio::time::timeout(PATIENCE, ask(reachable(listener))).await;
        match answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => {
                if let Err(error) = note(&state, beat, lease).await {
                    tracing::debug!(%error, "cannot note that the way in is open");
                }
            }
            Err(error) => tracing::warn!(%error, "our own listener does not answer"),
        }
    }
}

async fn note(state: &AppState, beat: Duration, lease: Duration) -> Result<(), sqlx::Error> {
    let mut tx = state.db.system().await?;
    beats::beat(&mut tx, WAY_IN, beat, lease).await?;
    tx.commit().await
}

async fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut status = [0; GOOD.len()];
    stream.read_exact(&mut status).await?;
    if status == GOOD { Ok(()) } else { Err(io::Error::other("the answer is not 200")) }
}

/// Where to reach a listener on all addresses.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let port = listener.port();
    match listener {
        SocketAddr::V4(address) if address.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, port).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, port).into(),
        other => other,
    }
}
