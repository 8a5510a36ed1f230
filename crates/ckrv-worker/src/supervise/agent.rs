//! The agent's run: its output into the log, its limits over it, until nothing of it is left.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use ckrv_types::usage::Usage;
use ckrv_types::worker::WorkerPhase;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::attempt::Attempt;
use super::control::{Control, Stop};
use super::model::Model;
use super::outcome::{AgentEnd, signal_name};
use super::prepare::Ready;
use crate::agents::Progress;
use crate::crash::crash_point;
use crate::disk;
use crate::human;
use crate::log::pump::{Output, Pumps};
use crate::shim::{Exit, Session, SessionError, ShimEvent, tree};

/// How long the shim may take, past the agent's grace, before it is taken for dead itself.
const SHIM_LIMIT: Duration = Duration::from_secs(30);
/// How long an agent that has said its last word may take to exit.
const EXIT_LIMIT: Duration = Duration::from_mins(1);

/// What is left of a run.
pub struct Run {
    pub end: AgentEnd,
    /// Why it was stopped, if it did not end by itself.
    pub stop: Option<Stop>,
    /// The agent's own commits, the newest first.
    pub bundles: Vec<PathBuf>,
}

/// Runs the agent to its end. Its processes are gone when this returns.
pub async fn run(attempt: &Attempt, ready: Ready) -> Run {
    let Ready { mut session, order, output: format, model } = ready;
    let (output, queue) = mpsc::channel(1);
    let vitals = attempt.vitals.clone();
    let pumps = Pumps::new(&attempt.log, format, move |usage| vitals.count(usage));
    let watches = Watches::start(attempt, model.as_ref(), pumps.progress());
    let pumping = tokio::spawn(pump(pumps, queue, attempt.control.clone()));
    let mut supervision = Supervision { attempt, output, permit: None, told: None, force_at: None, end: None };
    let end = match session.run(&order).await {
        Ok(()) => supervision.run(&mut session).await,
        Err(error) => AgentEnd::Lost(error.to_string()),
    };
    if model.as_ref().is_some_and(Model::is_budget_exceeded) {
        // An agent whose requests are refused may be gone before it is stopped.
        attempt.control.stop(Stop::Budget);
    }
    let is_reason = |reason: &Stop| *reason == Stop::Budget || matches!(end, AgentEnd::Lost(_));
    let stop = supervision.told.or_else(|| attempt.control.reason().filter(is_reason));
    drop(watches);
    // Closes the queue of the pumps.
    drop(supervision);
    let bundles = session.finish().await;
    // Without its shim the agent's tree has come to this process.
    let left = tree::end_descendants(std::process::id(), SHIM_LIMIT).await;
    if left > 0 {
        tracing::error!(left, "processes of the agent could not be ended");
    }
    if let Err(error) = pumping.await {
        tracing::error!(%error, "the agent's output was not read to its end");
    }
    // Behind all that the agent itself has said.
    attempt.log.system(&match &end {
        AgentEnd::Exited(Exit { signal: Some(signal), .. }) => format!("agent ended by {}", signal_name(*signal)),
        AgentEnd::Exited(exit) => format!("agent exited with {}", exit.code),
        AgentEnd::NotStarted(message) => format!("the agent could not be started: {message}"),
        AgentEnd::Lost(message) => format!("the agent's shim was lost: {message}"),
    });
    if let Some(model) = model {
        model.close(attempt).await;
    }
    crash_point("worker.after-agent-exit");
    Run { end, stop, bundles }
}

async fn pump(pumps: Pumps<impl FnMut(Usage) + Send>, queue: mpsc::Receiver<Output>, control: Control) {
    if let Err(error) = pumps.run(queue).await {
        tracing::error!(%error, "the log cannot be kept");
        control.stop(Stop::Spool);
    }
}

struct Supervision<'a> {
    attempt: &'a Attempt,
    output: mpsc::Sender<Output>,
    /// Room for one more piece of output: without it the shim is not listened to, and so the agent's pipes are not read.
    permit: Option<OwnedPermit<Output>>,
    /// Why the shim was told to stop the agent.
    told: Option<Stop>,
    /// When a shim that was told to stop the agent is given up.
    force_at: Option<Instant>,
    end: Option<AgentEnd>,
}

enum Turn {
    Room(Option<OwnedPermit<Output>>),
    Event(Option<ShimEvent>),
    Stop(Stop),
    Over,
    Forced,
}

impl Supervision<'_> {
    async fn run(&mut self, session: &mut Session) -> AgentEnd {
        loop {
            match self.turn(session).await {
                Turn::Room(permit) => {
                    self.permit = permit;
                    if self.permit.is_none() {
                        return AgentEnd::Lost("its output cannot be kept".to_owned());
                    }
                }
                Turn::Event(Some(event)) => self.take(event),
                Turn::Event(None) => {
                    return self.end.take().unwrap_or_else(|| AgentEnd::Lost("it ended without a word".to_owned()));
                }
                Turn::Stop(reason) => {
                    if let Err(error) = self.stop(session, reason).await {
                        return AgentEnd::Lost(error.to_string());
                    }
                }
                Turn::Over => return AgentEnd::Lost("the attempt is over".to_owned()),
                Turn::Forced => return AgentEnd::Lost("it did not stop the agent in time".to_owned()),
            }
        }
    }

    async fn turn(&mut self, session: &mut Session) -> Turn {
        let control = &self.attempt.control;
        let is_stopping = self.force_at.is_some();
        let (has_room, output) = (self.permit.is_some(), self.output.clone());
        tokio::select! {
            biased;
            () = control.over() => Turn::Over,
            reason = control.stopped(), if !is_stopping => Turn::Stop(reason),
            () = self.overdue() => Turn::Forced,
            permit = output.reserve_owned(), if !has_room => Turn::Room(permit.ok()),
            event = session.next_event(), if has_room => Turn::Event(event),
        }
    }

    /// Ends when the shim should have been done. While the agent's output waits for room, nobody can be done.
    async fn overdue(&self) {
        let Some(force_at) = self.force_at else { return pending().await };
        sleep_until(force_at).await;
        while self.permit.is_none() {
            sleep(SHIM_LIMIT).await;
        }
    }

    async fn stop(&mut self, session: &mut Session, reason: Stop) -> Result<(), SessionError> {
        let grace = Duration::from_secs(self.attempt.started.spec.limits.grace);
        self.force_at = Some(Instant::now() + grace + SHIM_LIMIT);
        if self.end.is_some() {
            return Ok(());
        }
        self.told = Some(reason);
        let why = match reason {
            Stop::Cancel => "cancelled",
            Stop::Told | Stop::Abandoned => "the runner is ending",
            Stop::RunLimit => "the run limit is over",
            Stop::IdleLimit => "the idle limit is over",
            Stop::Budget => "the model budget is used up",
            Stop::Finished { .. } => "the agent is done but does not exit",
            Stop::Disk { .. } => "the disk quota is used up",
            Stop::Spool => "the log cannot be kept",
        };
        let grace_text = human::duration(grace);
        self.attempt.log.system(&format!("{why}: stopping the agent (SIGTERM, after {grace_text} SIGKILL)"));
        session.stop(grace).await
    }

    fn take(&mut self, event: ShimEvent) {
        let log = &self.attempt.log;
        match event {
            ShimEvent::Started { .. } => {
                self.attempt.vitals.enter(WorkerPhase::Running);
                log.activity().touch();
                log.system(&format!("agent started: {}", self.attempt.started.spec.agent));
                crash_point("worker.after-agent-start");
            }
            ShimEvent::Output { stream, bytes } => {
                if let Some(permit) = self.permit.take() {
                    permit.send(Output { stream, bytes });
                }
            }
            // Its container hears of it before this one.
            ShimEvent::Told => self.attempt.control.stop(Stop::Told),
            ShimEvent::NotStarted { message, .. } => self.end = Some(AgentEnd::NotStarted(message)),
            ShimEvent::Exited(exit) => self.end = Some(AgentEnd::Exited(exit)),
            ShimEvent::Bundled { size } => tracing::debug!(size, "the agent's commits arrived"),
            ShimEvent::BundleFailed { message } => tracing::warn!(message, "no bundle of the agent's commits"),
            ShimEvent::Lost { message } => self.end = Some(self.end.take().unwrap_or(AgentEnd::Lost(message))),
        }
    }
}

/// The limits of a run, each a task that can stop the agent. They end with this.
struct Watches(Vec<JoinHandle<()>>);

impl Watches {
    fn start(attempt: &Attempt, model: Option<&Model>, progress: Option<watch::Receiver<Progress>>) -> Self {
        let limits = attempt.started.spec.limits;
        let activity = attempt.log.activity().clone();
        activity.touch();
        let quota = attempt.config.settings.disk_quota;
        let folder = attempt.folder.agent().to_owned();
        let mut watches = Self(Vec::new());
        watches.add(&attempt.control, async move {
            sleep(Duration::from_secs(limits.run)).await;
            Stop::RunLimit
        });
        watches.add(&attempt.control, async move {
            activity.silent_for(Duration::from_secs(limits.idle)).await;
            Stop::IdleLimit
        });
        if let Some(progress) = progress {
            watches.add(&attempt.control, done_for_long(progress, EXIT_LIMIT));
        }
        if let Some(exceeded) = model.map(Model::budget_exceeded) {
            watches.add(&attempt.control, async move {
                exceeded.await;
                Stop::Budget
            });
        }
        if quota > 0 {
            watches.add(&attempt.control, async move { Stop::Disk { used: disk::over_quota(folder, quota).await } });
        }
        watches
    }

    fn add(&mut self, control: &Control, watch: impl Future<Output = Stop> + Send + 'static) {
        let control = control.clone();
        self.0.push(tokio::spawn(async move { control.stop(watch.await) }));
    }
}

/// Ends when the agent has been done for long and is still there.
async fn done_for_long(mut progress: watch::Receiver<Progress>, limit: Duration) -> Stop {
    loop {
        let now = *progress.borrow_and_update();
        let changed = match now {
            Progress::Finished { ok } => match timeout(limit, progress.changed()).await {
                Ok(changed) => changed,
                Err(_) => return Stop::Finished { ok },
            },
            Progress::WaitingForModel | Progress::ToolInFlight => progress.changed().await,
        };
        if changed.is_err() {
            // Its output has ended, and so has the agent.
            return pending().await;
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for watch in &self.0 {
            watch.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn an_agent_that_is_done_and_stays_is_told_with_its_last_word() {
        for ok in [true, false] {
            let progress = watch::Sender::new(Progress::Finished { ok });
            assert_eq!(done_for_long(progress.subscribe(), Duration::ZERO).await, Stop::Finished { ok });
        }
    }

    #[tokio::test]
    async fn an_agent_that_goes_on_or_has_ended_is_not_told() {
        let progress = watch::Sender::new(Progress::Finished { ok: true });
        let mut done = Box::pin(done_for_long(progress.subscribe(), EXIT_LIMIT));
        assert!(poll!(&mut done).is_pending());
        progress.send_replace(Progress::ToolInFlight);
        assert!(poll!(&mut done).is_pending());
        progress.send_replace(Progress::Finished { ok: true });
        drop(progress);
        assert!(timeout(Duration::ZERO, done).await.is_err());
    }
}
