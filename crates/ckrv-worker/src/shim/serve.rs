//! `ckrv-worker shim`: from the handshake to the agent's end.
//!
//! 1. Connect, `Hello`, wait for `Run`; in a pod there is a `TakeOver` before it.
//! 2. While the agent runs: obey `Stop` and `Bundle`, make bundles by the clock, reap orphans. The orchestrator's silence
//!    holds up the output, never this.
//! 3. The agent has ended: kill what it left behind, send the rest of its output, `Exited`, a last bundle, `Done`.
//!
//! If the orchestrator goes away, the agent is stopped as by `Stop` with its own grace; if the shim itself is told to end, also.

use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, sleep_until};

use super::agent::{Agent, NotStarted};
use super::bundler::Bundler;
use super::connect::{CONNECT_LIMIT, Connect};
use super::frame::{FrameReader, Kind, encode_control};
use super::message::{Exit, FromShim, PROTOCOL, RunAgent, ToShim};
use super::{handover, inherited, oom, tree};

/// Frames between the pipes and the socket: what is read ahead of the orchestrator, at most 64 KiB each.
const QUEUE: usize = 16;
/// How long what the agent left behind may resist SIGKILL.
const TREE_LIMIT: Duration = Duration::from_secs(10);
/// Orphans are reaped at most this often.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// Why the shim could not do its work. An agent that fails is not an error of the shim.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    #[error("could not become the parent of the agent's orphans")]
    Setup(#[source] io::Error),
    #[error("could not reach the orchestrator's socket {path} within {} s", CONNECT_LIMIT.as_secs())]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("standard input is not the orchestrator's socket; the shim is started by `ckrv-worker supervise`")]
    Inherited(#[source] io::Error),
    #[error("the orchestrator refused this shim: {0}")]
    Refused(String),
    #[error("the orchestrator went away before the agent's run was over")]
    Lost,
    #[error("told to end before there was an agent to run")]
    Told,
}

/// Runs one agent for the orchestrator at `connect`.
pub async fn serve(connect: Connect) -> Result<(), ShimError> {
    inherited::close();
    tree::adopt_orphans().map_err(ShimError::Setup)?;
    let mut signals = Stops::listen().map_err(ShimError::Setup)?;
    let (orders, socket) = tokio::select! {
        stream = connect.open() => stream?.into_split(),
        () = signals.told() => return Err(ShimError::Told),
    };
    let (frames, queue) = mpsc::channel(QUEUE);
    let writer = tokio::spawn(write(socket, queue));
    let mut orders = FrameReader::new(orders);
    say(&frames, &FromShim::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() }).await;
    let Task { mut run, taken_over } = tokio::select! {
        task = Task::receive(&mut orders, &frames) => task?,
        () = signals.told() => return Err(ShimError::Told),
    };
    if let Connect::Socket { environment, .. } = connect {
        run.env = environment.into_iter().chain(run.env).collect();
        point_to_the_log(&run);
    }
    let mut is_heard = true;
    match Agent::start(&run, &frames) {
        Err(NotStarted { missing, message }) => say(&frames, &FromShim::NotStarted { missing, message }).await,
        Ok(agent) => {
            say(&frames, &FromShim::Started { pid: agent.pid }).await;
            is_heard = Watch::new(agent, &run, taken_over, orders, frames.clone(), signals).run().await;
        }
    }
    say(&frames, &FromShim::Done).await;
    drop(frames);
    // It ends with the last frame written, or when nobody takes them any more.
    let is_written = writer.await.unwrap_or_default();
    if is_heard && is_written { Ok(()) } else { Err(ShimError::Lost) }
}

/// What the orchestrator wants done.
struct Task {
    run: RunAgent,
    /// The work tree, if it was taken over from the orchestrator's user.
    taken_over: Option<PathBuf>,
}

impl Task {
    async fn receive(orders: &mut FrameReader<OwnedReadHalf>, frames: &mpsc::Sender<Bytes>) -> Result<Self, ShimError> {
        let mut taken_over = None;
        loop {
            let frame = orders.next().await.ok().flatten().ok_or(ShimError::Lost)?;
            match frame.control::<ToShim>() {
                Ok(ToShim::Run(run)) => return Ok(Self { run, taken_over }),
                Ok(ToShim::TakeOver { from, to }) => {
                    // Whatever the image says: the orchestrator reads what the agent makes.
                    umask(Mode::S_IWGRP | Mode::S_IWOTH);
                    taken_over = Some(to.clone());
                    let copied = tokio::task::spawn_blocking(move || handover::take_over(&from, &to)).await;
                    let error = copied.map_err(io::Error::other).flatten().err().map(|error| error.to_string());
                    say(frames, &FromShim::TakenOver { error }).await;
                }
                Ok(ToShim::Refused { message }) => return Err(ShimError::Refused(message)),
                Ok(ToShim::Stop { .. } | ToShim::Bundle) => return Err(ShimError::Lost),
                Err(error) => {
                    return Err(ShimError::Refused(format!("it said what this version does not know: {error}")));
                }
            }
        }
    }
}

/// For whoever looks at the container's log: the agent's is not there.
fn point_to_the_log(run: &RunAgent) {
    let job = run.env.get("CKRV_JOB").map_or("JOB", String::as_str);
    // Nobody has to be able to read it.
    let _ = writeln!(io::stdout(), "The agent's log is with the control plane: ckrv logs {job}");
}

/// Puts a message behind all that was said before.
async fn say(frames: &mpsc::Sender<Bytes>, message: &FromShim) {
    if let Ok(frame) = encode_control(message) {
        // A closed channel: the orchestrator is gone, and the order loop notices by itself.
        let _ = frames.send(frame).await;
    }
}

/// Whether all was written.
async fn write(mut socket: OwnedWriteHalf, mut queue: mpsc::Receiver<Bytes>) -> bool {
    while let Some(frame) = queue.recv().await {
        if socket.write_all(&frame).await.is_err() {
            return false;
        }
    }
    true
}

/// The signals that mean `Stop`, and the one that means that a child ended.
struct Stops {
    terminate: Signals,
    interrupt: Signals,
    hangup: Signals,
    child: Signals,
}

impl Stops {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
        })
    }

    /// Ends when this process is told to end.
    async fn told(&mut self) {
        while !matches!(self.next(false).await, Turn::Told) {}
    }

    /// Cancel-safe. `children`: whether their ends count.
    async fn next(&mut self, children: bool) -> Turn {
        tokio::select! {
            _ = self.terminate.recv() => Turn::Told,
            _ = self.interrupt.recv() => Turn::Told,
            _ = self.hangup.recv() => Turn::Told,
            _ = self.child.recv(), if children => Turn::ChildEnded,
        }
    }
}

/// What the loop woke up for.
enum Turn {
    Exited(ExitStatus),
    Order(io::Result<Option<super::frame::Frame>>),
    Told,
    Kill,
    BundleDue,
    BundleMade(Option<Bundler>),
    ChildEnded,
    Reap,
}

struct Watch {
    agent: Agent,
    orders: FrameReader<OwnedReadHalf>,
    frames: mpsc::Sender<Bytes>,
    signals: Stops,
    grace: Duration,
    /// The work tree, where it is to be read by another user.
    taken_over: Option<PathBuf>,
    /// As it was after the last bundle that was made.
    bundler: Option<Bundler>,
    bundling: Option<JoinHandle<Bundler>>,
    bundle_due: Option<Interval>,
    kill_at: Option<Instant>,
    reap_at: Option<Instant>,
    orchestrator_is_gone: bool,
    killed_by_us: bool,
    oom_kills: Option<u64>,
}

impl Watch {
    fn new(
        agent: Agent,
        run: &RunAgent,
        taken_over: Option<PathBuf>,
        orders: FrameReader<OwnedReadHalf>,
        frames: mpsc::Sender<Bytes>,
        signals: Stops,
    ) -> Self {
        let bundler = Bundler::new(run);
        let bundle_due = bundler.as_ref().map(|bundler| {
            let every = bundler.plan().every.max(Duration::from_millis(100));
            tokio::time::interval_at(Instant::now() + every, every)
        });
        Self {
            agent,
            orders,
            frames,
            signals,
            grace: run.grace,
            taken_over,
            bundler,
            bundling: None,
            bundle_due,
            kill_at: None,
            reap_at: None,
            orchestrator_is_gone: false,
            killed_by_us: false,
            oom_kills: oom::kills(),
        }
    }

    /// To the agent's end; whether the orchestrator was there for it.
    async fn run(mut self) -> bool {
        let status = loop {
            match self.turn().await {
                Turn::Exited(status) => break status,
                Turn::Order(order) => self.obey(order),
                Turn::Told => self.told(),
                Turn::Kill => self.kill(),
                Turn::BundleDue => self.bundle(),
                Turn::BundleMade(bundler) => {
                    self.bundling = None;
                    self.bundler = bundler.or(self.bundler.take());
                }
                Turn::ChildEnded => self.reap_at = Some(Instant::now() + REAP_EVERY),
                Turn::Reap => self.reap(),
            }
        };
        let is_heard = !self.orchestrator_is_gone;
        self.end(status).await;
        is_heard
    }

    async fn turn(&mut self) -> Turn {
        tokio::select! {
            status = self.agent.child.wait() => Turn::Exited(status.unwrap_or_else(|_| ExitStatus::from_raw(0xff00))),
            order = self.orders.next(), if !self.orchestrator_is_gone => Turn::Order(order),
            () = at(self.kill_at) => Turn::Kill,
            () = due(self.bundle_due.as_mut()) => Turn::BundleDue,
            bundler = made(self.bundling.as_mut()) => Turn::BundleMade(bundler),
            signal = self.signals.next(self.reap_at.is_none()) => signal,
            () = at(self.reap_at) => Turn::Reap,
        }
    }

    fn obey(&mut self, order: io::Result<Option<super::frame::Frame>>) {
        let order = order.ok().flatten().filter(|frame| frame.kind == Kind::Control);
        match order.and_then(|frame| frame.control::<ToShim>().ok()) {
            Some(ToShim::Stop { grace }) => self.stop(grace),
            Some(ToShim::Bundle) => self.bundle(),
            // Closed, or no longer to be understood.
            Some(ToShim::TakeOver { .. } | ToShim::Run(_) | ToShim::Refused { .. }) | None => {
                self.orchestrator_is_gone = true;
                self.stop(self.grace);
            }
        }
    }

    fn told(&mut self) {
        if self.taken_over.is_some() {
            // Waits in line with the agent's output, and goes before the agent's end.
            let frames = self.frames.clone();
            tokio::spawn(async move { say(&frames, &FromShim::Told).await });
        }
        self.stop(self.grace);
    }

    /// SIGTERM once; a later call can only shorten the grace.
    fn stop(&mut self, grace: Duration) {
        let kill_at = Instant::now() + grace;
        if self.kill_at.is_none() && !self.killed_by_us {
            self.agent.signal(Signal::SIGTERM);
            // A stopped process would not hear it.
            self.agent.signal(Signal::SIGCONT);
            self.bundle();
        }
        self.kill_at = Some(self.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
    }

    fn kill(&mut self) {
        self.kill_at = None;
        self.killed_by_us = true;
        self.agent.signal(Signal::SIGKILL);
        // It may have left its own group, or be dead.
        let _ = self.agent.child.start_kill();
    }

    fn bundle(&mut self) {
        if self.bundling.is_none() && !self.orchestrator_is_gone {
            self.bundling = self.bundler.clone().map(|bundler| tokio::spawn(bundler.make(self.frames.clone())));
        }
    }

    /// Not while a bundle is made: its processes have somebody who waits for them.
    fn reap(&mut self) {
        self.reap_at = None;
        if self.bundling.is_none() {
            tree::reap_orphans(&[self.agent.pid]);
        }
    }

    async fn end(mut self, status: ExitStatus) {
        if let Some(bundling) = self.bundling.take() {
            bundling.abort();
            // Aborted, or done in this moment.
            let _ = bundling.await;
        }
        let exit = self.exit(status);
        tree::end_descendants(std::process::id(), TREE_LIMIT).await;
        self.agent.drain().await;
        say(&self.frames, &FromShim::Exited(exit)).await;
        if let Some(bundler) = self.bundler.take() {
            bundler.make(self.frames.clone()).await;
            // The agent's repository may have started something even then.
            tree::end_descendants(std::process::id(), TREE_LIMIT).await;
        }
        if let Some(tree) = self.taken_over {
            // It only fails when the process is ending.
            let _ = tokio::task::spawn_blocking(move || handover::open_up(&tree)).await;
        }
    }

    fn exit(&self, status: ExitStatus) -> Exit {
        let signal = status.signal();
        let code = status.code().unwrap_or(128 + signal.unwrap_or_default());
        let was_killed = code == 128 + Signal::SIGKILL as i32 && !self.killed_by_us;
        let oom_killed = was_killed && oom::kills() > self.oom_kills;
        Exit { code, signal, oom_killed }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn due(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

async fn made(bundling: Option<&mut JoinHandle<Bundler>>) -> Option<Bundler> {
    match bundling {
        Some(bundling) => bundling.await.ok(),
        None => std::future::pending().await,
    }
}
