//! An object made by hand, in the control plane's words.

use ckrv_types::JobSpec;
use ckrv_types::runner::{HandIn, Origin};

use crate::crd::{AgentJob, AgentJobSpec};

/// What is handed in for `object`; none where it is not a whole object, or the operator's own.
pub fn hand_in(object: &AgentJob, instance: &str) -> Option<HandIn> {
    let meta = &object.metadata;
    let origin = Origin { namespace: meta.namespace.clone()?, name: meta.name.clone()?, uid: meta.uid.clone()? };
    Some(HandIn { instance: instance.to_owned(), origin, spec: spec(&object.spec)? })
}

fn spec(spec: &AgentJobSpec) -> Option<JobSpec> {
    // Every field is named, so that a new one is not forgotten here.
    let AgentJobSpec {
        job_id: _,
        repo,
        branch,
        agent,
        prompt,
        command,
        image,
        class_name,
        env,
        secrets,
        artifacts,
        limits,
        retries,
        budget_usd,
        labels,
        priority,
        ttl_seconds_after_finished: _,
    } = spec.clone();
    Some(JobSpec {
        repo: repo?,
        branch,
        agent,
        prompt,
        command,
        image,
        class: class_name,
        env,
        secrets,
        artifacts,
        limits: limits.into(),
        retries: retries.into(),
        budget_usd,
        labels,
        priority,
    })
}
