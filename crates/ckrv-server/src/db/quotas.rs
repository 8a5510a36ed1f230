//! What organizations may use, and how much of it they do.

use ckrv_types::OrgId;
use ckrv_types::quota::{Measure, QuotaLimit};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;

/// What holds for an organization: its own limits, else its tier's. None: unlimited.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Limits {
    pub tier: String,
    pub weight: i32,
    pub concurrent_jobs: Option<i32>,
    pub open_jobs: Option<i32>,
    pub jobs_per_month: Option<i32>,
    pub minutes_per_month: Option<i32>,
    pub requests_per_minute: Option<i32>,
    pub members: Option<i32>,
    pub projects: Option<i32>,
    pub retention_days: Option<i32>,
    /// Those that jobs may name.
    pub classes: Option<Vec<String>>,
}

impl Limits {
    pub fn of(&self, measure: Measure) -> Option<u64> {
        let limit = match measure {
            Measure::ConcurrentJobs => self.concurrent_jobs,
            Measure::OpenJobs => self.open_jobs,
            Measure::JobsPerMonth => self.jobs_per_month,
            Measure::MinutesPerMonth => self.minutes_per_month,
            Measure::RequestsPerMinute => self.requests_per_minute,
            Measure::Members => self.members,
            Measure::Projects => self.projects,
        };
        // The database has none below 0.
        limit.and_then(|limit| u64::try_from(limit).ok())
    }
}

/// How much an organization uses at the moment and has used this month.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Standing {
    pub concurrent_jobs: i64,
    pub open_jobs: i64,
    pub jobs: i64,
    pub minutes: i64,
    /// When the month is over.
    pub month_end: OffsetDateTime,
}

/// Counts one more job of an organization that has limits; or says which of them it would go beyond, and then the transaction has
/// to be given up. Until its end no other job of the organization is accepted.
pub async fn count_job(tx: &mut PgConnection, org: OrgId) -> Result<Option<QuotaLimit>, sqlx::Error> {
    let refusal: Option<Json<QuotaLimit>> =
        sqlx::query_scalar("select count_limited_job($1)").bind(org.uuid()).fetch_one(tx).await?;
    Ok(refusal.map(|Json(standing)| standing))
}

pub async fn standing(tx: &mut PgConnection, org: OrgId) -> Result<Standing, sqlx::Error> {
    sqlx::query_as(
        "select (select count(*) from attempts where org_id = $1 and rank > 0 and rank < 100) as concurrent_jobs,
            open_jobs($1) as open_jobs, coalesce(sum(jobs), 0)::bigint as jobs, floor(coalesce(sum(seconds), 0) / 60)::bigint as minutes,
            usage_month_end(usage_month(now())) as month_end
         from usage_months where org_id = $1 and month = usage_month(now())",
    )
    .bind(org.uuid())
    .fetch_one(tx)
    .await
}

pub async fn limits(tx: &mut PgConnection, org: OrgId) -> Result<Limits, sqlx::Error> {
    sqlx::query_as(
        "select tier, weight, concurrent_jobs, open_jobs, jobs_per_month, minutes_per_month, requests_per_minute, members,
            projects, retention_days, classes
         from org_quotas where org_id = $1",
    )
    .bind(org.uuid())
    .fetch_one(tx)
    .await
}

/// People, and invitations that somebody may still accept.
pub async fn members(tx: &mut PgConnection, org: OrgId) -> Result<u64, sqlx::Error> {
    let count: i64 = sqlx::query_scalar(
        "select (select count(*) from members where org_id = $1)
            + (select count(*) from invitations
               where org_id = $1 and accepted_at is null and revoked_at is null and expires_at > now())",
    )
    .bind(org.uuid())
    .fetch_one(tx)
    .await?;
    decode::number("members", count)
}

/// Projects that are not archived.
pub async fn projects(tx: &mut PgConnection, org: OrgId) -> Result<u64, sqlx::Error> {
    let count: i64 = sqlx::query_scalar("select count(*) from projects where org_id = $1 and archived_at is null")
        .bind(org.uuid())
        .fetch_one(tx)
        .await?;
    decode::number("projects", count)
}
