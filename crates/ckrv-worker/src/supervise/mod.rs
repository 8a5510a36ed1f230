//! The life of one attempt, in a process of its own.
//!
//! 1. *start*: the bootstrap token and a random instance id bind the attempt to this process ([`attempt`]).
//! 2. *starting*: the repository is cloned, the agent's shim is started ([`prepare`]).
//! 3. *running*: the agent's output goes into the log, its limits are watched ([`agent`]).
//! 4. *finishing*: the work is collected and stored ([`results`]); the log is sent to its end; `finish` is repeated until
//!    it is acknowledged ([`finish`]).
//!
//! The local runner starts it for an attempt in a folder of the machine, with the shim as its child. In a pod it is the
//! orchestrator container's program: the agent's container shares the work folder, and its shim comes to a socket.
//!
//! All the while the [`heartbeat`] keeps the lease and brings a cancellation; whoever wants the agent stopped says so at
//! [`control`]. The control plane may be away at any time: everything waits for it, and the agent works on.

mod agent;
mod attempt;
pub mod control;
pub mod environment;
mod finish;
mod folder;
mod heartbeat;
mod model;
mod outcome;
mod prepare;
mod results;
mod vitals;

pub(crate) use self::outcome::signal_name;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ckrv_client::worker::WorkerClient;
use ckrv_client::{ClientError, ConfigError};
use ckrv_types::worker::{Finish, Finished, Outcome, Start, Started, WorkerPhase};
use ckrv_types::{Cause, Secret};
use nix::sys::stat::{Mode, umask};
use tokio::task::JoinHandle;

use self::attempt::Attempt;
use self::control::{Control, Stop};
use self::folder::Folder;
use self::outcome::{AgentEnd, failed, of_run, of_stop};
use self::results::Results;
use self::vitals::Vitals;
use crate::config::{SuperviseConfig, read_secret};
use crate::crash::crash_point;
use crate::human;
use crate::local::home::{Alive, hold};
use crate::log::Log;
use crate::log::redact::Redactor;
use crate::log::sender::{self, LogEnd};
use crate::secrets::{Readers, Secrets, SecretsError};
use crate::shim::{Door, tree};

/// How long a control plane that is away is waited for before there is anything to lose.
const START_PATIENCE: Duration = Duration::from_mins(10);

/// How long after the loss of a container its runner may take to say why.
const LOSS_LIMIT: Duration = Duration::from_secs(5);
/// The same of a worker that was told to end: mostly a runner says at once why. One that is slow would have an attempt ended as
/// evicted whose object somebody deleted, which is to cancel it. Who is killed before that was silent: the runner's word counts.
const TOLD_LIMIT: Duration = Duration::from_secs(2);

/// How long what is left of the agent may resist SIGKILL.
const TREE_LIMIT: Duration = Duration::from_secs(10);

/// Why an attempt could not be carried to an acknowledged end. How the agent fared is no error.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    #[error("cannot read the bootstrap token {path}")]
    Token {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use the work folder {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen for the agent's container at {path}")]
    Socket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot prepare this process")]
    Process(#[source] io::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("told to end before the attempt was started")]
    Told,
    #[error("the attempt could not be started")]
    Start(#[source] ClientError),
    #[error("the attempt's end was not acknowledged")]
    Finish(#[source] ClientError),
}

/// Carries one attempt to its acknowledged end.
pub async fn run(config: SuperviseConfig, control: Control) -> Result<Finished, SuperviseError> {
    let alive = config.alive.as_deref().map(join_runner).transpose().map_err(SuperviseError::Process)?;
    let finished = carry(config, control).await?;
    if let Some(Err(error)) = alive.map(|alive| alive.acknowledged()) {
        tracing::warn!(%error, "a restarted runner will not know that all went well");
    }
    Ok(finished)
}

async fn carry(config: SuperviseConfig, control: Control) -> Result<Finished, SuperviseError> {
    tree::adopt_orphans().map_err(SuperviseError::Process)?;
    let exe = std::env::current_exe().map_err(SuperviseError::Process)?;
    let token = read_secret(&config.token_file)
        .map_err(|source| SuperviseError::Token { path: config.token_file.clone(), source })?;
    let (folder, door) = places(&config)?;
    let readers = if door.is_some() { Readers::Group } else { Readers::Nobody };
    let own = Secrets::load(&config.settings.secrets, readers);
    let client = attempt::client(&config, token.clone())?;
    let instance = hex::encode(rand::random::<[u8; 16]>());
    let started = start(&config, &client, &instance, &control).await?;
    let client = client.with_token(&started.attempt_token.0)?;
    let secrets = own.and_then(|own| usable(own, &started));
    let redactor = redactor(&secrets, [&token, &started.attempt_token.0]);
    let log = match Log::create(redactor, folder.private(), config.settings.spool_bytes, started.next_seq) {
        Ok(log) => log,
        Err(error) => {
            let outcome = failed(Cause::WorkFolder, human::chain(&error));
            return give_up(&client, instance, outcome, started.next_seq - 1).await;
        }
    };
    let vitals = Vitals::new();
    Attempt { config, exe, folder, door, instance, started, client, secrets, log, vitals, control }.run().await
}

/// The attempt's folder and, in a pod, the socket for its shim.
fn places(config: &SuperviseConfig) -> Result<(Folder, Option<Door>), SuperviseError> {
    let unusable = |source| SuperviseError::Folder { path: config.work.clone(), source };
    let Some((private, socket, uid)) = config.pod.all() else {
        return Ok((Folder::create(&config.work).map_err(unusable)?, None));
    };
    // The agent's user copies the clone.
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let folder = Folder::of_pod(&config.work, private).map_err(unusable)?;
    let door = Door::open(socket, uid).map_err(|source| SuperviseError::Socket { path: socket.to_owned(), source })?;
    Ok((folder, Some(door)))
}

/// Shows the local runner that this process lives, and begins the session by which it finds what this one has started.
fn join_runner(alive: &Path) -> io::Result<Alive> {
    let alive = hold(alive)?;
    nix::unistd::setsid()?;
    Ok(alive)
}

/// Keeps other processes of the same user, such as an agent without a container, out of this one's memory and environment.
pub fn hide_from_other_processes() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "this process can be read by others of the same user");
    }
}

async fn start(
    config: &SuperviseConfig,
    client: &WorkerClient,
    instance: &str,
    control: &Control,
) -> Result<Started, SuperviseError> {
    let node = config.node.clone().or_else(|| Some(nix::unistd::gethostname().ok()?.to_string_lossy().into_owned()));
    let start = Start { instance: instance.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), node };
    crash_point("worker.before-start");
    let started = tokio::select! {
        started = attempt::start(client, &start, START_PATIENCE) => started.map_err(SuperviseError::Start)?,
        _ = control.stopped() => return Err(SuperviseError::Told),
    };
    crash_point("worker.after-start");
    Ok(started)
}

/// What the job may use: what the runner holds and what its organization gives.
fn usable(own: Secrets, started: &Started) -> Result<Secrets, SecretsError> {
    match started.unreadable_credentials.first() {
        Some(name) => Err(SecretsError::Unreadable(name.clone())),
        None => own.with_given(&started.credentials),
    }
}

/// Without secrets that can be used nothing runs that could show one.
fn redactor<const N: usize>(secrets: &Result<Secrets, SecretsError>, tokens: [&Secret; N]) -> Redactor {
    Redactor::new(secrets.iter().flat_map(Secrets::values).chain(tokens))
}

/// Without a log nothing can be done but to say so.
async fn give_up(
    client: &WorkerClient,
    instance: String,
    outcome: Outcome,
    last_seq: u64,
) -> Result<Finished, SuperviseError> {
    let end = Finish { instance, outcome, last_seq, artifacts: Vec::new(), summary: None, usage: None };
    finish::finish(client, &end).await.map_err(SuperviseError::Finish)
}

impl Attempt {
    async fn run(self) -> Result<Finished, SuperviseError> {
        let every = Duration::from_secs(self.started.beat_seconds.max(1));
        let beat = heartbeat::beat(
            self.client.clone(),
            self.instance.clone(),
            every,
            self.vitals.clone(),
            self.control.clone(),
        );
        let beat = tokio::spawn(beat);
        let sender = self.send_log();
        let (outcome, results) = tokio::select! {
            done = self.work() => done,
            () = self.control.over() => (of_over(), None),
        };
        // Nothing below this process is wanted any more; after an attempt that is over, that is the agent itself.
        tree::end_descendants(std::process::id(), TREE_LIMIT).await;
        self.log.spool().close();
        if let Err(error) = sender.await {
            tracing::error!(%error, "the log's end was not sent");
        }
        crash_point("worker.after-last-append");
        let (summary, artifacts) = results.map(|results| (results.summary, results.artifacts)).unzip();
        let end = Finish {
            instance: self.instance.clone(),
            outcome,
            last_seq: self.log.spool().last_seq(),
            artifacts: artifacts.unwrap_or_default(),
            summary,
            usage: self.vitals.now().usage,
        };
        let finished = finish::finish(&self.client, &end).await;
        beat.abort();
        finished.map_err(SuperviseError::Finish)
    }

    /// From the clone to the stored results. However it goes, the rest of the attempt is the same.
    async fn work(&self) -> (Outcome, Option<Results>) {
        let limits = self.started.spec.limits;
        let quota = self.config.settings.disk_quota;
        let prepared = tokio::select! {
            prepared = prepare::prepare(self) => prepared,
            stop = self.control.stopped() => Err(of_stop(stop, &limits, quota)),
        };
        let (repository, ready) = match prepared {
            Ok(prepared) => prepared,
            Err(outcome) => {
                self.log.system(outcome.message.as_deref().unwrap_or("the attempt could not be prepared"));
                return (outcome, None);
            }
        };
        let run = agent::run(self, ready).await;
        self.vitals.enter(WorkerPhase::Finishing);
        if let AgentEnd::NotStarted(_) = run.end {
            return (of_run(&run.end, run.stop, &limits, quota), None);
        }
        let mut outcome = of_run(&run.end, run.stop, &limits, quota);
        let unexplained = match (&run.end, run.stop) {
            _ if self.door.is_none() => None,
            (_, Some(Stop::Told)) => Some(TOLD_LIMIT),
            (AgentEnd::Lost(_), None) => Some(LOSS_LIMIT),
            _ => None,
        };
        let explained = async { explanation(&self.control, unexplained?).await };
        let (results, explained) = tokio::join!(results::store(self, repository, run.bundles), explained);
        if let Some(seen) = explained {
            outcome = Outcome { exit_code: outcome.exit_code, ..seen };
        }
        if let (None, Some(loss)) = (outcome.cause, results.loss()) {
            outcome = Outcome { exit_code: outcome.exit_code, ..failed(Cause::Storage, loss) };
        }
        (outcome, Some(results))
    }

    fn send_log(&self) -> JoinHandle<()> {
        let (spool, client, control) = (Arc::clone(self.log.spool()), self.client.clone(), self.control.clone());
        tokio::spawn(async move {
            match sender::send(&spool, &client).await {
                Ok(LogEnd::Delivered) => (),
                Ok(LogEnd::Sealed { seq }) => {
                    tracing::warn!(seq, "the control plane has sealed the log: the attempt is over");
                    control.set_over();
                }
                Err(error) => tracing::error!(error = human::chain(&error), "the rest of the log is lost"),
            }
        })
    }

    /// Whether the control plane is on this machine, and so what it points to.
    fn is_server_here(&self) -> bool {
        match self.config.server.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

/// Why the agent's container is gone, or the whole pod goes, by who runs the pod: here only the effect is seen.
async fn explanation(control: &Control, limit: Duration) -> Option<Outcome> {
    tokio::time::timeout(limit, control.noted()).await.ok()
}

/// Of an attempt that the control plane has ended already: it knows better, and will not take this.
fn of_over() -> Outcome {
    failed(Cause::WorkerLost, "the control plane ended the attempt while its worker was still at work")
}
