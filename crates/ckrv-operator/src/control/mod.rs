//! The control plane's side: what it wants ([`desired`]), what it is told ([`reports`]), what it is offered, and what it is
//! handed in ([`handing`], [`submissions`]).
//!
//! Nothing here writes to the cluster, and nothing else speaks with the control plane.

pub mod desired;
pub mod handing;
pub mod job_spec;
pub mod reports;
pub mod submissions;

use std::collections::BTreeSet;
use std::sync::Arc;

use ckrv_client::runner::driver::Host;
use ckrv_types::runner::{Assignments, Offer};
use ckrv_types::{AttemptId, spec};
use kube::ResourceExt;

use self::desired::{Answer, Desired};
use self::handing::Handing;
use crate::config::Config;
use crate::crd::AgentJob;
use crate::names;
use crate::stores::Stores;

/// This cluster, as the control plane sees it.
#[derive(Clone)]
pub struct Cluster {
    pub config: Arc<Config>,
    pub stores: Stores,
    pub desired: Desired,
    pub handing: Handing,
}

impl Cluster {
    /// The attempt that an object stands for, which it does from its making on, or from the assignment on where it was made
    /// by hand.
    fn held_by(&self, job: &AgentJob) -> Option<AttemptId> {
        if !job.spec.is_by_hand() {
            let number = names::attempt_number(&job.metadata);
            return Some(AttemptId { job: names::own_job_of(job)?, number });
        }
        match self.desired.of_object(job) {
            Some((_, Answer::Wanted(wanted))) => Some(wanted.assignment.attempt),
            _ => None,
        }
    }
}

impl Host for Cluster {
    fn offer(&self) -> Offer {
        let mut classes: BTreeSet<String> = self
            .stores
            .classes
            .state()
            .iter()
            .map(|class| class.name_any())
            .filter(|name| spec::is_name(name))
            .collect();
        classes.insert(self.config.default_class.clone());
        Offer {
            capacity: self.config.capacity,
            classes: classes.into_iter().collect(),
            labels: [("namespace".to_owned(), self.config.namespace.clone())].into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn held(&self) -> Vec<AttemptId> {
        let of_jobs = self.stores.jobs.state().into_iter().filter_map(|job| self.held_by(&job));
        let of_pods = self.stores.pods.state().into_iter().filter_map(|pod| names::attempt_of(&pod.metadata));
        let held: BTreeSet<AttemptId> = of_jobs.chain(of_pods).collect();
        held.into_iter().collect()
    }

    fn assigned(&self, list: Assignments) {
        if self.desired.replace(list) {
            self.handing.try_refused_again();
        }
    }

    fn stop(&self, attempts: &[AttemptId]) {
        self.desired.stop(attempts);
    }

    fn forget(&self, attempts: &[AttemptId]) {
        self.desired.forget(attempts);
    }
}
