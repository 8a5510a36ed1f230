//! The runner of one machine: it takes attempts and supervises each in processes and a folder of its own.
//!
//! It is *not a sandbox*: agents run as the runner's own user, with the machine's network and programs.
//!
//! 1. It registers, and finds what an earlier process of it has left ([`attempts`]).
//! 2. It follows the list of its assignments and starts what is missing; the list is the truth, a change only a hint.
//! 3. Each beat says what it holds; the answer says what to stop and what to forget.
//! 4. What it sees from outside (launched; dead without an acknowledged end) is reported until it is heard.
//!
//! Supervisors do not need it: when it dies they go on, and the next runner of the same folder takes them over.

mod attempts;
pub mod home;
pub mod processes;
mod supervisor;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ckrv_client::runner::RunnerClient;
use ckrv_client::runner::driver::{Driver, Host};
use ckrv_client::{ClientConfig, ClientError, ConfigError};
use ckrv_types::AttemptId;
use ckrv_types::runner::{Assignments, Observation, Offer};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::attempts::Attempts;
use self::home::{Home, HomeError};
use crate::config::{LocalConfig, read_secret};
use crate::secrets::{Readers, Secrets, SecretsError};

/// How long the last words of an ending runner may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often it beats while its attempts are being stopped.
const STOPPING_BEAT: Duration = Duration::from_secs(1);

/// Why there is no runner, or no more.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot read the runner's token {path}")]
    Token {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Agents(#[from] crate::agents::CatalogError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot find the worker's executable")]
    Exe(#[source] io::Error),
    #[error("cannot look through the work folders")]
    Recover(#[source] io::Error),
    #[error("the control plane refuses this runner")]
    Refused(#[source] ClientError),
}

/// Runs until `stop`, or until the control plane refuses this runner for good. With `stop_jobs` nothing of any attempt is
/// left afterwards; otherwise supervisors go on.
pub async fn run(mut config: LocalConfig, stop: CancellationToken) -> Result<(), LocalError> {
    let token = read_secret(&config.token_file)
        .map_err(|source| LocalError::Token { path: config.token_file.clone(), source })?;
    // Told here rather than with every job.
    Secrets::load(&config.settings.secrets, Readers::Nobody)?;
    crate::agents::Catalog::load(config.settings.agents.as_deref())?;
    config.node = config.node.or_else(|| nix::unistd::gethostname().ok()?.into_string().ok());
    let exe = config.worker_exe.clone().map_or_else(std::env::current_exe, Ok).map_err(LocalError::Exe)?;
    let home = Home::open(&config.home)?;
    let user_agent = concat!("ckrv-worker/", env!("CARGO_PKG_VERSION"));
    let mut client = ClientConfig::new(config.server.clone(), token, user_agent);
    client.allow_plain_http = config.settings.allow_plain_http;
    let (reports, observations) = mpsc::unbounded_channel();
    let instance = home.instance();
    let machine = Machine { attempts: Attempts::new(config.clone(), exe, home, reports), config };
    let driver = Driver::new(RunnerClient::new(client)?, instance, machine.clone());
    Runner { driver, machine }.run(observations, stop).await
}

/// What attempts run in here: this machine.
#[derive(Clone)]
struct Machine {
    config: LocalConfig,
    attempts: Attempts,
}

impl Host for Machine {
    fn offer(&self) -> Offer {
        Offer {
            capacity: self.config.slots,
            classes: self.config.classes.clone(),
            labels: self.config.labels.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn held(&self) -> Vec<AttemptId> {
        self.attempts.held()
    }

    fn assigned(&self, list: Assignments) {
        self.attempts.reconcile(&list.items);
    }

    fn stop(&self, attempts: &[AttemptId]) {
        self.attempts.stop(attempts);
    }

    fn forget(&self, attempts: &[AttemptId]) {
        self.attempts.forget(attempts);
    }
}

struct Runner {
    driver: Driver<Machine>,
    machine: Machine,
}

impl Runner {
    async fn run(
        self,
        observations: mpsc::UnboundedReceiver<Observation>,
        stop: CancellationToken,
    ) -> Result<(), LocalError> {
        // Before anything can fail for the network's sake: what is left of dead attempts goes.
        self.machine.attempts.recover().map_err(LocalError::Recover)?;
        let (close, closing) = oneshot::channel();
        let reporting = tokio::spawn({
            let driver = self.driver.clone();
            async move { driver.report(observations, closing).await }
        });
        let taking = async {
            let registered = self.driver.register().await?;
            tracing::info!(
                name = registered.name,
                slots = self.machine.config.slots,
                "registered; this is not a sandbox"
            );
            let every = Duration::from_secs(registered.beat_seconds.max(1));
            tokio::select! {
                refused = self.driver.beat(every) => Err(refused),
                refused = self.driver.follow() => Err(refused),
            }
        };
        let ended = tokio::select! {
            ended = taking => ended.map_err(LocalError::Refused),
            () = stop.cancelled() => Ok(()),
        };
        self.end().await;
        // What was seen last is still to be told.
        let _ = close.send(());
        let _ = tokio::time::timeout(FAREWELL, reporting).await;
        ended
    }

    /// Takes nothing new any more; stops the attempts if it was set so.
    async fn end(&self) {
        self.driver.drain();
        let Machine { config, attempts } = &self.machine;
        if config.stop_jobs {
            let limit = Duration::from_secs(config.stop_limit);
            tokio::select! {
                () = attempts.stop_all(limit) => (),
                refused = self.driver.beat(STOPPING_BEAT) => {
                    tracing::warn!(%refused, "ending");
                    attempts.stop_all(limit).await;
                }
            }
        }
        if !matches!(tokio::time::timeout(FAREWELL, self.driver.farewell()).await, Ok(Ok(()))) {
            tracing::warn!("the control plane did not hear that this runner ends");
        }
    }
}
