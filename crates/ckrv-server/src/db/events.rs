//! What happened to a job, in order. Changes of state write their own events (`transition()`); here are the others.
//!
//! Ids rise within a job in the order of commit, because whoever writes one holds the job's row.

use ckrv_types::job::{EventKind, JobEvent};
use ckrv_types::{AttemptId, Cause, JobId, State};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;

#[derive(FromRow)]
struct EventRow {
    id: i64,
    attempt: i32,
    kind: String,
    state: String,
    cause: Option<String>,
    message: Option<String>,
    at: OffsetDateTime,
}

impl TryFrom<EventRow> for JobEvent {
    type Error = sqlx::Error;

    fn try_from(row: EventRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            attempt: decode::number("attempt", row.attempt)?,
            kind: match row.kind.as_str() {
                "cancel_requested" => EventKind::CancelRequested,
                "retry" => EventKind::Retry,
                "note" => EventKind::Note,
                _ => EventKind::State,
            },
            state: decode::text::<State>("state", &row.state)?,
            cause: decode::optional::<Cause>("cause", row.cause.as_deref())?,
            message: row.message,
            at: row.at,
        })
    }
}

/// The job's events behind `after` (0: from the first), at most `limit`.
pub async fn after(tx: &mut PgConnection, job: JobId, after: i64, limit: i64) -> Result<Vec<JobEvent>, sqlx::Error> {
    let rows: Vec<EventRow> = sqlx::query_as(
        "select id, attempt, kind, state, cause, message, at from job_events
         where job_id = $1 and id > $2 order by id limit $3",
    )
    .bind(job.uuid())
    .bind(after)
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(JobEvent::try_from).collect()
}

/// The latest notes of the runner on an attempt, newest first.
pub async fn notes(tx: &mut PgConnection, attempt: AttemptId, limit: i64) -> Result<Vec<JobEvent>, sqlx::Error> {
    let rows: Vec<EventRow> = sqlx::query_as(
        "select id, attempt, kind, state, cause, message, at from job_events
         where job_id = $1 and attempt = $2 and kind = 'note' order by id desc limit $3",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(limit)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(JobEvent::try_from).collect()
}

/// Notes what a runner sees of an attempt, unless that is what it said last. Needs the job's row to be locked.
pub async fn note(tx: &mut PgConnection, attempt: AttemptId, message: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into job_events (org_id, job_id, attempt, kind, state, message)
         select a.org_id, a.job_id, a.number, 'note', a.state, $3
         from attempts a
         where a.job_id = $1 and a.number = $2 and $3 is distinct from (
             select e.message from job_events e
             where e.job_id = $1 and e.attempt = $2 and e.kind = 'note' order by e.id desc limit 1
         )",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(message)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
