//! Where a queued attempt stands among its organization's.

use ckrv_types::AttemptId;
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

/// A queued attempt's place.
#[derive(Debug, FromRow)]
pub struct Place {
    /// Attempts of the organization that go first.
    pub before: i64,
    /// The organization's attempts that are given out or running, and how many may be; none: any number.
    pub running: i64,
    pub concurrency: Option<i32>,
    /// The same of its project.
    pub project: String,
    pub project_running: i64,
    pub project_concurrency: Option<i32>,
    pub class: Option<String>,
    /// Nobody else may be given it.
    pub only_runner: Option<Uuid>,
    /// It is not given out before this time.
    pub not_before: OffsetDateTime,
    /// Whether that time is still to come.
    pub held_back: bool,
    /// When it ends if nobody takes it.
    pub times_out_at: OffsetDateTime,
}

/// `None`: it is not queued (any more).
pub async fn place(tx: &mut PgConnection, attempt: AttemptId) -> Result<Option<Place>, sqlx::Error> {
    sqlx::query_as(
        "select
            (select count(*) from attempts b
             where b.org_id = a.org_id and b.state = 'queued' and (
                 b.priority > a.priority
                 or (b.priority = a.priority and (b.queued_at, b.job_id) < (a.queued_at, a.job_id))
             )) as before,
            (select count(*) from attempts r where r.org_id = a.org_id and r.rank > 0 and r.rank < 100) as running,
            q.concurrent_jobs as concurrency, p.name as project,
            (select count(*) from attempts r
             where r.org_id = a.org_id and r.project_id = a.project_id and r.rank > 0 and r.rank < 100) as project_running,
            (p.settings ->> 'concurrency')::int as project_concurrency,
            a.class, a.only_runner, a.not_before, a.not_before > now() as held_back,
            greatest(a.queued_at, a.not_before) + make_interval(secs => a.queue_limit) as times_out_at
         from attempts a
         join org_quotas q on q.org_id = a.org_id
         join projects p on p.id = a.project_id
         where a.job_id = $1 and a.number = $2 and a.state = 'queued'",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .fetch_optional(tx)
    .await
}
