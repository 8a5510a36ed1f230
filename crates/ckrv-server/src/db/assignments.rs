//! The attempts that runners were given.

use std::time::Duration;

use ckrv_types::runner::Origin;
use ckrv_types::spec::Limits;
use ckrv_types::{AttemptId, JobId, OrgId, RunnerId};
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;

/// An attempt that a runner should be running.
pub struct Assigned {
    pub attempt: AttemptId,
    pub org: OrgId,
    pub agent: String,
    pub image: Option<String>,
    pub class: Option<String>,
    pub limits: Limits,
    pub started: bool,
    pub assigned_at: OffsetDateTime,
    pub origin: Option<Origin>,
}

#[derive(FromRow)]
struct AssignedRow {
    job_id: Uuid,
    number: i32,
    org_id: Uuid,
    agent: String,
    image: Option<String>,
    class: Option<String>,
    limits: Json<Limits>,
    started: bool,
    assigned_at: OffsetDateTime,
    origin: Option<Json<Origin>>,
}

/// The version of the runner's list: read it before the list, so that the list is never older than its version. A runner that
/// is revoked has none.
pub async fn version(system: &mut PgConnection, runner: RunnerId) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select f.version from runner_feeds f join runners r on r.id = f.runner_id
         where f.runner_id = $1 and r.revoked_at is null",
    )
    .bind(runner.uuid())
    .fetch_optional(system)
    .await
}

/// All that the runner should be running, the oldest assignment first.
pub async fn of_runner(system: &mut PgConnection, runner: RunnerId) -> Result<Vec<Assigned>, sqlx::Error> {
    let rows: Vec<AssignedRow> = sqlx::query_as(
        "select a.job_id, a.number, a.org_id, j.spec ->> 'agent' as agent, j.spec ->> 'image' as image, a.class,
            j.spec -> 'limits' as limits, a.instance is not null as started, a.assigned_at, j.origin - 'instance' as origin
         from attempts a join jobs j on j.id = a.job_id
         where a.runner_id = $1 and a.rank < 100
         order by a.assigned_at, a.job_id",
    )
    .bind(runner.uuid())
    .fetch_all(system)
    .await?;
    rows.into_iter().map(Assigned::try_from).collect()
}

impl TryFrom<AssignedRow> for Assigned {
    type Error = sqlx::Error;

    fn try_from(row: AssignedRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            attempt: AttemptId { job: JobId::from_uuid(row.job_id), number: decode::number("number", row.number)? },
            org: OrgId::from_uuid(row.org_id),
            agent: row.agent,
            image: row.image,
            class: row.class,
            limits: row.limits.0,
            started: row.started,
            assigned_at: row.assigned_at,
            origin: row.origin.map(|origin| origin.0),
        })
    }
}

/// What a runner is told of an attempt that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// Its worker never started, or does not obey a request to cancel.
    Stop,
    /// It is over, or was never this runner's.
    Forget,
}

/// A verdict on each of `held`, in order.
///
/// To be stopped is what somebody asked to cancel and whose worker never started, is not done stopping its agent
/// `slack` after the agent's grace, or not done storing its work `finish` after it began to.
pub async fn judge(
    system: &mut PgConnection,
    runner: RunnerId,
    held: &[AttemptId],
    slack: Duration,
    finish: Duration,
) -> Result<Vec<Verdict>, sqlx::Error> {
    let jobs: Vec<Uuid> = held.iter().map(|attempt| attempt.job.uuid()).collect();
    let numbers: Vec<i64> = held.iter().map(|attempt| i64::from(attempt.number)).collect();
    let verdicts: Vec<(bool, bool)> = sqlx::query_as(
        "select
            coalesce(a.runner_id = $1 and a.rank < 100, false),
            coalesce(j.cancel_requested_at is not null and (
                a.instance is null or now() > case
                    when a.state = 'finishing' then a.finishing_at + make_interval(secs => $5)
                    else j.cancel_requested_at + make_interval(secs => a.grace + $4)
                end
            ), false)
         from unnest($2::uuid[], $3::bigint[]) with ordinality as held (job_id, number, place)
         left join attempts a on a.job_id = held.job_id and a.number = held.number
         left join jobs j on j.id = a.job_id
         order by held.place",
    )
    .bind(runner.uuid())
    .bind(jobs)
    .bind(numbers)
    .bind(slack.as_secs_f64())
    .bind(finish.as_secs_f64())
    .fetch_all(system)
    .await?;
    Ok(verdicts.into_iter().map(Verdict::from).collect())
}

impl From<(bool, bool)> for Verdict {
    fn from((is_held, is_overdue): (bool, bool)) -> Self {
        match (is_held, is_overdue) {
            (false, _) => Self::Forget,
            (true, true) => Self::Stop,
            (true, false) => Self::Keep,
        }
    }
}

/// Whether the attempt is this runner's and not over; while it is queued: whether it can be nobody else's.
pub async fn is_held(system: &mut PgConnection, runner: RunnerId, attempt: AttemptId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (
             select from attempts
             where job_id = $1 and number = $2 and rank < 100 and case when rank = 0 then only_runner else runner_id end = $3
         )",
    )
    .bind(attempt.job.uuid())
    .bind(i64::from(attempt.number))
    .bind(runner.uuid())
    .fetch_one(system)
    .await
}
