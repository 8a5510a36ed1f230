//! Jobs as the API takes and shows them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::object::object;
use crate::{Attempt, Cause, JobId, JobSpec, OrgId, ProjectId, State};

/// `POST /v1/jobs`. With an `Idempotency-Key` header the same request may be sent again safely for 24 h.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SubmitJob {
    #[serde(deserialize_with = "object")]
    pub spec: JobSpec,
    /// Where it belongs; absent: the key's project, or the organization's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
}

/// A job. `state`, `cause` and `message` are its latest attempt's; the job is over only when no further attempt follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Job {
    pub id: JobId,
    pub org: OrgId,
    pub project: ProjectId,
    pub spec: JobSpec,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Number of the latest attempt.
    pub attempt: u32,
    /// All attempts in order; left out in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The job that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<JobId>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<OffsetDateTime>,
    /// The result branch, once there is one: `ckrv/<job id>` and its head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JobResult>,
}

/// Where the work stands that came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobResult {
    pub branch: String,
    pub base_commit: String,
    pub head_commit: String,
    pub files_changed: u32,
    pub insertions: u64,
    pub deletions: u64,
}

/// `POST /v1/jobs/{id}/cancel`: what became of the request. Cancelling twice, or a job that is over, is not an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cancelled {
    pub outcome: CancelOutcome,
    pub job: Job,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    /// It was queued and is cancelled.
    Cancelled,
    /// Its worker has been, or will be told; the job ends as soon as the agent is stopped.
    Requested,
    /// It was over before.
    AlreadyFinished,
}

/// One change of an attempt's state: `GET /v1/jobs/{id}/events` as SSE, event name `event`, id = `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobEvent {
    /// Rises within a job.
    pub id: i64,
    pub attempt: u32,
    pub kind: EventKind,
    /// The state after the event.
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The attempt entered `state`.
    State,
    /// Somebody asked to cancel.
    CancelRequested,
    /// A further attempt was queued; `attempt` is its number.
    Retry,
    /// A runner's observation that changed no state (image is being pulled, pod is unschedulable).
    Note,
}

/// `GET /v1/jobs/{id}/explain`: why it is not running, or why it ended, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Explanation {
    pub job: JobId,
    pub attempt: u32,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What is so, in a sentence.
    pub summary: String,
    /// Further facts, one a line: limits, runner, phase times, notes of the runner.
    pub details: Vec<String>,
    /// What to do about it, where there is something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueuePosition>,
}

/// A queued job's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueuePosition {
    /// Jobs of the same organization that go first, plus one.
    pub position: u64,
    /// The organization's running jobs, and how many it may run; absent: as many as there are places.
    pub running: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
    /// Runners alive that could take it, and their free places.
    pub runners: u64,
    pub free_places: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub times_out_at: OffsetDateTime,
}
