//! The attempts that this runner has anything of: each is carried by a task from its supervisor's start to its folder's end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ckrv_types::runner::{Assignment, Observation, Phase};
use ckrv_types::{AttemptId, Cause};
use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::home::{Home, WorkFolder};
use super::processes;
use super::supervisor::{Ending, Supervisor};
use crate::config::LocalConfig;
use crate::crash::crash_point;
use crate::supervise::signal_name;

/// For a supervisor that the control plane is done with: it is about to end by itself.
const FORGET_GRACE: Duration = Duration::from_secs(5);
/// For one that does not obey: its agent's grace is over already.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long processes may resist SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// All of them. Clones are the same.
#[derive(Clone)]
pub struct Attempts(Arc<Inner>);

struct Inner {
    config: LocalConfig,
    exe: PathBuf,
    home: Home,
    reports: mpsc::UnboundedSender<Observation>,
    tasks: TaskTracker,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    held: BTreeMap<AttemptId, watch::Sender<Order>>,
    /// Ended here, and perhaps still listed by the control plane.
    ended: BTreeSet<AttemptId>,
}

/// Pauses between attempts to remove a work folder.
const CLEAR_AGAIN: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// What is to become of a supervisor. Never less than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    /// It ends by itself until then, or is killed.
    Expire(Duration),
    /// It is asked to end (SIGTERM), and killed after this.
    Stop(Duration),
    /// The same, because whoever runs this runner ends its jobs with it (SIGINT): none of them is tried again by itself.
    Abandon(Duration),
}

impl Attempts {
    pub fn new(config: LocalConfig, exe: PathBuf, home: Home, reports: mpsc::UnboundedSender<Observation>) -> Self {
        let (tasks, table) = (TaskTracker::new(), Mutex::default());
        Self(Arc::new(Inner { config, exe, home, reports, tasks, table }))
    }

    /// Everything that there is anything of.
    pub fn held(&self) -> Vec<AttemptId> {
        self.table().held.keys().copied().collect()
    }

    /// After a restart: living supervisors are taken over, of dead ones everything is removed.
    pub fn recover(&self) -> std::io::Result<()> {
        for attempt in self.0.home.found()? {
            let folder = self.0.home.work(attempt);
            let supervisor = Supervisor::adopt(&folder);
            if supervisor.is_none() && folder.is_untouched() {
                // This runner died over its start: the list of assignments says whether it is still wanted.
                folder.remove()?;
                continue;
            }
            let found = if supervisor.is_some() { "alive" } else { "dead" };
            tracing::info!(%attempt, found, "found an attempt of before");
            self.carry(attempt, folder, supervisor);
        }
        Ok(())
    }

    /// Makes true what the control plane lists: starts what is not here yet.
    pub fn reconcile(&self, assignments: &[Assignment]) {
        let listed: BTreeSet<AttemptId> = assignments.iter().map(|item| item.attempt).collect();
        self.table().ended.retain(|attempt| listed.contains(attempt));
        for assignment in assignments {
            let attempt = assignment.attempt;
            let is_known = {
                let table = self.table();
                table.held.contains_key(&attempt) || table.ended.contains(&attempt)
            };
            if is_known {
                continue;
            }
            if assignment.started {
                // Its worker was here once, and nothing of it is left.
                self.report(lost(attempt, "the worker was gone when its runner came back"));
                self.table().ended.insert(attempt);
            } else {
                self.launch(assignment);
            }
        }
    }

    fn launch(&self, assignment: &Assignment) {
        let attempt = assignment.attempt;
        let Inner { config, exe, home, .. } = &*self.0;
        let folder = home.work(attempt);
        crash_point("runner.before-launch");
        let launched = folder
            .create(&assignment.bootstrap_token.0)
            .and_then(|()| Supervisor::launch(config, exe, attempt, &folder));
        crash_point("runner.after-launch");
        match launched {
            Ok(supervisor) => {
                tracing::info!(%attempt, pid = supervisor.pid(), "launched");
                self.report(Observation { phase: Phase::Launched, ..observation(attempt) });
                self.carry(attempt, folder, Some(supervisor));
            }
            Err(error) => {
                tracing::error!(%attempt, %error, "not launched");
                let message = format!("the worker could not be started in {}: {error}", folder.path().display());
                self.report(Observation { cause: Some(Cause::StartLimit), message: Some(message), ..ended(attempt) });
                self.table().ended.insert(attempt);
                if let Err(error) = folder.remove() {
                    tracing::error!(%attempt, %error, "its folder could not be removed");
                }
            }
        }
    }

    /// Stops what the control plane wants stopped, now.
    pub fn stop(&self, attempts: &[AttemptId]) {
        self.order(attempts, Order::Stop(STOP_GRACE));
    }

    /// Removes what the control plane knows nothing of, or nothing any more.
    pub fn forget(&self, attempts: &[AttemptId]) {
        self.order(attempts, Order::Expire(FORGET_GRACE));
    }

    /// Stops all, and ends when nothing is left of any.
    pub async fn stop_all(&self, grace: Duration) {
        self.order(&self.held(), Order::Abandon(grace));
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn order(&self, attempts: &[AttemptId], order: Order) {
        let table = self.table();
        for slot in attempts.iter().filter_map(|attempt| table.held.get(attempt)) {
            slot.send_if_modified(|now| {
                let is_more = order > *now;
                *now = order.max(*now);
                is_more
            });
        }
    }

    fn carry(&self, attempt: AttemptId, folder: WorkFolder, supervisor: Option<Supervisor>) {
        let (slot, orders) = watch::channel(Order::Run);
        self.table().held.insert(attempt, slot);
        let attempts = self.clone();
        self.0.tasks.spawn(async move {
            attempts.see_through(attempt, &folder, supervisor, orders).await;
            let mut table = attempts.table();
            table.held.remove(&attempt);
            table.ended.insert(attempt);
        });
    }

    async fn see_through(
        &self,
        attempt: AttemptId,
        folder: &WorkFolder,
        supervisor: Option<Supervisor>,
        orders: watch::Receiver<Order>,
    ) {
        let session = supervisor.as_ref().map(Supervisor::pid).or_else(|| folder.recorded_supervisor());
        let ending = match supervisor {
            Some(supervisor) => until_ended(supervisor, orders).await,
            None => Ending::recorded(folder),
        };
        let (found, left) = processes::end(attempt, session, KILL_LIMIT).await;
        if left > 0 {
            tracing::error!(%attempt, left, "processes could not be ended");
        }
        tracing::info!(%attempt, ?ending, killed = found, "ended");
        crash_point("runner.before-observation");
        if ending != Ending::Acknowledged {
            self.report(lost(attempt, &told(ending)));
        }
        crash_point("runner.before-cleanup");
        self.clear(attempt, session, folder).await;
    }

    /// Removes the folder. What was writing into it when it was ended may have been seen too late: then both again.
    async fn clear(&self, attempt: AttemptId, session: Option<u32>, folder: &WorkFolder) {
        for pause in CLEAR_AGAIN {
            let folder = folder.clone();
            match tokio::task::spawn_blocking(move || folder.remove()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::warn!(%attempt, %error, "its folder could not be removed yet"),
                Err(error) => tracing::warn!(%attempt, %error, "its folder was not removed"),
            }
            tokio::time::sleep(pause).await;
            processes::end(attempt, session, KILL_LIMIT).await;
        }
        // The next start of the runner tries again.
        tracing::error!(%attempt, "its folder stays");
    }

    fn report(&self, observation: Observation) {
        // Closed only when the runner is ending.
        let _ = self.0.reports.send(Observation { node: self.0.config.node.clone(), ..observation });
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end, and brings it about when ordered to.
async fn until_ended(mut supervisor: Supervisor, mut orders: watch::Receiver<Order>) -> Ending {
    let mut kill_at: Option<Instant> = None;
    loop {
        let overdue = async {
            match kill_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ending = supervisor.ended() => return ending,
            () = overdue => {
                supervisor.signal(Signal::SIGKILL);
                kill_at = None;
            }
            Ok(()) = orders.changed() => {
                let grace = match *orders.borrow_and_update() {
                    Order::Run => continue,
                    Order::Expire(grace) => grace,
                    Order::Stop(grace) => {
                        supervisor.signal(Signal::SIGTERM);
                        grace
                    }
                    Order::Abandon(grace) => {
                        supervisor.signal(Signal::SIGINT);
                        grace
                    }
                };
                let at = Instant::now() + grace;
                kill_at = Some(kill_at.map_or(at, |earlier| earlier.min(at)));
            }
        }
    }
}

const fn observation(attempt: AttemptId) -> Observation {
    Observation { attempt, phase: Phase::Waiting, cause: None, exit_code: None, message: None, node: None }
}

fn ended(attempt: AttemptId) -> Observation {
    Observation { phase: Phase::Ended, ..observation(attempt) }
}

fn lost(attempt: AttemptId, message: &str) -> Observation {
    Observation { cause: Some(Cause::WorkerLost), message: Some(message.to_owned()), ..ended(attempt) }
}

fn told(ending: Ending) -> String {
    match ending {
        Ending::Acknowledged => "the worker ended".to_owned(),
        Ending::Code(code) => format!("the worker exited with code {code} before its end was acknowledged"),
        Ending::Signal(signal) => format!("the worker was killed by {}", signal_name(signal)),
        Ending::Unknown => "the worker died while its runner was away".to_owned(),
    }
}
