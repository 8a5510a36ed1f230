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
use ckrv_client::{ClientConfig, ClientError, ConfigError};
use ckrv_types::limits::ASSIGNMENTS_WAIT_SECONDS;
use ckrv_types::runner::{Observation, Observations, Offer, Register, Registered, RunnerHeartbeat};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::attempts::Attempts;
use self::home::{Home, HomeError};
use crate::backoff::Backoff;
use crate::config::{LocalConfig, read_secret};
use crate::refusal;
use crate::secrets::{Readers, Secrets, SecretsError};

/// How long the last words of an ending runner may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// Told at once, at most.
const OBSERVATIONS: usize = 100;

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
    let runner = Runner {
        client: RunnerClient::new(client)?,
        instance: home.instance(),
        config: config.clone(),
        attempts: Attempts::new(config, exe, home, reports),
    };
    runner.run(observations, stop).await
}

#[derive(Clone)]
struct Runner {
    client: RunnerClient,
    instance: String,
    config: LocalConfig,
    attempts: Attempts,
}

impl Runner {
    async fn run(
        self,
        observations: mpsc::UnboundedReceiver<Observation>,
        stop: CancellationToken,
    ) -> Result<(), LocalError> {
        // Before anything can fail for the network's sake: what is left of dead attempts goes.
        self.attempts.recover().map_err(LocalError::Recover)?;
        let closing = CancellationToken::new();
        let reporting = tokio::spawn(self.clone().report(observations, closing.clone()));
        let taking = async {
            let registered = self.register().await?;
            tracing::info!(name = registered.name, slots = self.config.slots, "registered; this is not a sandbox");
            let every = Duration::from_secs(registered.beat_seconds.max(1));
            tokio::select! {
                refused = self.beat(every, self.config.slots) => Err(refused),
                refused = self.follow() => Err(refused),
            }
        };
        let ended = tokio::select! {
            ended = taking => ended,
            () = stop.cancelled() => Ok(()),
        };
        self.end().await;
        // What was seen last is still to be told.
        closing.cancel();
        let _ = tokio::time::timeout(FAREWELL, reporting).await;
        ended
    }

    /// Takes nothing new any more; stops the attempts if it was set so.
    async fn end(&self) {
        let every = Duration::from_secs(1);
        if self.config.stop_jobs {
            tokio::select! {
                () = self.attempts.stop_all(Duration::from_secs(self.config.stop_limit)) => (),
                refused = self.beat(every, 0) => {
                    tracing::warn!(%refused, "ending");
                    self.attempts.stop_all(Duration::from_secs(self.config.stop_limit)).await;
                }
            }
        }
        let beat = self.heartbeat(0);
        let farewell = self.client.heartbeat(&beat);
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(_))) {
            tracing::warn!("the control plane did not hear that this runner ends");
        }
    }

    fn offer(&self, capacity: u32) -> Offer {
        Offer {
            capacity,
            classes: self.config.classes.clone(),
            labels: self.config.labels.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn heartbeat(&self, capacity: u32) -> RunnerHeartbeat {
        let holding = self.attempts.held();
        RunnerHeartbeat { instance: self.instance.clone(), offer: self.offer(capacity), holding }
    }

    async fn register(&self) -> Result<Registered, LocalError> {
        let register = Register { instance: self.instance.clone(), offer: self.offer(self.config.slots) };
        let mut backoff = Backoff::for_requests();
        loop {
            match self.client.register(&register).await {
                Ok(registered) => return Ok(registered),
                Err(error) if refusal::is_final(&error) => return Err(LocalError::Refused(error)),
                Err(error) => self.pause(&mut backoff, &error, "not registered yet").await,
            }
        }
    }

    /// Beats until it is refused.
    async fn beat(&self, every: Duration, capacity: u32) -> LocalError {
        let mut backoff = Backoff::new(Duration::from_millis(250), every);
        loop {
            match self.client.heartbeat(&self.heartbeat(capacity)).await {
                Ok(answer) => {
                    self.attempts.stop(&answer.stop);
                    self.attempts.forget(&answer.forget);
                    backoff = Backoff::new(Duration::from_millis(250), every);
                    tokio::time::sleep(every).await;
                }
                Err(error) if refusal::is_final(&error) => return LocalError::Refused(error),
                Err(error) => self.pause(&mut backoff, &error, "a beat did not arrive").await,
            }
        }
    }

    /// Follows the list of assignments until it is refused.
    async fn follow(&self) -> LocalError {
        let mut backoff = Backoff::for_requests();
        let wait = Duration::from_secs(ASSIGNMENTS_WAIT_SECONDS);
        let mut version = None;
        loop {
            match self.client.assignments(wait, version).await {
                Ok(assignments) => {
                    self.attempts.reconcile(&assignments.items);
                    version = Some(assignments.version);
                    backoff = Backoff::for_requests();
                }
                Err(error) if refusal::is_final(&error) => return LocalError::Refused(error),
                Err(error) => self.pause(&mut backoff, &error, "no list of assignments").await,
            }
        }
    }

    async fn pause(&self, backoff: &mut Backoff, error: &ClientError, what: &str) {
        tracing::warn!(%error, "{what}");
        tokio::time::sleep(backoff.pause(error.retry_after())).await;
    }

    /// Tells what was seen, in order, until it is heard; ends when it is `closing` and all is told.
    async fn report(self, mut seen: mpsc::UnboundedReceiver<Observation>, closing: CancellationToken) {
        let mut items = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = seen.recv_many(&mut items, OBSERVATIONS) => if count == 0 { return },
                () = closing.cancelled(), if !seen.is_closed() => {
                    seen.close();
                    continue;
                }
            }
            let mut backoff = Backoff::for_requests();
            let observations = Observations { instance: self.instance.clone(), items: std::mem::take(&mut items) };
            while let Err(error) = self.client.observations(&observations).await {
                if refusal::is_final(&error) {
                    tracing::warn!(%error, "observations are refused");
                    break;
                }
                tracing::warn!(%error, "observations not heard yet");
                tokio::time::sleep(backoff.pause(error.retry_after())).await;
            }
        }
    }
}
