//! A TCP relay, for who cannot reach loopback: pods reach the control plane and S3 of a test through it. The way can be
//! barred, which is the network on a worse day than [`crate::cutter`] has.

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running relay; it stops when dropped, and what runs through it breaks.
pub struct Relay {
    address: SocketAddr,
    /// Whether the way is open.
    way: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Relay {
    /// Relays from a port of `at` to `server`.
    pub async fn start(at: IpAddr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind((at, 0)).await.expect("the address is this machine's and has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (way, is_open) = watch::channel(true);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, server, is_open.clone()));
            }
        });
        Self { address, way, serving }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks every connection, and lets none through until [`Self::open`].
    pub fn bar(&self) {
        self.way.send_replace(false);
    }

    pub fn open(&self) {
        self.way.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
        self.bar();
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, mut is_open: watch::Receiver<bool>) {
    if !*is_open.borrow() {
        return;
    }
    // What is written at once goes at once: the relay is to add no time of its own.
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    if client.set_nodelay(true).is_err() || upstream.set_nodelay(true).is_err() {
        return;
    }
    tokio::select! {
        // Either side may hang up.
        _ = tokio::io::copy_bidirectional(&mut client, &mut upstream) => (),
        _ = is_open.wait_for(|is_open| !is_open) => (),
    }
}
