//! What surrounds every route.

mod limits;
mod metrics;
mod problems;
mod ready;

use ckrv_tests::replica::{Installation, Loops};

/// An installation, and a client that knows nothing of problems or retries.
pub struct Plain {
    pub installation: Installation,
    pub http: reqwest::Client,
}

impl Plain {
    pub async fn with(arguments: &[&str]) -> Self {
        let installation = Installation::with(Loops::Off, arguments).await;
        Self { installation, http: reqwest::Client::new() }
    }

    pub fn url(&self, path: &str) -> String {
        self.installation.replica.url().join(path).unwrap().into()
    }

    pub fn key(&self) -> &str {
        self.installation.keys().api_key.expose()
    }
}
