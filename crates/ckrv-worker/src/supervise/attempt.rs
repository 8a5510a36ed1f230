//! One attempt, once the control plane has given it to this worker.

use std::path::PathBuf;
use std::time::Duration;

use ckrv_client::worker::WorkerClient;
use ckrv_client::{Backoff, ClientConfig, ClientError, ConfigError};
use ckrv_types::Secret;
use ckrv_types::worker::{Start, Started};

use super::control::Control;
use super::folder::Folder;
use super::vitals::Vitals;
use crate::config::SuperviseConfig;
use crate::log::Log;
use crate::secrets::{Secrets, SecretsError};
use crate::shim::Door;

/// What every phase needs.
pub struct Attempt {
    pub config: SuperviseConfig,
    /// This program, which is also the shim.
    pub exe: PathBuf,
    pub folder: Folder,
    /// In a pod: where the shim comes from. None: it is a child of this process.
    pub door: Option<Door>,
    pub instance: String,
    pub started: Started,
    /// By the attempt's own token.
    pub client: WorkerClient,
    /// Told to the user with the outcome when they cannot be used.
    pub secrets: Result<Secrets, SecretsError>,
    pub log: Log,
    pub vitals: Vitals,
    pub control: Control,
}

/// The connection that a bootstrap token opens.
pub fn client(config: &SuperviseConfig, token: Secret) -> Result<WorkerClient, ConfigError> {
    let user_agent = concat!("ckrv-worker/", env!("CARGO_PKG_VERSION"));
    let mut client = ClientConfig::new(config.server.clone(), token, user_agent);
    client.allow_plain_http = config.settings.allow_plain_http;
    WorkerClient::new(client)
}

/// Binds the attempt to this process. A control plane that is away is waited for until `patience` is over.
pub async fn start(client: &WorkerClient, start: &Start, patience: Duration) -> Result<Started, ClientError> {
    let begun = tokio::time::Instant::now();
    let mut backoff = Backoff::for_requests();
    loop {
        let error = match client.start(start).await {
            Ok(started) => return Ok(started),
            Err(error) => error,
        };
        if error.is_final() || begun.elapsed() > patience {
            return Err(error);
        }
        tracing::warn!(%error, "not started yet");
        tokio::time::sleep(backoff.pause(error.retry_after())).await;
    }
}
