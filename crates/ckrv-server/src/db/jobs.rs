//! Jobs: their rows, and the lock that serializes their changes.

use ckrv_types::job::JobResult;
use ckrv_types::{Attempt, Cause, Job, JobId, JobSpec, KeyId, OrgId, ProjectId, ServiceAccountId, State, UserId};
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use time::OffsetDateTime;

use super::handed_in::HandedIn;
use super::quotas::Refusal;
use super::reach::Reach;
use super::{attempts, decode};

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
}

/// Accepts a job with its first attempt, and shows it; or says why not, and then the transaction has to be given up.
pub async fn submit(tx: &mut PgConnection, job: &NewJob<'_>) -> Result<Result<Job, Refusal>, sqlx::Error> {
    let query =
        sqlx::query_as("select created_at, refusal from accept_job($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
    let (created_at, refusal): (OffsetDateTime, Option<Json<Refusal>>) = query
        .bind(job.id.uuid())
        .bind(job.org.uuid())
        .bind(job.project.uuid())
        .bind(job.key.map(KeyId::uuid))
        .bind(job.user.map(UserId::uuid))
        .bind(job.service_account.map(ServiceAccountId::uuid))
        .bind(Json(job.spec))
        .bind(job.repo)
        .bind(job.retry_of.map(JobId::uuid))
        .bind(job.handed_in.as_ref().map(|handed| handed.runner.uuid()))
        .bind(job.handed_in.as_ref().map(Json))
        .fetch_one(tx)
        .await?;
    if let Some(Json(refusal)) = refusal {
        return Ok(Err(refusal));
    }
    Ok(Ok(Job {
        id: job.id,
        org: job.org,
        project: job.project,
        spec: job.spec.clone(),
        state: State::Queued,
        cause: None,
        message: None,
        attempt: 1,
        attempts: vec![Attempt::queued(1, created_at)],
        retry_of: job.retry_of,
        created_at,
        cancel_requested_at: None,
        finished_at: None,
        result: None,
    }))
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
