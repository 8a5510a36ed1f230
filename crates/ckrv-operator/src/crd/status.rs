//! The status of an `AgentJob`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the operator sees of the job, and how it ended. The control plane knows more: `ckrv status`, `ckrv explain`.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentJobStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The job's id in the control plane: `ckrv status <job id>` shows all of it.
    #[serde(rename = "jobID", default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,

    /// Where the job is. Rejected: it was not taken, and the message says why. Queued: it waits for a place, or for another
    /// attempt. Pending and Running: it has an attempt. Completed: its worker has reported its end, whatever that was. Failed:
    /// the attempt, or the job. Succeeded, Cancelled, TimedOut: the job is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<JobPhase>,

    /// The number of the attempt that the rest is about, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,

    /// The attempt's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,

    /// The pod's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,

    /// Why the attempt failed, from ckrv's closed list of causes, such as `infrastructure:image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,

    /// What it waits for, or what happened, with names and numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// The agent's own exit code, once the job is over and where it got so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,

    /// The work that came back, once the job is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobWork>,

    /// When the job was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// Accepted, Scheduled, Started, Completed and LogSealed; of a pod that is being taken away also Disrupted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum JobPhase {
    Rejected,
    Queued,
    Pending,
    Running,
    Completed,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
}

/// The work that came back. `ckrv pull <job id>` fetches it, and what artifacts there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobWork {
    /// The branch that `ckrv pull` makes.
    pub branch: String,
    /// Its head.
    pub commit: String,
    /// The commit that the agent began with.
    pub base_commit: String,
    pub files_changed: i64,
    pub insertions: i64,
    pub deletions: i64,
}

impl From<&ckrv_types::job::JobResult> for JobWork {
    fn from(result: &ckrv_types::job::JobResult) -> Self {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Self {
            branch: result.branch.clone(),
            commit: result.head_commit.clone(),
            base_commit: result.base_commit.clone(),
            files_changed: result.files_changed.into(),
            insertions: number(result.insertions),
            deletions: number(result.deletions),
        }
    }
}
