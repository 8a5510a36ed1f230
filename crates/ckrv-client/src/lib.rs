//! The one HTTP client of ckrv: what the CLI, the worker and the runners say to the control plane goes through here.
//!
//! - [`Client`]: the user's API, one module per aggregate.
//! - [`oauth::AuthorizationServer`]: how a person's program is let in, and stays so.
//! - [`runner::RunnerClient`] and [`worker::WorkerClient`]: the protocols of those who execute attempts;
//!   [`runner::driver`] has the loops that every runner keeps.
//!
//! It knows the wire (routes, headers, retries, resuming of streams) and nothing of what its users do with the answers: no
//! terminal, no file, no environment variable.

mod artifacts;
mod audit;
mod backoff;
mod config;
mod credential;
mod error;
mod events;
mod identity;
mod jobs;
mod keys;
pub mod logs;
mod members;
pub mod oauth;
mod projects;
mod quota;
mod retry;
pub mod runner;
mod sse;
mod transport;
mod vault;
pub mod worker;

pub use artifacts::Download;
pub use audit::{AuditQuery, Exported};
pub use backoff::Backoff;
pub use config::{ClientConfig, ConfigError, Timeouts};
pub use credential::{Credential, TokenError, TokenSource};
pub use error::ClientError;
pub use jobs::ListJobs;
pub use logs::LogQuery;
pub use retry::Retry;

use transport::Transport;

/// The user's API of one control plane, by one credential. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// Checks the configuration; connects only when something is asked.
    ///
    /// [`install_crypto_provider`] must have run before in this process.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        Ok(Self { transport: Transport::new(config)? })
    }

    /// The address of the control plane, without a slash at its end.
    pub fn server(&self) -> &str {
        self.transport.server()
    }
}

/// Makes ring the process' TLS crypto provider. Every `main` calls it before the first client is built; calling it again,
/// or after somebody else did, changes nothing.
pub fn install_crypto_provider() {
    // An error means that one is installed already, and the workspace has only this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
