//! Jobs: their rows, and the lock that serializes their changes.

use ckrv_types::job::JobResult;
use ckrv_types::{Attempt, Cause, Job, JobId, JobSpec, KeyId, OrgId, ProjectId, ServiceAccountId, State, UserId};
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use time::OffsetDateTime;

use super::handed_in::HandedIn;
use super::reach::Reach;
use super::{attempts, decode, idempotency};

#[derive(FromRow)]
struct JobRow {
    id: Uuid,
    org_id: Uuid,
    project_id: Uuid,
    spec: Json<JobSpec>,
    state: String,
    cause: Option<String>,
    message: Option<String>,
    attempt: i32,
    retry_of: Option<Uuid>,
    created_at: OffsetDateTime,
    cancel_requested_at: Option<OffsetDateTime>,
    finished_at: Option<OffsetDateTime>,
    result: Option<Json<JobResult>>,
}

/// `select` with the columns of [`JobRow`].
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "select id, org_id, project_id, spec, state, cause, message, attempt, retry_of, created_at, \
             cancel_requested_at, finished_at, result from jobs ",
            $rest
        )
    };
}

impl TryFrom<JobRow> for Job {
    type Error = sqlx::Error;

    fn try_from(row: JobRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: JobId::from_uuid(row.id),
            org: OrgId::from_uuid(row.org_id),
            project: ProjectId::from_uuid(row.project_id),
            spec: row.spec.0,
            state: decode::text("state", &row.state)?,
            cause: decode::optional("cause", row.cause.as_deref())?,
            message: row.message,
            attempt: decode::number("attempt", row.attempt)?,
            attempts: Vec::new(),
            retry_of: row.retry_of.map(JobId::from_uuid),
            created_at: row.created_at,
            cancel_requested_at: row.cancel_requested_at,
            finished_at: row.finished_at,
            result: row.result.map(|result| result.0),
        })
    }
}

/// A job with its attempts, if the caller may see it.
pub async fn get(tx: &mut PgConnection, id: JobId, reach: &Reach) -> Result<Option<Job>, sqlx::Error> {
    let row: Option<JobRow> =
        sqlx::query_as(select_jobs!("where id = $1 and (cardinality($2) = 0 or project_id = any($2))"))
            .bind(id.uuid())
            .bind(reach.uuids())
            .fetch_optional(&mut *tx)
            .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Job { attempts: attempts::of_job(tx, id).await?, ..Job::try_from(row)? }))
}

/// What a job is where its specification does not matter.
#[derive(Debug, Clone)]
pub struct JobHead {
    pub state: State,
    /// Number of the latest attempt.
    pub attempt: u32,
    pub cause: Option<Cause>,
    pub message: Option<String>,
    pub cancel_requested: bool,
    /// When retention removed its log and artifacts.
    pub purged_at: Option<OffsetDateTime>,
}

#[derive(FromRow)]
struct HeadRow {
    state: String,
    attempt: i32,
    cause: Option<String>,
    message: Option<String>,
    cancel_requested: bool,
    purged_at: Option<OffsetDateTime>,
}

impl TryFrom<HeadRow> for JobHead {
    type Error = sqlx::Error;

    fn try_from(row: HeadRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            state: decode::text("state", &row.state)?,
            attempt: decode::number("attempt", row.attempt)?,
            cause: decode::optional("cause", row.cause.as_deref())?,
            message: row.message,
            cancel_requested: row.cancel_requested,
            purged_at: row.purged_at,
        })
    }
}

macro_rules! select_heads {
    ($lock:literal) => {
        concat!(
            "select state, attempt, cause, message, cancel_requested_at is not null as cancel_requested, purged_at \
             from jobs where id = $1 and (cardinality($2) = 0 or project_id = any($2)) ",
            $lock
        )
    };
}

/// A job without its specification.
pub async fn head(tx: &mut PgConnection, id: JobId, reach: &Reach) -> Result<Option<JobHead>, sqlx::Error> {
    let query = sqlx::query_as::<_, HeadRow>(select_heads!(""));
    let row = query.bind(id.uuid()).bind(reach.uuids()).fetch_optional(tx).await?;
    row.map(JobHead::try_from).transpose()
}

/// The same, and until the transaction's end nobody else changes the job, its attempts' states or its events.
pub async fn lock(tx: &mut PgConnection, id: JobId, reach: &Reach) -> Result<Option<JobHead>, sqlx::Error> {
    let query = sqlx::query_as::<_, HeadRow>(select_heads!("for no key update"));
    let row = query.bind(id.uuid()).bind(reach.uuids()).fetch_optional(tx).await?;
    row.map(JobHead::try_from).transpose()
}

/// What a new job is made of.
#[derive(Debug)]
pub struct NewJob<'a> {
    pub id: JobId,
    pub org: OrgId,
    pub project: ProjectId,
    /// Who submitted it; none: a runner has handed it in.
    pub key: Option<KeyId>,
    /// The person, whose program or key it was; or the service account whose key.
    pub user: Option<UserId>,
    pub service_account: Option<ServiceAccountId>,
    pub spec: &'a JobSpec,
    /// The repository's URL as it was understood, for lists.
    pub repo: &'a str,
    pub retry_of: Option<JobId>,
    /// The runner that hands it in, and for what.
    pub handed_in: Option<HandedIn<'a>>,
    /// The time of the transaction that inserts it.
    pub created_at: OffsetDateTime,
    /// Whether the organization has limits, and the job has been counted for them already ([`super::quotas::count_job`]).
    pub limited: bool,
}

impl NewJob<'_> {
    /// As it is shown when it was accepted.
    pub fn job(&self) -> Job {
        Job {
            id: self.id,
            org: self.org,
            project: self.project,
            spec: self.spec.clone(),
            state: State::Queued,
            cause: None,
            message: None,
            attempt: 1,
            attempts: vec![Attempt::queued(1, self.created_at)],
            retry_of: self.retry_of,
            created_at: self.created_at,
            cancel_requested_at: None,
            finished_at: None,
            result: None,
        }
    }
}

/// Accepts a job with its first attempt, the end of its log, its first event and what counts of it; and keeps what is to be kept of the
/// request. A unique violation says that the same request, or the same object of a cluster, was there before.
///
/// One statement: nothing else is done as often, and each one more takes as long as inserting two rows. Later attempts are
/// `queue_attempt`'s, in the database, and are made of the same.
pub async fn submit(
    tx: &mut PgConnection,
    new: &NewJob<'_>,
    kept: Option<&idempotency::Kept<'_>>,
) -> Result<(), sqlx::Error> {
    let JobSpec { limits, retries, .. } = new.spec;
    let origin = new.handed_in.as_ref();
    let handed_in = origin.map(|handed| format!("handed in as {}/{}", handed.origin.namespace, handed.origin.name));
    sqlx::query(
        "with new as materialized (
            select $1::uuid as id, $2::uuid as org, $3::uuid as project, $4::uuid as key, $5::uuid as person,
                $6::uuid as service_account, $7::timestamptz as at, $8::uuid as runner, usage_month(now()) as month
        ), job as (
            insert into jobs (id, org_id, project_id, key_id, user_id, created_at, handed_by, spec, repo, labels, retry_of, origin)
            select id, org, project, key, person, at, runner, $9, $10, $11, $12, $13 from new
        ), attempt as (
            insert into attempts (
                job_id, number, org_id, project_id, queued_at, not_before, only_runner, priority, class,
                queue_limit, start_limit, run_limit, grace, max_attempts
            )
            select id, 1, org, project, at, at, runner, $14, $15, $16, $17, $18, $19, $20 from new
        ), log as (
            insert into log_heads (job_id, attempt, org_id) select id, 1, org from new
        ), event as (
            insert into job_events (org_id, job_id, attempt, kind, state, message)
            select org, id, 1, 'state', 'queued', left($21, 2000) from new
        ), usage as (
            insert into usage_events (
                org_id, month, job_id, attempt, project_id, key_id, user_id, service_account_id, jobs
            )
            select org, month, id, 0, project, key, person, service_account, 1 from new
        ), sum as (
            -- Where there is a limit it was counted before.
            insert into usage_months as u (org_id, month, part, jobs)
            select org, month, usage_part(), 1 from new where not $22
            on conflict (org_id, month, part) do update set jobs = u.jobs + excluded.jobs
        )
        insert into idempotency (org_id, principal, route, key, request_hash, body)
        select org, $23, $24, $25, $26, $27 from new where $25 is not null",
    )
    .bind(new.id.uuid())
    .bind(new.org.uuid())
    .bind(new.project.uuid())
    .bind(new.key.map(KeyId::uuid))
    .bind(new.user.map(UserId::uuid))
    .bind(new.service_account.map(ServiceAccountId::uuid))
    .bind(new.created_at)
    .bind(origin.map(|handed| handed.runner.uuid()))
    .bind(Json(new.spec))
    .bind(new.repo)
    .bind(Json(&new.spec.labels))
    .bind(new.retry_of.map(JobId::uuid))
    .bind(origin.map(Json))
    .bind(new.spec.priority)
    .bind(&new.spec.class)
    .bind(limits.queue.cast_signed())
    .bind(limits.start.cast_signed())
    .bind(limits.run.cast_signed())
    .bind(limits.grace.cast_signed())
    .bind(i64::from(retries.max_attempts))
    .bind(handed_in)
    .bind(new.limited)
    .bind(kept.map(|kept| kept.scope.principal))
    .bind(kept.map(|kept| kept.scope.route))
    .bind(kept.map(|kept| kept.scope.key))
    .bind(kept.map(|kept| kept.request_hash))
    .bind(kept.map(|kept| Json(kept.body)))
    .execute(tx)
    .await
    .map(drop)
}

/// Records that somebody asked to cancel, with its event; the first request counts.
pub async fn request_cancel(tx: &mut PgConnection, id: JobId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with asked as (
             update jobs set cancel_requested_at = clock_timestamp()
             where id = $1 and cancel_requested_at is null and rank < 100
             returning org_id, id, attempt, state
         )
         insert into job_events (org_id, job_id, attempt, kind, state)
         select org_id, id, attempt, 'cancel_requested', state from asked",
    )
    .bind(id.uuid())
    .execute(tx)
    .await?;
    Ok(())
}

/// Where the work stands that came back.
pub async fn set_result(tx: &mut PgConnection, id: JobId, result: &JobResult) -> Result<(), sqlx::Error> {
    sqlx::query("update jobs set result = $2 where id = $1").bind(id.uuid()).bind(Json(result)).execute(tx).await?;
    Ok(())
}

/// Which jobs to list, and from where.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only jobs older than this one.
    pub before: Option<JobId>,
    /// Any of these; empty: all.
    pub states: Vec<State>,
    /// All of these.
    pub labels: std::collections::BTreeMap<String, String>,
    pub repo: Option<String>,
    pub projects: Reach,
}

/// Jobs without their attempts, newest first.
pub async fn list(tx: &mut PgConnection, filter: &Filter, limit: i64) -> Result<Vec<Job>, sqlx::Error> {
    // Only the conditions that are asked for, so that each combination gets a plan of its own.
    let mut query = QueryBuilder::<Postgres>::new(select_jobs!("where true"));
    if let Some(before) = filter.before {
        query.push(" and id < ").push_bind(before.uuid());
    }
    if !filter.states.is_empty() {
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        query.push(" and state = any(").push_bind(states).push(")");
    }
    if !filter.labels.is_empty() {
        // The second says nothing new but to the planner: there is an index of the jobs that have any.
        query.push(" and labels @> ").push_bind(Json(&filter.labels)).push(" and labels <> '{}'");
    }
    if let Some(repo) = &filter.repo {
        query.push(" and repo = ").push_bind(repo);
    }
    match filter.projects.projects() {
        [] => {}
        // The index has the jobs of one project in the list's order, and of several not.
        [one] => drop(query.push(" and project_id = ").push_bind(one.uuid())),
        _ => drop(query.push(" and project_id = any(").push_bind(filter.projects.uuids()).push(")")),
    }
    query.push(" order by id desc limit ").push_bind(limit);
    let rows: Vec<JobRow> = query.build_query_as().fetch_all(tx).await?;
    rows.into_iter().map(Job::try_from).collect()
}
