//! `/v1/worker`: how the worker of one attempt talks to the control plane.
//!
//! 1. `POST start` (bearer: bootstrap token) binds the attempt to the worker's random instance and answers the attempt
//!    token, the specification, and the organization's credentials that the job may use. The same instance gets the same
//!    answer again (with each credential as it is by then; none once the attempt is over); another gets `other_instance`.
//! 2. `POST heartbeat?wait=N` every [`crate::limits::BEAT_SECONDS`] and at each change of phase renews the lease as it
//!    arrives; answers whether to cancel, and what the runner has noted, as soon as there is either, at the latest after N
//!    seconds.
//! 3. `POST logs?first_seq=N` appends a batch: a zstd frame of NDJSON [`crate::log::Line`]s, numbered from N.
//! 4. `POST artifacts` answers a place to PUT one object to.
//! 5. `POST finish`, last: outcome, manifest and the log's last line. The worker exits 0 only after it is acknowledged.
//!
//! Once the attempt is over its token is dead: every route answers `sealed`, but `start` and `finish` repeat their answer to
//! the same instance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::artifact::{ArtifactStatus, Summary};
use crate::credential::GivenCredential;
use crate::usage::Usage;
use crate::{AttemptId, Cause, JobSpec, Secret, State};

/// Media type of an append's body.
pub const LOG_MEDIA_TYPE: &str = "application/vnd.ckrv.log+zstd";

/// `POST /v1/worker/start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Start {
    /// 128 random bits in hex, made when the worker's process begins.
    pub instance: String,
    /// The worker's ckrv version.
    pub version: String,
    /// Machine or node, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Started {
    pub attempt: AttemptId,
    /// Bearer of the other routes.
    pub attempt_token: AttemptToken,
    pub spec: JobSpec,
    /// What the job's earlier attempts have spent of its budget, in US dollars, by their proxies' count.
    #[serde(default)]
    pub spent_usd: f64,
    /// The number of the log's next line: 1, or more when this instance has sent lines before.
    pub next_seq: u64,
    pub beat_seconds: u64,
    /// Author of the commit that ckrv makes of the work tree.
    pub commit_author: CommitAuthor,
    /// What the job may use of its organization's credentials, as they are now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<GivenCredential>,
    /// Names of credentials that it should have and that cannot be read: their rows were changed by something else than this
    /// server. Never to be done without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_credentials: Vec<String>,
}

/// A secret that has to travel in this one body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
#[serde(transparent)]
pub struct AttemptToken(pub Secret);

impl Serialize for AttemptToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommitAuthor {
    pub name: String,
    pub email: String,
}

/// What the worker is at; the first beat with a new phase moves the attempt's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkerPhase {
    Starting,
    Running,
    Finishing,
}

impl WorkerPhase {
    pub const fn state(self) -> State {
        match self {
            Self::Starting => State::Starting,
            Self::Running => State::Running,
            Self::Finishing => State::Finishing,
        }
    }
}

/// `POST /v1/worker/heartbeat`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerHeartbeat {
    pub instance: String,
    pub phase: WorkerPhase,
    /// So far, where the agent's model calls are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerHeartbeatAnswer {
    /// Stop the agent: SIGTERM, the grace, SIGKILL; then collect and finish as `cancelled`.
    pub cancel: bool,
    /// What the runner has seen of the attempt from outside, where the worker sees but the effect: `agent:oom` of an agent
    /// whose container is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noted: Option<Cause>,
    /// The same for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noted_message: Option<String>,
}

/// `POST /v1/worker/logs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Appended {
    /// Everything before this number is durable (or, over the job's limit, counted).
    pub next_seq: u64,
    /// The job's log is over its limit: lines are counted from now on, not kept.
    pub over_limit: bool,
}

/// `POST /v1/worker/artifacts`: one object to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewArtifact {
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 512))]
    pub name: String,
    /// Bytes.
    #[cfg_attr(feature = "openapi", schema(maximum = 5_368_709_120_u64))]
    pub size: u64,
    /// Of the content, lower-case hex.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    #[cfg_attr(feature = "openapi", schema(pattern = "^[ -~]*/[ -~]*$", max_length = 255))]
    pub content_type: String,
}

/// Where to send it: `PUT url` with exactly these headers and `size` bytes whose hash is as said; both are signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Upload {
    pub url: String,
    pub headers: BTreeMap<String, String>,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}

/// `POST /v1/worker/finish`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finish {
    pub instance: String,
    pub outcome: Outcome,
    /// The number of the last line that the worker made; the log is sealed there, `complete` when all arrived.
    pub last_seq: u64,
    /// Every artifact with its outcome.
    pub artifacts: Vec<FinishedArtifact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// How the attempt went, by its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Outcome {
    /// Absent: succeeded. The state follows from the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// For the user: what happened, with names and numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

impl Outcome {
    pub fn state(&self) -> State {
        self.cause.map_or(State::Succeeded, Cause::state)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FinishedArtifact {
    pub name: String,
    /// `stored`, `failed` or `skipped`. What is said to be stored is looked up in the object store before it is believed.
    pub status: ArtifactStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finished {
    /// The attempt's terminal state: the first one that was recorded, not always the one asked for.
    pub state: State,
    pub sealed_seq: u64,
}
