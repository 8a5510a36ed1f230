//! Names, labels and annotations of what the operator makes. None of them is ever taken from a user.

use ckrv_types::{AttemptId, JobId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

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

/// The attempt that a pod is of, by its label.
pub fn attempt_of(meta: &ObjectMeta) -> Option<AttemptId> {
    meta.labels.as_ref()?.get(ATTEMPT)?.parse().ok()
}

/// The number of the attempt that an `AgentJob` stands for; 1 unless its annotation says more.
pub fn attempt_number(meta: &ObjectMeta) -> u32 {
    meta.annotations.as_ref().and_then(|all| all.get(ATTEMPT)?.parse().ok()).unwrap_or(1)
}

/// The job that an `AgentJob` stands for; none where its name is not a job's id.
pub fn job_of(meta: &ObjectMeta) -> Option<JobId> {
    meta.name.as_deref()?.parse().ok()
}
