//! Gathers what a plan is made from: an AgentJob, its pods, its class, and what the control plane wants of it.

use std::sync::Arc;

use ckrv_types::AttemptId;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::Context;
use super::plan::{Class, View};
use crate::causes;
use crate::control::desired::Answer;
use crate::crd::{AgentJob, JobClassSpec};
use crate::names;

pub fn observe(job: &Arc<AgentJob>, context: &Context) -> View {
    let id = names::job_of(&job.metadata).filter(|id| is_ours(job) && id.to_string() == job.spec.job_id);
    let number = names::attempt_number(&job.metadata);
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
        wanted: id.map_or(Answer::Unknown, |id| context.desired.of(id)),
        hindrance: own.as_deref().and_then(|pod| context.stores.hindrance(pod)),
        pod: own,
        earlier_pods: (1..number).filter_map(pod).collect(),
        class: class(job, context),
        graces: context.config.graces,
        now: Timestamp::now(),
        job: Arc::clone(job),
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

fn is_ours(job: &AgentJob) -> bool {
    job.labels().get(names::MANAGED_BY).is_some_and(|manager| manager == names::MANAGER)
}

fn is_owned(pod: &Pod, job: &AgentJob) -> bool {
    pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
}
