//! Gathers what a plan is made from: an AgentJob, its pods, its class, and what the control plane wants of it.

use std::sync::Arc;

use ckrv_types::AttemptId;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::Context;
use super::plan::{ByHand, Class, View};
use crate::causes;
use crate::control::desired::Answer;
use crate::control::handing::Handed;
use crate::crd::{AgentJob, JobClassSpec};
use crate::names;

pub fn observe(job: &Arc<AgentJob>, context: &Context) -> View {
    let (id, wanted) = context.desired.of_object(job).unzip();
    let wanted = wanted.unwrap_or(Answer::Unknown);
    let number = number(job, &wanted);
    let pod = |number: u32| {
        let name = AttemptId { job: id?, number }.to_string();
        let pod = context.stores.pods.get(&ObjectRef::new(&name).within(&context.config.namespace))?;
        // One of an object of the same name that is gone is not this one's.
        is_owned(&pod, job).then(|| match context.stores.eviction(&pod) {
            Some(why) => Arc::new(causes::evicted(&pod, why)),
            None => pod,
        })
    };
    let own = pod(number);
    View {
        attempt: id.map(|job| AttemptId { job, number }),
        wanted,
        by_hand: job.spec.is_by_hand().then(|| by_hand(job, context)),
        hindrance: own.as_deref().and_then(|pod| context.stores.hindrance(pod)),
        taken_away: id.and_then(|job| context.stores.taken_away(&AttemptId { job, number }.to_string())),
        pod: own,
        earlier_pods: (1..number).filter_map(pod).collect(),
        class: class(job, context),
        graces: context.config.graces,
        is_rush: context.is_rush(),
        now: Timestamp::now(),
        job: Arc::clone(job),
    }
}

/// The number of the attempt that the object stands for. Of one that was made by hand nothing but the status is written, so
/// there the list says it.
fn number(job: &AgentJob, wanted: &Answer) -> u32 {
    if !job.spec.is_by_hand() {
        return names::attempt_number(&job.metadata);
    }
    let told = job.status.as_ref().and_then(|status| u32::try_from(status.attempt?).ok()).unwrap_or(1);
    match wanted {
        Answer::Wanted(wanted) => wanted.assignment.attempt.number.max(told),
        _ => told,
    }
}

fn by_hand(job: &AgentJob, context: &Context) -> ByHand {
    ByHand {
        handed: job.metadata.uid.as_ref().map_or(Handed::Unknown, |uid| context.handing.of(uid)),
        is_allowed: context.desired.takes_from(&context.config.namespace),
    }
}

fn class(job: &AgentJob, context: &Context) -> Class {
    let name = job.spec.class_name.clone().unwrap_or_else(|| context.config.default_class.clone());
    match context.stores.classes.get(&ObjectRef::new(&name)) {
        Some(class) => {
            let version = class.resource_version();
            Class { name, version, spec: Some(class.spec.clone()) }
        }
        // The operator's own defaults, until an admin says more.
        None if name == context.config.default_class => {
            Class { name, version: None, spec: Some(JobClassSpec::default()) }
        }
        None => Class { name, version: None, spec: None },
    }
}

fn is_owned(pod: &Pod, job: &AgentJob) -> bool {
    pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
}
