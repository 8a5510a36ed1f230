//! `AgentJob`: one job of the control plane, here as long as it runs; or a job that an admin makes here.

#![allow(clippy::duplicated_attributes, reason = "every column has a type, and several have the same")]

use std::collections::BTreeMap;

use ckrv_types::limits;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::limits::{JobLimits, JobRetries};
use super::status::AgentJobStatus;

/// What is to be done: `repo`, and what an agent is to do there. An object that the operator makes itself, for a job that was
/// submitted elsewhere, has `jobID` instead. A job's spec cannot be changed.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "ckrv.dev",
    version = "v1alpha1",
    kind = "AgentJob",
    namespaced,
    shortname = "aj",
    category = "ckrv",
    status = "AgentJobStatus",
    derive = "PartialEq",
    doc = "A job of ckrv that this cluster runs. One that you make is submitted once, and kept after its end for \
           `ttlSecondsAfterFinished`; one that the operator makes goes with its job. Deleting it cancels the job.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".spec.agent"),
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.className"),
    printcolumn(name = "Job", type_ = "string", json_path = ".status.jobID", priority = "1"),
    printcolumn(name = "Node", type_ = "string", json_path = ".status.node", priority = "1"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("a job's spec cannot be changed: make another job"))]
#[x_kube(validation = Rule::new("has(self.jobID) != has(self.repo)")
    .message("repo is needed: the repository to work on (jobID is the operator's alone)"))]
#[x_kube(validation = Rule::new("has(self.jobID) || self.agent != 'command' || (has(self.command) && self.command.size() > 0)")
    .message("the agent `command` needs a command: program and arguments"))]
#[x_kube(validation = Rule::new("has(self.jobID) || self.agent == 'command' || (has(self.prompt) && self.prompt.size() > 0)")
    .message("this agent needs a prompt: what it is to do"))]
#[serde(rename_all = "camelCase")]
pub struct AgentJobSpec {
    /// Of an object that the operator has made: the job's id in the control plane. Leave it out.
    #[serde(rename = "jobID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^job-[0-7][0-9a-hjkmnp-tv-z]{25}$"), length(max = 63))]
    pub job_id: Option<String>,

    /// The git repository: `https://…` or `ssh://…`. Credentials are the class's, never a part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::REPO_URL_CHARS))]
    #[x_kube(validation = Rule::new("!self.matches('^[a-zA-Z]+://[^/@]*:[^/@]*@') && !self.matches('^[hH][tT][tT][pP][sS]?://[^/]*@')")
        .message("no user and no password in the address: name a secret of the class"))]
    pub repo: Option<String>,

    /// The branch to start from. Absent: the repository's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::REF_CHARS))]
    pub branch: Option<String>,

    /// The agent's name, such as `claude-code`, which needs a prompt; or `command`, which runs `command`.
    #[serde(default = "default_agent")]
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), length(max = 63))]
    pub agent: String,

    /// What the agent is to do. What is longer belongs into a file of the repository that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = PROMPT_CHARS))]
    pub prompt: Option<String>,

    /// For the agent `command`: program and arguments, run without a shell in the work tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::COMMAND_ARGS), inner(length(max = ARGUMENT_CHARS)))]
    pub command: Vec<String>,

    /// The agent's container image. Absent: the class's, or else the operator's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// The JobClass that says what the pod may be. Absent: the operator's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), length(max = 63))]
    pub class_name: Option<String>,

    /// Plain environment variables of the agent. Not for secrets: whoever may read this object, or the job, reads them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = limits::ENV_ENTRIES))]
    pub env: BTreeMap<String, String>,

    /// Names of secrets of the class that the job may use besides those that its repository's host and its agent need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    pub secrets: Vec<String>,

    /// Globs, relative to the work tree, of files to keep besides branch and patch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::ARTIFACT_GLOBS), inner(length(min = 1, max = limits::GLOB_CHARS)))]
    pub artifacts: Vec<String>,

    /// How long what may take.
    #[serde(default)]
    pub limits: JobLimits,

    /// How often the job is tried when infrastructure fails it.
    #[serde(default)]
    pub retries: JobRetries,

    /// Hard cap on the model's cost over all attempts, in US dollars.
    #[serde(rename = "budgetUSD", default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = limits::BUDGET_USD_MAX))]
    pub budget_usd: Option<f64>,

    /// The job's labels in the control plane, for finding it again (`ckrv list --label`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = limits::LABELS))]
    pub labels: BTreeMap<String, String>,

    /// Higher goes first within what the organization may run at once.
    #[serde(default)]
    #[schemars(range(min = -limits::PRIORITY_MAX, max = limits::PRIORITY_MAX))]
    pub priority: i32,

    /// Seconds after the job's end after which the operator removes this object. Absent: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,
}

/// An object and what `kubectl apply` notes of it must fit into etcd and into an annotation.
const PROMPT_CHARS: usize = 32 * 1024;
const ARGUMENT_CHARS: usize = 16 * 1024;

fn default_agent() -> String {
    "command".to_owned()
}

impl AgentJobSpec {
    /// Whether somebody has made it, as against the operator for a job that was submitted elsewhere.
    pub fn is_by_hand(&self) -> bool {
        self.job_id.is_none()
    }
}
