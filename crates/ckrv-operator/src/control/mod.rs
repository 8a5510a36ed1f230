//! The control plane's side: what it wants ([`desired`]), what it is told ([`reports`]), and what it is offered.
//!
//! Nothing here writes to the cluster, and nothing else speaks with the control plane.

pub mod desired;
pub mod reports;

use std::collections::BTreeSet;
use std::sync::Arc;

use ckrv_client::runner::driver::Host;
use ckrv_types::runner::{Assignment, Offer};
use ckrv_types::{AttemptId, spec};
use kube::ResourceExt;

use self::desired::Desired;
use crate::config::Config;
use crate::names;
use crate::stores::Stores;

/// This cluster, as the control plane sees it.
#[derive(Clone)]
pub struct Cluster {
    pub config: Arc<Config>,
    pub stores: Stores,
    pub desired: Desired,
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
        let of_jobs = self.stores.jobs.state().into_iter().filter_map(|job| {
            let number = names::attempt_number(&job.metadata);
            Some(AttemptId { job: names::job_of(&job.metadata)?, number })
        });
        let of_pods = self.stores.pods.state().into_iter().filter_map(|pod| names::attempt_of(&pod.metadata));
        let held: BTreeSet<AttemptId> = of_jobs.chain(of_pods).collect();
        held.into_iter().collect()
    }

    fn assigned(&self, items: Vec<Assignment>) {
        self.desired.replace(items);
    }

    fn stop(&self, attempts: &[AttemptId]) {
        self.desired.stop(attempts);
    }

    fn forget(&self, attempts: &[AttemptId]) {
        self.desired.forget(attempts);
    }
}
