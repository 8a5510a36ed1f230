//! Sealed logs on their way to the object store.

use ckrv_types::{AttemptId, JobId};
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;
use crate::logs::archive::index::Archive;

/// A sealed log that is still in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub attempt: AttemptId,
    /// The last line that was kept; 0: none.
    pub kept: u64,
    since: OffsetDateTime,
}

#[derive(FromRow)]
struct SealedRow {
    job_id: Uuid,
    attempt: i32,
    kept: i64,
    sealed_at: OffsetDateTime,
}

/// The oldest one, or the oldest behind another.
pub async fn next_sealed(tx: &mut PgConnection, behind: Option<Sealed>) -> Result<Option<Sealed>, sqlx::Error> {
    let row: Option<SealedRow> = sqlx::query_as(
        "select job_id, attempt, coalesce(gap_first, next_seq) - 1 as kept, sealed_at from log_heads
         where sealed_at is not null and archived_at is null
           and ($1::timestamptz is null or (sealed_at, job_id, attempt) > ($1, $2, $3))
         order by sealed_at, job_id, attempt limit 1",
    )
    .bind(behind.as_ref().map(|sealed| sealed.since))
    .bind(behind.as_ref().map(|sealed| sealed.attempt.job.uuid()))
    .bind(behind.as_ref().map(|sealed| sealed.attempt.number.cast_signed()))
    .fetch_optional(tx)
    .await?;
    row.map(|row| {
        Ok(Sealed {
            attempt: AttemptId { job: JobId::from_uuid(row.job_id), number: decode::number("attempt", row.attempt)? },
            kept: decode::number("kept", row.kept)?,
            since: row.sealed_at,
        })
    })
    .transpose()
}

/// Records where the log lies now (`None`: it has no line) and deletes its chunks; nothing, if that was done before.
pub async fn record(tx: &mut PgConnection, attempt: AttemptId, archive: Option<&Archive>) -> Result<(), sqlx::Error> {
    let done = sqlx::query(
        "update log_heads set archive = $3, archived_at = now()
         where job_id = $1 and attempt = $2 and sealed_at is not null and archived_at is null",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(archive.map(Json))
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 1 {
        sqlx::query("delete from log_chunks where job_id = $1 and attempt = $2")
            .bind(attempt.job.uuid())
            .bind(attempt.number.cast_signed())
            .execute(tx)
            .await?;
    }
    Ok(())
}
