//! `/v1/runner`: how an executor of attempts (the local runner, the operator) talks to the control plane.
//!
//! Bearer: the runner's token. The runner connects outbound only, and holds nothing that a list cannot rebuild:
//! 1. `POST register` binds the token to one instance (a cluster's UID with the operators' Lease in it, a machine's id);
//!    another instance gets `other_instance`.
//! 2. `POST heartbeat` every [`crate::limits::BEAT_SECONDS`].
//! 3. `GET assignments?wait=&after=` answers the whole list as soon as its version is past `after`, or after `wait` seconds.
//! 4. `POST observations` as things happen; repeating one changes nothing.
//! 5. `POST jobs` hands in a job that somebody made as an object in the runner's cluster, `GET jobs` says where such jobs
//!    stand. Which project a namespace's jobs go into is the registration's to say, never the object's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::job::JobResult;
use crate::spec::{JobSpec, Limits};
use crate::{AttemptId, Cause, JobId, OrgId, RunnerId, Secret, State};

/// In a registration, in place of a namespace's name: every namespace that is not named.
pub const ANY_NAMESPACE: &str = "*";

/// `POST /v1/runner/register`, at every start of the runner. Idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Register {
    /// What the token is bound to from now on, 1 to 255 characters.
    pub instance: String,
    pub offer: Offer,
}

/// What a runner can take. Sent again with each heartbeat, so that it may change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Offer {
    /// Attempts at once, 0 to 10,000. 0: takes nothing new (draining).
    pub capacity: u32,
    /// Classes that it knows; a job without a class goes to any runner.
    #[serde(default)]
    pub classes: Vec<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// ckrv's version.
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Registered {
    pub runner: RunnerId,
    pub name: String,
    pub beat_seconds: u64,
}

/// `POST /v1/runner/heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunnerHeartbeat {
    pub instance: String,
    pub offer: Offer,
    /// Every attempt that it has anything of: a process, a work folder, a pod, a CR.
    pub holding: Vec<AttemptId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunnerHeartbeatAnswer {
    /// Held attempts whose worker never started or does not obey: stop them now.
    pub stop: Vec<AttemptId>,
    /// Held attempts that are over, or were never this runner's: remove what is left of them.
    pub forget: Vec<AttemptId>,
}

/// `GET /v1/runner/assignments`: everything that this runner should be running, and nothing else.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Assignments {
    /// Hand back as `?after=`.
    pub version: i64,
    pub items: Vec<Assignment>,
    /// Namespaces whose jobs are taken from this runner; [`ANY_NAMESPACE`]: all.
    #[serde(default)]
    pub namespaces: Vec<String>,
}

/// An attempt given to a runner. Small on purpose: the worker gets the whole specification from `start`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Assignment {
    pub attempt: AttemptId,
    pub org: OrgId,
    pub agent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    pub limits: Limits,
    /// The worker has started: only its own beat counts now.
    pub started: bool,
    /// The worker exchanges it at `start`. The same at every listing.
    pub bootstrap_token: BootstrapToken,
    #[serde(with = "time::serde::rfc3339")]
    pub assigned_at: OffsetDateTime,
    /// The object that it was handed in for, which stands for it; absent: it was submitted by a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// An object in the runner's cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Origin {
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub namespace: String,
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 253))]
    pub name: String,
    /// A new one for each object, also where the name is an old one.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-zA-Z-]{1,63}$"))]
    pub uid: String,
}

/// `POST /v1/runner/jobs`: a job that was made as an object in the runner's cluster. One object makes one job, however often
/// it is handed in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HandIn {
    pub instance: String,
    pub origin: Origin,
    pub spec: JobSpec,
}

/// Where a job stands that this runner has handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobStanding {
    pub job: JobId,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The number of the latest attempt.
    pub attempt: u32,
    /// The agent's own exit code in that attempt, where it got so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<OffsetDateTime>,
}

/// `GET /v1/runner/jobs?ids=`: the jobs that were asked for; one that is not there (any more), or was not handed in by this
/// runner, is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobStandings {
    pub items: Vec<JobStanding>,
}

/// A secret that has to travel in this one body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
#[serde(transparent)]
pub struct BootstrapToken(pub Secret);

impl Serialize for BootstrapToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

/// `POST /v1/runner/observations`: what the runner sees of its attempts from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Observations {
    pub instance: String,
    pub items: Vec<Observation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Observation {
    pub attempt: AttemptId,
    pub phase: Phase,
    /// With `ended`: why. An attempt whose worker has finished properly stays as it is. Before the end: what is wrong now
    /// and may end it; none takes back what was said before. Its worker hears of it and may finish with that cause, and one
    /// that is silent from then on is ended with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// For the user: what happened, with names and numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not begun; the message says what it waits for.
    Waiting,
    /// Its worker's process or containers exist.
    Launched,
    /// Nothing of it runs any more. Without a `finish` from the worker this ends the attempt.
    Ended,
}

/// `POST /v1/runner/observations`: which items changed something, by position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObservationsAnswer {
    pub applied: Vec<bool>,
}
