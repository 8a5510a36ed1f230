//! What the control plane wants to run here: its latest list, and nothing before the first one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ckrv_types::runner::Assignment;
use ckrv_types::{AttemptId, JobId};

use crate::triggers::Triggers;

/// The list. Clones are the same.
#[derive(Clone)]
pub struct Desired {
    list: Arc<Mutex<List>>,
    triggers: Triggers,
}

#[derive(Default)]
struct List {
    is_known: bool,
    wanted: BTreeMap<JobId, Wanted>,
}

/// An attempt that is to run.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub assignment: Arc<Assignment>,
    /// Its worker never started or does not obey, and somebody asked to cancel: it is to be stopped.
    pub stop: bool,
}

/// What the control plane wants of one job.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Nothing was heard since this operator began to lead.
    Unknown,
    Wanted(Wanted),
    NotWanted,
}

impl Desired {
    pub fn new(triggers: Triggers) -> Self {
        Self { list: Arc::default(), triggers }
    }

    pub fn of(&self, job: JobId) -> Answer {
        let list = self.list();
        match list.wanted.get(&job) {
            Some(wanted) => Answer::Wanted(wanted.clone()),
            None if list.is_known => Answer::NotWanted,
            None => Answer::Unknown,
        }
    }

    /// Everything that is wanted.
    pub fn all(&self) -> Vec<Arc<Assignment>> {
        self.list().wanted.values().map(|wanted| Arc::clone(&wanted.assignment)).collect()
    }

    /// Whether this very attempt is wanted.
    pub fn has(&self, attempt: AttemptId) -> bool {
        self.list().wanted.get(&attempt.job).is_some_and(|wanted| wanted.assignment.attempt == attempt)
    }

    pub fn replace(&self, items: Vec<Assignment>) {
        let mut list = self.list();
        let mut before = std::mem::take(&mut list.wanted);
        let is_first = !std::mem::replace(&mut list.is_known, true);
        for item in items {
            let job = item.attempt.job;
            let same = before
                .remove(&job)
                .filter(|known| known.assignment.attempt == item.attempt && known.assignment.started == item.started);
            if same.is_none() {
                self.triggers.look_at(job);
            }
            let stop = same.is_some_and(|known| known.stop);
            list.wanted.insert(job, Wanted { assignment: Arc::new(item), stop });
        }
        for job in before.into_keys() {
            self.triggers.look_at(job);
        }
        drop(list);
        if is_first {
            self.triggers.look_at_all();
        }
        self.triggers.look_for_new();
    }

    pub fn stop(&self, attempts: &[AttemptId]) {
        let mut list = self.list();
        for attempt in attempts {
            if let Some(wanted) = list.wanted.get_mut(&attempt.job)
                && wanted.assignment.attempt == *attempt
                && !std::mem::replace(&mut wanted.stop, true)
            {
                self.triggers.look_at(attempt.job);
            }
        }
    }

    /// The next list will not have them either.
    pub fn forget(&self, attempts: &[AttemptId]) {
        let mut list = self.list();
        for attempt in attempts {
            if list.wanted.get(&attempt.job).is_some_and(|wanted| wanted.assignment.attempt == *attempt) {
                list.wanted.remove(&attempt.job);
            }
            // What is left of it may have to go though it was not wanted before either.
            self.triggers.look_at(attempt.job);
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
