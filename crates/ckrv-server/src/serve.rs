//! The running server: checks what must hold, starts the loops, serves, and ends in order.
//!
//! At a stop: for `leave_seconds` all goes on, but the server says that it is not ready. Then no new connection; streams
//! and long polls end, so that their readers go elsewhere; running requests get `drain_seconds`; then the loops return.
//! Measurements, and the answer that the server is not ready, are there until the end.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::db::selfcheck::{self, Refusal};
use crate::http;
use crate::state::{AppState, ConfigError};
use crate::{background, metrics, sweeper, vault};

/// How long the database may be away at the start, where everything is started at once.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);
const DATABASE_PAUSE: Duration = Duration::from_millis(250);
/// Longest end of a loop once it was told to.
const LOOPS_END: Duration = Duration::from_secs(5);
const METRICS_END: Duration = Duration::from_secs(1);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the server refuses to start")]
    Refused(#[from] Refusal),
    #[error("the server refuses to start: it could not open every credential")]
    Vault(#[from] vault::data_keys::Refusal),
    #[error("the listener has no address")]
    Listener(#[source] std::io::Error),
    #[error("cannot listen on {0} for metrics")]
    MetricsListener(SocketAddr, #[source] std::io::Error),
}

/// Serves on `listener` until `stop` is cancelled.
pub async fn serve(mut config: Config, listener: TcpListener, stop: CancellationToken) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    // Port 0 was a wish for any.
    config.listen = address;
    let drain = Duration::from_secs(config.drain_seconds);
    let metrics_listener = metrics_listener(&config).await?;
    let leave = Duration::from_secs(config.leave_seconds);
    let ending = CancellationToken::new();
    let state = AppState::new(config, ending.clone())?;
    if stop.run_until_cancelled(self_check(&state)).await.transpose()?.is_none() {
        return Ok(());
    }
    state.vault.check(&state.db).await?;
    let loops = TaskTracker::new();
    background::spawn(&state, &loops, &ending);
    loops.spawn(sweeper::way_in::run(state.clone(), address, ending.clone()));
    loops.spawn(metrics::sample::run(state.clone(), ending.clone()));
    loops.spawn(http::health::watch(state.clone(), ending.clone()));
    loops.spawn(try_out_providers(state.clone(), ending.clone()));
    loops.spawn(end(state.clone(), stop, leave, ending.clone()));
    loops.close();
    let (measured, over) = (TaskTracker::new(), CancellationToken::new());
    if let Some(listener) = metrics_listener {
        measured.spawn(http::server::run(listener, http::metrics_router(&state), over.clone(), METRICS_END));
    }
    measured.close();
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "ckrv-server listens");
    http::server::run(listener, http::router(&state), ending, drain).await;
    if tokio::time::timeout(LOOPS_END, loops.wait()).await.is_err() {
        tracing::warn!("a loop did not end in time");
    }
    over.cancel();
    measured.wait().await;
    tracing::info!("ckrv-server has stopped");
    Ok(())
}

/// Ends the server `leave` after it was told to stop.
async fn end(state: AppState, stop: CancellationToken, leave: Duration, ending: CancellationToken) {
    stop.cancelled().await;
    state.readiness.leave();
    tokio::time::sleep(leave).await;
    ending.cancel();
}

/// Says at once of whom nobody could sign in through. It is no reason not to serve: they may only be away.
async fn try_out_providers(state: AppState, ending: CancellationToken) {
    for provider in state.providers.all() {
        if let Some(Err(error)) = ending.run_until_cancelled(provider.try_out()).await {
            tracing::warn!(
                provider = provider.id,
                error = &error as &dyn Error,
                "nobody can sign in through a provider"
            );
        }
    }
}

async fn metrics_listener(config: &Config) -> Result<Option<TcpListener>, ServeError> {
    let Some(address) = config.metrics_listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|error| ServeError::MetricsListener(address, error))?;
    tracing::info!(address = %listener.local_addr().map_err(ServeError::Listener)?, "metrics are served");
    Ok(Some(listener))
}

/// Waits for a database that is only just starting; anything else that is wrong is final.
async fn self_check(state: &AppState) -> Result<(), Refusal> {
    let deadline = tokio::time::Instant::now() + DATABASE_PATIENCE;
    loop {
        match selfcheck::check(&state.db).await {
            Err(Refusal::Database(error)) if tokio::time::Instant::now() < deadline => {
                tracing::warn!(error = &error as &dyn Error, "the database does not answer yet");
                tokio::time::sleep(DATABASE_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}
