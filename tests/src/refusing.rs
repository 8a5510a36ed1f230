//! Hosts that are no good: one that gives everybody the same answer, and one that takes connections and never says a word.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use tokio::task::JoinHandle;

/// An HTTP server with one answer for everything; it ends when dropped.
pub struct Refusing {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Refusing {
    /// Answers `status` with one header to every request.
    pub async fn start(status: u16, header: (&'static str, &str)) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        let value = HeaderValue::from_str(header.1).expect("a header's value");
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let router = Router::new().fallback(async move || {
            counter.fetch_add(1, Ordering::Relaxed);
            (status, [(HeaderName::from_static(header.0), value)], "no")
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("the host serves") });
        Self { address, asked, serving }
    }

    /// A repository's URL there.
    pub fn url(&self) -> String {
        repository_at(self.address)
    }

    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A host whose system takes connections that nobody ever looks at.
pub struct Silent(TcpListener);

impl Silent {
    pub fn start() -> Self {
        Self(TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port"))
    }

    /// A repository's URL there.
    pub fn url(&self) -> String {
        repository_at(self.0.local_addr().expect("a bound socket has an address"))
    }
}

/// A repository's URL at this address.
pub fn repository_at(address: SocketAddr) -> String {
    format!("http://{address}/team/app.git")
}
