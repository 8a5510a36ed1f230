//! `AgentJob`: one job of the control plane, here as long as it runs.

#![allow(clippy::duplicated_attributes, reason = "every column has a type, and several have the same")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What the pod is made of. Everything else about the job goes from the control plane to its worker directly.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ckrv.dev",
    version = "v1alpha1",
    kind = "AgentJob",
    namespaced,
    shortname = "aj",
    category = "ckrv",
    status = "AgentJobStatus",
    derive = "PartialEq",
    doc = "A job of ckrv's control plane that this cluster runs. It exists from the job's admission until its log is \
           sealed. Deleting it cancels the job.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".spec.agent"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.className"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("a job's spec cannot be changed: run another job"))]
#[serde(rename_all = "camelCase")]
pub struct AgentJobSpec {
    /// The job's id in the control plane: `ckrv status <job id>` shows all of it.
    #[serde(rename = "jobID")]
    #[schemars(regex(pattern = r"^job-[0-7][0-9a-hjkmnp-tv-z]{25}$"), length(max = 63))]
    pub job_id: String,

    /// The agent's name, such as `command` or `claude-code`.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), length(max = 63))]
    pub agent: String,

    /// The agent's container image. Absent: the class's, or else the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// The JobClass that says what the pod may be. Absent: the operator's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), length(max = 63))]
    pub class_name: Option<String>,

    /// How long what may take.
    #[serde(default)]
    pub limits: JobLimits,
}

/// How long what may take, in seconds. The worker keeps these limits; the pod's own deadline is only behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobLimits {
    /// From assigned to started, and from started until the agent runs.
    #[schemars(range(min = 1, max = 7200))]
    pub start_seconds: i64,
    /// The agent's run.
    #[schemars(range(min = 1, max = 86400))]
    pub run_seconds: i64,
    /// Between SIGTERM and SIGKILL for the agent.
    #[schemars(range(min = 1, max = 600))]
    pub grace_seconds: i64,
}

impl Default for JobLimits {
    fn default() -> Self {
        ckrv_types::spec::Limits::default().into()
    }
}

impl From<ckrv_types::spec::Limits> for JobLimits {
    fn from(limits: ckrv_types::spec::Limits) -> Self {
        let seconds = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Self {
            start_seconds: seconds(limits.start),
            run_seconds: seconds(limits.run),
            grace_seconds: seconds(limits.grace),
        }
    }
}

/// What the operator sees of the job. The control plane knows more: `ckrv status`, `ckrv explain`.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentJobStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Where the attempt is: Pending, Running, Completed (its worker has reported its end, whatever that was) or Failed.
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

    /// Accepted, Scheduled, Started, Completed and LogSealed; of a pod that is being taken away also Disrupted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}

/// Where an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum JobPhase {
    Pending,
    Running,
    Completed,
    Failed,
}
