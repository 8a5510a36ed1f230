//! Names, labels and annotations of what the operator makes. None of them is ever taken from a user.

use ckrv_types::runner::Assignment;
use ckrv_types::{AttemptId, JobId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::crd::AgentJob;

/// Field manager of every server-side apply, and controller of every Event.
pub const MANAGER: &str = "ckrv-operator";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const NAME: &str = "app.kubernetes.io/name";
/// On pods and secrets: the attempt that they are of.
pub const ATTEMPT: &str = "ckrv.dev/attempt";
/// On pods: the class, by which a NetworkPolicy selects them.
pub const CLASS: &str = "ckrv.dev/class";
/// Selects what the operator keeps in memory: of pods, the jobs' own.
pub const POD_SELECTOR: &str = "app.kubernetes.io/managed-by=ckrv-operator,app.kubernetes.io/name=ckrv-job";
/// Selects the objects that stand for assigned jobs.
pub const JOB_SELECTOR: &str = "app.kubernetes.io/managed-by=ckrv-operator";
/// Value of [`NAME`] on a job's pod.
pub const JOB_APP: &str = "ckrv-job";

/// The AgentJob that a pod belongs to.
pub fn owner_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_ref()?.iter().find(|owner| owner.kind == "AgentJob")
}

/// The name of the object that stands for an assigned job: the job's id, unless somebody made it by hand.
pub fn object_of(assignment: &Assignment) -> String {
    match &assignment.origin {
        Some(origin) => origin.name.clone(),
        None => assignment.attempt.job.to_string(),
    }
}

/// The attempt that a pod is of, by its label.
pub fn attempt_of(meta: &ObjectMeta) -> Option<AttemptId> {
    meta.labels.as_ref()?.get(ATTEMPT)?.parse().ok()
}

/// The number of the attempt that an `AgentJob` stands for; 1 unless its annotation says more.
pub fn attempt_number(meta: &ObjectMeta) -> u32 {
    meta.annotations.as_ref().and_then(|all| all.get(ATTEMPT)?.parse().ok()).unwrap_or(1)
}

/// The job that an `AgentJob` of the operator's own making stands for; none where somebody else made it.
pub fn own_job_of(job: &AgentJob) -> Option<JobId> {
    let is_ours = job.metadata.labels.as_ref()?.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    let name = job.metadata.name.as_ref().filter(|name| is_ours && job.spec.job_id.as_ref() == Some(*name))?;
    name.parse().ok()
}
