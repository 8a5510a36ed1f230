//! A TCP relay that cuts connections in the middle of what the server sends: the network on a bad day.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running relay; it stops when dropped.
pub struct Cutter {
    address: SocketAddr,
    cuts: Arc<AtomicU32>,
    serving: JoinHandle<()>,
}

impl Cutter {
    /// Relays to `server`. The first `times` connections are cut, each after the next of these numbers of bytes.
    pub async fn start(server: SocketAddr, after: Vec<usize>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let cuts = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&cuts);
        let serving = tokio::spawn(async move {
            let mut after = after.into_iter();
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, server, after.next(), Arc::clone(&counter)));
            }
        });
        Self { address, cuts, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections cut so far.
    pub fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn relay(client: TcpStream, server: SocketAddr, limit: Option<usize>, cuts: Arc<AtomicU32>) {
    let Ok(upstream) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let requests = tokio::spawn(async move {
        // Either side may hang up; the other direction decides when the relay ends.
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut left = limit.unwrap_or(usize::MAX);
    let mut buffer = [0; 4096];
    while left > 0 {
        let Ok(read) = from_server.read(&mut buffer).await else { break };
        if read == 0 {
            break;
        }
        let passed = read.min(left);
        if to_client.write_all(&buffer[..passed]).await.is_err() {
            break;
        }
        left -= passed;
    }
    if left == 0 {
        cuts.fetch_add(1, Ordering::Relaxed);
    }
    requests.abort();
}
