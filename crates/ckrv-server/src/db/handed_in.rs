//! Jobs that a runner has handed in for objects of its cluster.

use ckrv_types::job::JobResult;
use ckrv_types::runner::{JobStanding, Origin};
use ckrv_types::{JobId, OrgId, RunnerId};
use serde::Serialize;
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;

/// Who hands a job in, and for what; without the runner this is what is kept as the job's origin.
#[derive(Debug, Serialize)]
pub struct HandedIn<'a> {
    #[serde(skip)]
    pub runner: RunnerId,
    /// What the runner is bound to: UIDs are the cluster's.
    pub instance: &'a str,
    #[serde(flatten)]
    pub origin: &'a Origin,
}

#[derive(FromRow)]
struct StandingRow {
    id: Uuid,
    state: String,
    cause: Option<String>,
    message: Option<String>,
    attempt: i32,
    exit_code: Option<i32>,
    result: Option<Json<JobResult>>,
    finished_at: Option<OffsetDateTime>,
}

/// `select` with the columns of [`StandingRow`].
macro_rules! select_standings {
    ($rest:literal) => {
        concat!(
            "select j.id, j.state, j.cause, j.message, j.attempt, a.exit_code, j.result, j.finished_at \
             from jobs j join attempts a on a.job_id = j.id and a.number = j.attempt ",
            $rest
        )
    };
}

impl TryFrom<StandingRow> for JobStanding {
    type Error = sqlx::Error;

    fn try_from(row: StandingRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            job: JobId::from_uuid(row.id),
            state: decode::text("state", &row.state)?,
            cause: decode::optional("cause", row.cause.as_deref())?,
            message: row.message,
            attempt: decode::number("attempt", row.attempt)?,
            exit_code: row.exit_code,
            result: row.result.map(|result| result.0),
            finished_at: row.finished_at,
        })
    }
}

/// The job that was made for this object, if there is one.
pub async fn of_origin(
    tx: &mut PgConnection,
    org: OrgId,
    instance: &str,
    uid: &str,
) -> Result<Option<JobStanding>, sqlx::Error> {
    let query = sqlx::query_as::<_, StandingRow>(select_standings!(
        "where j.org_id = $1 and j.origin ->> 'instance' = $2 and j.origin ->> 'uid' = $3 and j.origin is not null"
    ));
    let row = query.bind(org.uuid()).bind(instance).bind(uid).fetch_optional(tx).await?;
    row.map(JobStanding::try_from).transpose()
}

/// Those of `jobs` that this runner has handed in.
pub async fn standings(
    tx: &mut PgConnection,
    runner: RunnerId,
    jobs: &[JobId],
) -> Result<Vec<JobStanding>, sqlx::Error> {
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.uuid()).collect();
    let query = sqlx::query_as::<_, StandingRow>(select_standings!("where j.id = any ($1) and j.handed_by = $2"));
    let rows = query.bind(ids).bind(runner.uuid()).fetch_all(tx).await?;
    rows.into_iter().map(JobStanding::try_from).collect()
}

/// Jobs that revoked runners of the same organization and instance have handed in are `runner`'s from now on: the cluster
/// has a new token, and the same objects.
pub async fn take_over(system: &mut PgConnection, runner: RunnerId, instance: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with taken as (
             update jobs j set handed_by = $1
             from runners old, runners new
             where new.id = $1 and old.org_id = new.org_id and old.revoked_at is not null
               and j.handed_by = old.id and j.origin ->> 'instance' = $2
             returning j.id
         )
         update attempts a set only_runner = $1 from taken where a.job_id = taken.id and a.rank = 0",
    )
    .bind(runner.uuid())
    .bind(instance)
    .execute(system)
    .await?;
    Ok(())
}
