//! What is remembered between reconciliations. All of it may be lost: what follows is a repetition, or a moment's delay.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ckrv_client::Backoff;

use crate::stores::Stores;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Memory {
    /// Objects that this operator has deleted itself, by UID: their disappearance is nobody's wish to cancel.
    removed: Mutex<HashSet<String>>,
    /// AgentJobs and pods that the API server was told to delete, by UID: what is kept in memory may not say so yet.
    going: Mutex<HashSet<String>>,
    /// Classes whose NetworkPolicy was applied: for which version of the class, and when.
    policies: Mutex<HashMap<String, (Option<String>, Instant)>>,
    failing: Mutex<HashMap<String, Backoff>>,
}

impl Memory {
    /// By UID, to be looked through and changed.
    pub fn removed(&self) -> MutexGuard<'_, HashSet<String>> {
        lock(&self.removed)
    }

    /// Whether the API server was told to delete this object before, and has agreed.
    pub fn is_going(&self, uid: &str) -> bool {
        lock(&self.going).contains(uid)
    }

    pub fn goes(&self, uid: String) {
        lock(&self.going).insert(uid);
    }

    /// Forgets what is gone.
    pub fn tidy(&self, stores: &Stores) {
        stores.forget_taken();
        lock(&self.going).retain(|uid| {
            stores.pods.find(|pod| pod.metadata.uid.as_ref() == Some(uid)).is_some()
                || stores.jobs.find(|job| job.metadata.uid.as_ref() == Some(uid)).is_some()
        });
    }

    /// For which version of a class its policy was applied, and when.
    pub fn policy(&self, class: &str) -> Option<(Option<String>, Instant)> {
        lock(&self.policies).get(class).cloned()
    }

    pub fn applied_policy(&self, class: &str, version: Option<String>) {
        lock(&self.policies).insert(class.to_owned(), (version, Instant::now()));
    }

    pub fn succeeded(&self, job: &str) {
        lock(&self.failing).remove(job);
    }

    /// How long to wait until the next try at `job`, at least what the API server asked for.
    pub fn failed(&self, job: &str, asked: Option<Duration>, is_there: impl Fn(&str) -> bool) -> Duration {
        let mut failing = lock(&self.failing);
        // What is gone by itself needs no memory.
        failing.retain(|name, _| name == job || is_there(name));
        let backoff = failing.entry(job.to_owned()).or_insert_with(|| Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
        backoff.pause(asked)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
