//! What the control plane wants to run here: its latest list, and nothing before the first one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ckrv_types::runner::{ANY_NAMESPACE, Assignment, Assignments};
use ckrv_types::{AttemptId, JobId};

use crate::crd::AgentJob;
use crate::names;
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
    /// Whose objects may be handed in.
    namespaces: Vec<String>,
    wanted: BTreeMap<JobId, Wanted>,
}

/// An attempt that is to run.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub assignment: Arc<Assignment>,
    /// Its worker never started or does not obey, and somebody asked to cancel: it is to be stopped.
    pub stop: bool,
}

impl Wanted {
    fn origin_uid(&self) -> Option<&str> {
        self.assignment.origin.as_ref().map(|origin| origin.uid.as_str())
    }
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

    /// The job that an object stands for, and what is wanted of it: nothing where another object stands for that job. None:
    /// there is no such job yet, or it was not this operator that made the object.
    pub fn of_object(&self, object: &AgentJob) -> Option<(JobId, Answer)> {
        let (id, uid) = if object.spec.is_by_hand() {
            (object.status.as_ref()?.job_id.as_ref()?.parse().ok()?, object.metadata.uid.as_deref())
        } else {
            (names::own_job_of(object)?, None)
        };
        let answer = match self.of(id) {
            Answer::Wanted(wanted) if wanted.origin_uid() != uid => Answer::NotWanted,
            answer => answer,
        };
        Some((id, answer))
    }

    /// Everything that is wanted.
    pub fn all(&self) -> Vec<Arc<Assignment>> {
        self.list().wanted.values().map(|wanted| Arc::clone(&wanted.assignment)).collect()
    }

    /// Whether this very attempt is wanted.
    pub fn has(&self, attempt: AttemptId) -> bool {
        self.list().wanted.get(&attempt.job).is_some_and(|wanted| wanted.assignment.attempt == attempt)
    }

    /// Whether jobs may be handed in that were made in this namespace; none before the first list.
    pub fn takes_from(&self, namespace: &str) -> Option<bool> {
        let list = self.list();
        list.is_known.then(|| list.namespaces.iter().any(|taken| taken == namespace || taken == ANY_NAMESPACE))
    }

    /// Answers whether other namespaces' jobs may be handed in than before.
    pub fn replace(&self, Assignments { items, namespaces, .. }: Assignments) -> bool {
        let mut list = self.list();
        let is_other = list.namespaces != namespaces;
        list.namespaces = namespaces;
        let mut before = std::mem::take(&mut list.wanted);
        let is_first = !std::mem::replace(&mut list.is_known, true);
        for item in items {
            let job = item.attempt.job;
            let same = before
                .remove(&job)
                .filter(|known| known.assignment.attempt == item.attempt && known.assignment.started == item.started);
            if same.is_none() {
                self.triggers.look_at_named(&names::object_of(&item));
            }
            let stop = same.is_some_and(|known| known.stop);
            list.wanted.insert(job, Wanted { assignment: Arc::new(item), stop });
        }
        for gone in before.into_values() {
            self.triggers.look_at_named(&names::object_of(&gone.assignment));
        }
        drop(list);
        if is_first || is_other {
            self.triggers.look_at_all();
        }
        self.triggers.look_for_new();
        is_other
    }

    pub fn stop(&self, attempts: &[AttemptId]) {
        let mut list = self.list();
        for attempt in attempts {
            if let Some(wanted) = list.wanted.get_mut(&attempt.job)
                && wanted.assignment.attempt == *attempt
                && !std::mem::replace(&mut wanted.stop, true)
            {
                self.triggers.look_at_named(&names::object_of(&wanted.assignment));
            }
        }
    }

    /// The next list will not have them either.
    pub fn forget(&self, attempts: &[AttemptId]) {
        let mut list = self.list();
        for attempt in attempts {
            let name = match list.wanted.get(&attempt.job) {
                Some(wanted) => names::object_of(&wanted.assignment),
                // What is left of it may have to go though it was not wanted before either.
                None => attempt.job.to_string(),
            };
            if list.wanted.get(&attempt.job).is_some_and(|wanted| wanted.assignment.attempt == *attempt) {
                list.wanted.remove(&attempt.job);
            }
            self.triggers.look_at_named(&name);
        }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
