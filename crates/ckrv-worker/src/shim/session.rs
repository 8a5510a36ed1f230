//! The orchestrator's end of the shim's socket. What comes from there is untrusted: whatever breaks the protocol ends the
//! session, and bundles are only kept as files.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use ckrv_types::log::Stream;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

use super::frame::{Frame, FrameReader, Kind, encode_control};
use super::message::{Exit, FromShim, PROTOCOL, RunAgent, ToShim};
use super::tree;

const HELLO_LIMIT: Duration = Duration::from_secs(30);
/// From `Done` to the shim's own end; and for ending what does not end by itself.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Bundles that are kept: the newest, and the one before in case that the newest is no good.
const BUNDLES_KEPT: usize = 2;

/// How to start a shim on this machine.
#[derive(Debug)]
pub struct LaunchLocal {
    /// The `ckrv-worker` executable, run as `EXE shim` with the socket as its standard input and an empty environment.
    pub exe: PathBuf,
    /// An existing folder (0700) of the orchestrator; bundles that arrive are put there.
    pub folder: PathBuf,
}

/// What the shim tells. See [`Session::next_event`].
#[derive(Debug)]
pub enum ShimEvent {
    /// The agent runs; `pid` is that of the shim's pid namespace.
    Started { pid: u32 },
    /// Bytes as the agent wrote them, at most 64 KiB, of `Stdout` or `Stderr`.
    Output { stream: Stream, bytes: Bytes },
    /// The shim's container is being taken away: it stops the agent by itself.
    Told,
    /// The agent's program could not be run. `missing`: because there is no such program.
    NotStarted { missing: bool, message: String },
    /// The agent ended and its descendants were killed; all of its output came before this.
    Exited(Exit),
    /// A bundle of this many bytes arrived whole; it is not verified.
    Bundled { size: u64 },
    /// No bundle this time, and why. An agent that made no new commit causes no event.
    BundleFailed { message: String },
    /// The connection broke, or what came was no protocol, before the shim was done.
    Lost { message: String },
}

/// Why there is no session, or an order could not be given.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("could not start the shim {exe}")]
    Launch {
        exe: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("no shim connected within {} s", .0.as_secs())]
    NoShim(Duration),
    #[error("the shim did not say hello within {} s", HELLO_LIMIT.as_secs())]
    NoHello,
    #[error(
        "the shim speaks protocol {theirs} (ckrv {version}), this orchestrator protocol {PROTOCOL}: use one version of both"
    )]
    Version { theirs: u32, version: String },
    #[error("what connected is no shim: {0}")]
    NotAShim(String),
    #[error("the clone could not become the agent's own: {0}")]
    TakeOver(String),
    #[error("the connection to the shim broke")]
    Broken(#[from] io::Error),
}

/// A shim that said hello.
pub struct Session {
    frames: FrameReader<OwnedReadHalf>,
    orders: OwnedWriteHalf,
    /// Where this end started it.
    child: Option<Child>,
    bundles: Bundles,
    phase: Phase,
    /// How long a last bundle may take.
    bundle_limit: Duration,
    /// From the agent's end on: when the shim has to be done.
    done_by: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// The agent is dead; a bundle may follow.
    Ended,
    Done,
}

impl Session {
    /// Starts a shim as a child and shakes hands with it. A session that is dropped closes the socket, upon which the shim
    /// stops the agent and ends.
    pub async fn launch_local(launch: &LaunchLocal) -> Result<Self, SessionError> {
        let failed = |source| SessionError::Launch { exe: launch.exe.clone(), source };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let mut command = Command::new(&launch.exe);
        command.arg("shim").env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        let child = command.spawn().map_err(failed)?;
        // The command holds a copy of the shim's end: without this the socket would never be seen closed.
        drop(command);
        Self::greet(UnixStream::from_std(ours)?, Some(child), &launch.folder).await
    }

    /// Takes the shim's connection, for at most `limit`. `peer_uid`: the user that it must run as (SO_PEERCRED); others are
    /// hung up on.
    pub async fn accept(
        listener: &UnixListener,
        peer_uid: Option<u32>,
        folder: &Path,
        limit: Duration,
    ) -> Result<Self, SessionError> {
        let accepted = timeout(limit, async {
            loop {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                if peer_uid.is_none_or(|expected| expected == uid) {
                    return Ok::<_, io::Error>(stream);
                }
                tracing::warn!(uid, "another user than the agent's connected to the shim's socket");
            }
        });
        let stream = accepted.await.map_err(|_| SessionError::NoShim(limit))??;
        Self::greet(stream, None, folder).await
    }

    async fn greet(stream: UnixStream, child: Option<Child>, folder: &Path) -> Result<Self, SessionError> {
        let (frames, orders) = stream.into_split();
        let bundles = Bundles::new(folder);
        let frames = FrameReader::new(frames);
        let (phase, bundle_limit, done_by) = (Phase::Running, Duration::ZERO, None);
        let mut session = Self { frames, orders, child, bundles, phase, bundle_limit, done_by };
        let hello = timeout(HELLO_LIMIT, session.frames.next()).await.map_err(|_| SessionError::NoHello)??;
        let hello = hello.ok_or_else(|| SessionError::NotAShim("it closed the connection".to_owned()))?;
        match hello.control() {
            Ok(FromShim::Hello { protocol: PROTOCOL, .. }) => Ok(session),
            Ok(FromShim::Hello { protocol: theirs, version }) => {
                let error = SessionError::Version { theirs, version };
                session.order(&ToShim::Refused { message: error.to_string() }).await?;
                Err(error)
            }
            Ok(_) => Err(SessionError::NotAShim("it did not say hello first".to_owned())),
            Err(error) => Err(SessionError::NotAShim(error.to_string())),
        }
    }

    /// Has the shim make the clone at `from` the agent's own at `to`, within `limit`. Before [`Session::run`].
    pub async fn take_over(&mut self, from: &Path, to: &Path, limit: Duration) -> Result<(), SessionError> {
        self.order(&ToShim::TakeOver { from: from.to_owned(), to: to.to_owned() }).await?;
        let answer = timeout(limit, self.frames.next()).await;
        let answer = answer.map_err(|_| SessionError::TakeOver("it took too long".to_owned()))??;
        match answer.map(|frame| frame.control()) {
            Some(Ok(FromShim::TakenOver { error: None })) => Ok(()),
            Some(Ok(FromShim::TakenOver { error: Some(error) })) => Err(SessionError::TakeOver(error)),
            Some(_) => Err(SessionError::NotAShim("it did not answer what it was asked".to_owned())),
            None => Err(SessionError::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Starts the agent; once per session.
    pub async fn run(&mut self, run: &RunAgent) -> Result<(), SessionError> {
        if let Some(plan) = &run.bundles {
            self.bundles.max_bytes = plan.max_bytes;
            self.bundle_limit = plan.limit;
        }
        self.order(&ToShim::Run(run.clone())).await
    }

    /// SIGTERM to the agent's group, after `grace` SIGKILL to all of its tree. Events go on until `None`. A later call can
    /// only shorten the grace.
    pub async fn stop(&mut self, grace: Duration) -> Result<(), SessionError> {
        self.order(&ToShim::Stop { grace }).await
    }

    /// Asks for a bundle now, unless one is being made.
    pub async fn request_bundle(&mut self) -> Result<(), SessionError> {
        self.order(&ToShim::Bundle).await
    }

    async fn order(&mut self, order: &ToShim) -> Result<(), SessionError> {
        let frame = encode_control(order)?;
        self.orders.write_all(&frame).await?;
        Ok(())
    }

    /// What happens next. While nobody asks, the agent's output waits in its pipes. After `Exited` (or `NotStarted`) comes
    /// at most news of a last bundle; `None` once the shim is done or lost. Cancel-safe.
    pub async fn next_event(&mut self) -> Option<ShimEvent> {
        while self.phase != Phase::Done {
            let frame = async {
                match self.done_by {
                    Some(deadline) => timeout_at(deadline, self.frames.next()).await.map_err(io::Error::from)?,
                    None => self.frames.next().await,
                }
            };
            let event = match frame.await {
                Ok(Some(frame)) => self.take(frame),
                Ok(None) => Err("the shim closed the connection before it was done".to_owned()),
                Err(error) => Err(format!("the connection to the shim broke: {error}")),
            };
            match event {
                Ok(None) => (),
                Ok(Some(event)) => return Some(event),
                Err(message) => {
                    self.phase = Phase::Done;
                    return Some(ShimEvent::Lost { message });
                }
            }
        }
        None
    }

    fn take(&mut self, frame: Frame) -> Result<Option<ShimEvent>, String> {
        let stream = match frame.kind {
            Kind::Control => {
                let message = frame.control().map_err(|error| format!("the shim said nonsense: {error}"))?;
                return self.hear(message);
            }
            Kind::Bundle => {
                self.bundles.append(&frame.payload);
                return Ok(None);
            }
            Kind::Stdout => Stream::Stdout,
            Kind::Stderr => Stream::Stderr,
        };
        if self.phase != Phase::Running {
            return Err("the shim sent output after the agent's end".to_owned());
        }
        Ok(Some(ShimEvent::Output { stream, bytes: frame.payload }))
    }

    fn hear(&mut self, message: FromShim) -> Result<Option<ShimEvent>, String> {
        let is_running = self.phase == Phase::Running;
        match message {
            FromShim::Started { pid } if is_running => Ok(Some(ShimEvent::Started { pid })),
            FromShim::Told if is_running => Ok(Some(ShimEvent::Told)),
            FromShim::NotStarted { missing, message } if is_running => {
                self.end();
                Ok(Some(ShimEvent::NotStarted { missing, message }))
            }
            FromShim::Exited(exit) if is_running => {
                self.end();
                Ok(Some(ShimEvent::Exited(exit)))
            }
            FromShim::BundleBegun => {
                self.bundles.begin();
                Ok(None)
            }
            FromShim::BundleDone { size } => Ok(Some(match self.bundles.finish(size) {
                Ok(()) => ShimEvent::Bundled { size },
                Err(message) => ShimEvent::BundleFailed { message },
            })),
            FromShim::BundleFailed { message } => Ok(Some(ShimEvent::BundleFailed { message })),
            FromShim::Done if !is_running => {
                self.phase = Phase::Done;
                Ok(None)
            }
            _ => Err("the shim broke the order of its messages".to_owned()),
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        // Besides the bundle there is only killing what it may have started.
        self.done_by = Some(Instant::now() + self.bundle_limit + 2 * END_LIMIT);
    }

    /// Ends the shim, with all that is left of the agent's tree where this end started it. Answers the bundles that
    /// arrived whole, the newest first.
    pub async fn finish(self) -> Vec<PathBuf> {
        let Self { frames, orders, child, bundles, phase, .. } = self;
        if let Some(mut child) = child {
            let ended = phase == Phase::Done && timeout(END_LIMIT, child.wait()).await.is_ok();
            if let (false, Some(pid)) = (ended, child.id()) {
                let left = tree::end_tree(pid, END_LIMIT).await;
                if left > 0 {
                    tracing::error!(left, "processes of the agent could not be ended");
                }
                // It was sent SIGKILL: there is nothing else to do if it resists.
                let _ = timeout(END_LIMIT, child.wait()).await;
            }
        }
        // The socket lives as long as the shim: its end would make the shim stop the agent at leisure.
        drop((frames, orders));
        bundles.kept.into()
    }
}

/// Bundles as they arrive: one unfinished file, and the last ones that are whole.
struct Bundles {
    folder: PathBuf,
    max_bytes: u64,
    number: u32,
    partial: Option<Partial>,
    kept: VecDeque<PathBuf>,
}

struct Partial {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Bundles {
    fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), max_bytes: 0, number: 0, partial: None, kept: VecDeque::new() }
    }

    fn begin(&mut self) {
        self.forget();
        self.number += 1;
        let path = self.folder.join(format!("bundle-{}.partial", self.number));
        // Without a file the bundle fails when it is finished.
        self.partial = File::create_new(&path).ok().map(|file| Partial { path, file, size: 0 });
    }

    fn append(&mut self, bytes: &[u8]) {
        let Some(partial) = &mut self.partial else { return };
        partial.size += bytes.len() as u64;
        if partial.size > self.max_bytes || partial.file.write_all(bytes).is_err() {
            self.forget();
        }
    }

    fn finish(&mut self, size: u64) -> Result<(), String> {
        let partial = self.partial.take().ok_or("the bundle was too large or could not be written here")?;
        let whole = partial.path.with_extension("whole");
        let renamed = if partial.size == size { fs::rename(&partial.path, &whole).is_ok() } else { false };
        if !renamed {
            self.partial = Some(partial);
            self.forget();
            return Err("the bundle did not arrive whole".to_owned());
        }
        self.kept.push_front(whole);
        for old in self.kept.drain(BUNDLES_KEPT.min(self.kept.len())..) {
            // The folder is removed with the attempt.
            let _ = fs::remove_file(old);
        }
        Ok(())
    }

    fn forget(&mut self) {
        if let Some(partial) = self.partial.take() {
            let _ = fs::remove_file(partial.path);
        }
    }
}
