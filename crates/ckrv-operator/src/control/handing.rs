//! What is known of jobs that were made here by hand: whether the control plane has taken them, and where they stand.
//!
//! Reconciliations leave their wishes here and read what has come of them; [`super::submissions`] speaks with the control
//! plane. Nothing of it is needed after a restart: handing in a job twice makes one, and standings are asked for anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ckrv_client::{Backoff, ClientError};
use ckrv_types::runner::{HandIn, JobStanding};
use ckrv_types::{AttemptId, JobId, ProblemCode};
use tokio::sync::Notify;

use crate::triggers::Triggers;

/// A job that waits at the control plane is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// A job that a quota keeps out is handed in again after this.
const QUOTA_AGAIN: Duration = Duration::from_mins(1);

/// The table. Clones are the same.
#[derive(Clone)]
pub struct Handing {
    /// By the object's UID.
    table: Arc<Mutex<HashMap<String, Entry>>>,
    wake: Arc<Notify>,
    triggers: Triggers,
}

struct Entry {
    /// The object's name.
    name: String,
    stage: Stage,
    /// Nothing is sent before this.
    due: Instant,
}

enum Stage {
    /// Not taken yet; said why not, where that is for the object's maker to know.
    Wished {
        wish: Arc<HandIn>,
        backoff: Backoff,
        full: Option<Refusal>,
    },
    Refused(Refusal),
    Asked {
        job: JobId,
        standing: Option<JobStanding>,
    },
    Forgotten,
}

/// Why the control plane does not take a job: for the condition of its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: &'static str,
    pub message: String,
}

/// What is known of one object's job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    /// Nothing yet.
    Unknown,
    Refused(Refusal),
    Standing(JobStanding),
    /// The control plane has no such job (any more).
    Forgotten,
}

/// An object whose job is at the control plane.
pub struct Followed {
    pub uid: String,
    pub name: String,
    pub attempt: AttemptId,
}

impl Handing {
    pub fn new(triggers: Triggers) -> Self {
        Self { table: Arc::default(), wake: Arc::default(), triggers }
    }

    pub fn of(&self, uid: &str) -> Handed {
        match self.table().get(uid).map(|entry| &entry.stage) {
            None | Some(Stage::Wished { full: None, .. } | Stage::Asked { standing: None, .. }) => Handed::Unknown,
            Some(Stage::Refused(refusal) | Stage::Wished { full: Some(refusal), .. }) => {
                Handed::Refused(refusal.clone())
            }
            Some(Stage::Asked { standing: Some(standing), .. }) => Handed::Standing(standing.clone()),
            Some(Stage::Forgotten) => Handed::Forgotten,
        }
    }

    /// The job is to be handed in, unless that is known already.
    pub fn hand_in(&self, wish: HandIn) {
        let (uid, name) = (wish.origin.uid.clone(), wish.origin.name.clone());
        self.table().entry(uid).or_insert_with(|| {
            let stage = Stage::Wished { wish: Arc::new(wish), backoff: Backoff::for_requests(), full: None };
            Entry { name, stage, due: Instant::now() }
        });
        self.wake.notify_one();
    }

    /// Where the job stands is to be found out, now and from time to time as long as it is not over.
    pub fn ask(&self, uid: &str, name: &str, job: JobId) {
        let entry =
            || Entry { name: name.to_owned(), stage: Stage::Asked { job, standing: None }, due: Instant::now() };
        self.table().entry(uid.to_owned()).or_insert_with(entry);
        self.wake.notify_one();
    }

    /// What was known of it is old.
    pub fn forget(&self, uid: &str) {
        self.table().remove(uid);
    }

    /// What was refused may be taken now.
    pub fn try_refused_again(&self) {
        self.table().retain(|_, entry| !matches!(entry.stage, Stage::Refused(_)));
    }

    /// Objects whose jobs wait at the control plane, as far as is known.
    pub fn followed(&self) -> Vec<Followed> {
        let table = self.table();
        let followed = table.iter().filter_map(|(uid, entry)| {
            Some(Followed { uid: uid.clone(), name: entry.name.clone(), attempt: entry.waits()? })
        });
        followed.collect()
    }

    /// Drops what is known of objects that are not there, but for those whose jobs wait: these somebody has to cancel first.
    pub fn retain(&self, is_there: impl Fn(&str, &str) -> bool) {
        self.table().retain(|uid, entry| entry.waits().is_some() || is_there(&entry.name, uid));
    }

    /// Ends when there may be something to send, also before this.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn wishes(&self) -> Vec<Arc<HandIn>> {
        let (now, table) = (Instant::now(), self.table());
        let due = table.values().filter(|entry| entry.due <= now);
        due.filter_map(
            |entry| if let Stage::Wished { wish, .. } = &entry.stage { Some(Arc::clone(wish)) } else { None },
        )
        .collect()
    }

    /// Jobs to be asked for.
    pub(super) fn questions(&self) -> Vec<(String, JobId)> {
        let (now, table) = (Instant::now(), self.table());
        let due = table.iter().filter(|(_, entry)| entry.due <= now);
        due.filter_map(|(uid, entry)| Some((uid.clone(), entry.waits()?.job))).collect()
    }

    pub(super) fn taken(&self, wish: &HandIn, standing: JobStanding) {
        let stage = Stage::Asked { job: standing.job, standing: Some(standing) };
        self.set(&wish.origin.uid, &wish.origin.name, stage, ASK_AGAIN);
    }

    /// The control plane has not taken it: for good, or this time.
    pub(super) fn not_taken(&self, wish: &HandIn, error: &ClientError) {
        let origin = &wish.origin;
        if error.problem_code() == Some(ProblemCode::QuotaExceeded) {
            return self.set_full(&origin.uid, &origin.name, refusal(error));
        }
        if let Some(refusal) = refusal(error) {
            tracing::info!(object = origin.name, reason = refusal.message, "a job is refused");
            return self.set(&origin.uid, &origin.name, Stage::Refused(refusal), Duration::ZERO);
        }
        tracing::warn!(object = origin.name, %error, "a job could not be handed in yet");
        if let Some(entry) = self.table().get_mut(&origin.uid)
            && let Stage::Wished { backoff, .. } = &mut entry.stage
        {
            entry.due = Instant::now() + backoff.pause(error.retry_after());
        }
    }

    /// A quota is used up: there may be room later, when jobs are over or the month is.
    fn set_full(&self, uid: &str, name: &str, refusal: Option<Refusal>) {
        let mut table = self.table();
        let Some(entry) = table.get_mut(uid) else { return };
        entry.due = Instant::now() + QUOTA_AGAIN;
        if let Stage::Wished { full, .. } = &mut entry.stage
            && *full != refusal
        {
            *full = refusal;
            self.triggers.look_at_named(name);
        }
    }

    /// What the control plane has answered of one job.
    pub(super) fn stands(&self, uid: &str, standing: Option<JobStanding>) {
        let mut table = self.table();
        // It may have been given to this runner meanwhile: then nobody asks any more.
        let Some(entry) = table.get_mut(uid) else { return };
        let is_news = match &entry.stage {
            Stage::Asked { standing: before, .. } => before.is_none() || *before != standing,
            _ => false,
        };
        entry.due = Instant::now() + ASK_AGAIN;
        if is_news {
            entry.stage = match standing {
                Some(standing) => Stage::Asked { job: standing.job, standing: Some(standing) },
                None => Stage::Forgotten,
            };
            self.triggers.look_at_named(&entry.name);
        }
    }

    fn set(&self, uid: &str, name: &str, stage: Stage, pause: Duration) {
        let entry = Entry { name: name.to_owned(), stage, due: Instant::now() + pause };
        self.table().insert(uid.to_owned(), entry);
        self.triggers.look_at_named(name);
        // The object may have gone while its job was on the way.
        self.triggers.look_for_new();
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The attempt that is at the control plane, if one is, as far as is known.
    fn waits(&self) -> Option<AttemptId> {
        match &self.stage {
            Stage::Asked { standing: Some(standing), .. } if standing.state.is_terminal() => None,
            Stage::Asked { job, standing } => {
                let number = standing.as_ref().map_or(1, |standing| standing.attempt);
                Some(AttemptId { job: *job, number })
            }
            _ => None,
        }
    }
}

/// What no further try will change; none where one may.
fn refusal(error: &ClientError) -> Option<Refusal> {
    let problem = error.problem().filter(|_| error.is_final())?;
    let reason = match problem.code {
        // Of the runner itself, which the loops around it hear too.
        ProblemCode::Unauthenticated | ProblemCode::OtherInstance => return None,
        ProblemCode::Forbidden => "NotAllowed",
        ProblemCode::QuotaExceeded => "QuotaExceeded",
        ProblemCode::Invalid => "Invalid",
        _ => "Refused",
    };
    let hint = problem.hint.as_deref().map(|hint| format!(" {hint}")).unwrap_or_default();
    Some(Refusal { reason, message: format!("the control plane does not take it: {error}{hint}") })
}
