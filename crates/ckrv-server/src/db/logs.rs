//! Logs: the head of each attempt's log, its chunks, and where it lies once archived.

use ckrv_types::{AttemptId, Cause, JobId, OrgId, State};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;
use super::reach::Reach;
use crate::logs::archive::index::Archive;
use crate::logs::batch::Chunk;

/// First and last of the lines that were counted and not kept. Empty (last before first) when the limit has just been
/// reached.
pub type Counted = (u64, u64);

/// The end of a log, as an append finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub next_seq: u64,
    /// Uncompressed bytes kept of all the job's attempts.
    pub job_bytes: u64,
    pub gap: Option<Counted>,
    pub sealed_seq: Option<u64>,
}

/// The end of a log, as an append leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEnd {
    pub next_seq: u64,
    pub gap: Option<Counted>,
}

#[derive(FromRow)]
struct HeadRow {
    next_seq: i64,
    job_bytes: i64,
    gap_first: Option<i64>,
    gap_last: Option<i64>,
    sealed_seq: Option<i64>,
}

/// Locks the log's end until the transaction's. `None`: there is no such attempt.
pub async fn lock_head(tx: &mut PgConnection, attempt: AttemptId) -> Result<Option<Head>, sqlx::Error> {
    let row: Option<HeadRow> = sqlx::query_as(
        "select next_seq, gap_first, gap_last, sealed_seq,
            (select sum(o.bytes)::int8 from log_heads o where o.job_id = h.job_id) as job_bytes
         from log_heads h where job_id = $1 and attempt = $2 for update of h",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .fetch_optional(tx)
    .await?;
    row.map(|row| {
        Ok(Head {
            next_seq: decode::number("next_seq", row.next_seq)?,
            job_bytes: decode::number("job_bytes", row.job_bytes)?,
            gap: counted(row.gap_first, row.gap_last)?,
            sealed_seq: optional("sealed_seq", row.sealed_seq)?,
        })
    })
    .transpose()
}

/// Moves the end of a log whose head is locked, and stores the lines that are kept.
pub async fn append(
    tx: &mut PgConnection,
    org: OrgId,
    attempt: AttemptId,
    chunk: Option<&Chunk>,
    end: NewEnd,
) -> Result<(), sqlx::Error> {
    if let Some(chunk) = chunk {
        sqlx::query(
            "insert into log_chunks (job_id, attempt, org_id, first_seq, count, bytes, last_ts, frame)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(attempt.job.uuid())
        .bind(attempt.number.cast_signed())
        .bind(org.uuid())
        .bind(chunk.first_seq.cast_signed())
        .bind(chunk.count.cast_signed())
        .bind(chunk.bytes.cast_signed())
        .bind(chunk.last_ts)
        .bind(&chunk.frame[..])
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query(
        "update log_heads set next_seq = $3, bytes = bytes + $4, gap_first = $5, gap_last = $6
         where job_id = $1 and attempt = $2",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(end.next_seq.cast_signed())
    .bind(chunk.map_or(0, |chunk| i64::from(chunk.bytes)))
    .bind(end.gap.map(|(first, _)| first.cast_signed()))
    .bind(end.gap.map(|(_, last)| last.cast_signed()))
    .execute(tx)
    .await?;
    Ok(())
}

/// What a reader of one attempt's log must know of it and of its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub job: Standing,
    /// Number of the job's latest attempt.
    pub latest: u32,
    /// Log and artifacts were removed by retention.
    pub purged: bool,
    /// `None`: the job has no such attempt (yet).
    pub attempt: Option<AttemptView>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptView {
    pub standing: Standing,
    /// The last line that was kept; 0: none.
    pub kept: u64,
    pub gap: Option<Counted>,
    pub sealed_seq: Option<u64>,
    pub archived: bool,
}

/// State and reason, of a job or an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    pub cause: Option<Cause>,
    pub message: Option<String>,
    /// Since when.
    pub at: OffsetDateTime,
}

#[derive(FromRow)]
struct ViewRow {
    job_state: String,
    job_cause: Option<String>,
    job_message: Option<String>,
    job_at: OffsetDateTime,
    latest: i32,
    purged: bool,
    state: Option<String>,
    cause: Option<String>,
    message: Option<String>,
    at: Option<OffsetDateTime>,
    next_seq: Option<i64>,
    gap_first: Option<i64>,
    gap_last: Option<i64>,
    sealed_seq: Option<i64>,
    archived: bool,
}

/// Looks at a job and one of its attempts. `None`: no such job, or none that the caller may see.
pub async fn view(tx: &mut PgConnection, job: JobId, attempt: u32, reach: &Reach) -> Result<Option<View>, sqlx::Error> {
    let row: Option<ViewRow> = sqlx::query_as(
        "select j.state as job_state, j.cause as job_cause, j.message as job_message,
            coalesce(j.finished_at, j.created_at) as job_at, j.attempt as latest, j.purged_at is not null as purged,
            a.state, a.cause, a.message,
            greatest(a.queued_at, a.assigned_at, a.starting_at, a.running_at, a.finishing_at, a.finished_at) as at,
            h.next_seq, h.gap_first, h.gap_last, h.sealed_seq, h.archived_at is not null as archived
         from jobs j
         left join attempts a on a.job_id = j.id and a.number = $2
         left join log_heads h on h.job_id = j.id and h.attempt = $2
         where j.id = $1 and (cardinality($3) = 0 or j.project_id = any($3))",
    )
    .bind(job.uuid())
    .bind(attempt.cast_signed())
    .bind(reach.uuids())
    .fetch_optional(tx)
    .await?;
    row.map(View::try_from).transpose()
}

impl TryFrom<ViewRow> for View {
    type Error = sqlx::Error;

    fn try_from(row: ViewRow) -> Result<Self, sqlx::Error> {
        let attempt = match (row.state, row.at, row.next_seq) {
            (Some(state), Some(at), Some(next_seq)) => {
                let gap = counted(row.gap_first, row.gap_last)?;
                let next_seq: u64 = decode::number("next_seq", next_seq)?;
                Some(AttemptView {
                    standing: standing(&state, row.cause.as_deref(), row.message, at)?,
                    kept: gap.map_or(next_seq, |(first, _)| first) - 1,
                    gap: gap.filter(|(first, last)| first <= last),
                    sealed_seq: optional("sealed_seq", row.sealed_seq)?,
                    archived: row.archived,
                })
            }
            _ => None,
        };
        Ok(Self {
            job: standing(&row.job_state, row.job_cause.as_deref(), row.job_message, row.job_at)?,
            latest: decode::number("attempt", row.latest)?,
            purged: row.purged,
            attempt,
        })
    }
}

fn standing(
    state: &str,
    cause: Option<&str>,
    message: Option<String>,
    at: OffsetDateTime,
) -> Result<Standing, sqlx::Error> {
    let (state, cause) = (decode::text("state", state)?, decode::optional("cause", cause)?);
    Ok(Standing { state, cause, message, at })
}

/// Whether nothing is known to be missing at the end of any log of the job (or of the one attempt).
pub async fn is_complete(tx: &mut PgConnection, job: JobId, attempt: Option<u32>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select coalesce(bool_and(seal = 'complete'), true) from log_heads
         where job_id = $1 and ($2::int is null or attempt = $2)",
    )
    .bind(job.uuid())
    .bind(attempt.map(u32::cast_signed))
    .fetch_one(tx)
    .await
}

/// The job's attempts with the last line kept of each, the latest first.
pub async fn kept_lines(tx: &mut PgConnection, job: JobId) -> Result<Vec<(u32, u64)>, sqlx::Error> {
    let rows: Vec<(i32, i64)> = sqlx::query_as(
        "select attempt, coalesce(gap_first, next_seq) - 1 from log_heads where job_id = $1 order by attempt desc",
    )
    .bind(job.uuid())
    .fetch_all(tx)
    .await?;
    rows.into_iter()
        .map(|(attempt, kept)| Ok((decode::number("attempt", attempt)?, decode::number("kept", kept)?)))
        .collect()
}

/// A stored chunk as a reader wants it.
#[derive(Debug, FromRow)]
pub struct StoredFrame {
    pub first_seq: i64,
    pub count: i32,
    pub bytes: i32,
    pub last_ts: OffsetDateTime,
    pub frame: Vec<u8>,
}

/// Chunks from the one that holds line `from` on, in order, as many as have `budget` bytes uncompressed together (at
/// least one). `since`: leaves out chunks of which every line is older.
pub async fn frames(
    tx: &mut PgConnection,
    attempt: AttemptId,
    from: u64,
    since: Option<OffsetDateTime>,
    budget: i64,
) -> Result<Vec<StoredFrame>, sqlx::Error> {
    sqlx::query_as(
        "select first_seq, count, bytes, last_ts, frame from (
             select first_seq, count, bytes, last_ts, frame, sum(bytes) over (order by first_seq) - bytes as before
             from (
                 select first_seq, count, bytes, last_ts, frame from log_chunks
                 where job_id = $1 and attempt = $2 and first_seq > $3 - $4 and first_seq + count > $3
                   and ($5::timestamptz is null or last_ts >= $5)
                 order by first_seq limit 256
             ) nearest
         ) counted where before < $6 order by first_seq",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(from.cast_signed())
    // No chunk has more lines than a batch.
    .bind(i64::try_from(ckrv_types::limits::BATCH_LINES).unwrap_or(i64::MAX))
    .bind(since)
    .bind(budget)
    .fetch_all(tx)
    .await
}

/// The index of an archived log; `None`: it has no line, or is not archived.
pub async fn archive(tx: &mut PgConnection, attempt: AttemptId) -> Result<Option<Archive>, sqlx::Error> {
    let found: Option<Option<Json<Archive>>> =
        sqlx::query_scalar("select archive from log_heads where job_id = $1 and attempt = $2")
            .bind(attempt.job.uuid())
            .bind(attempt.number.cast_signed())
            .fetch_optional(tx)
            .await?;
    Ok(found.flatten().map(|archive| archive.0))
}

fn counted(first: Option<i64>, last: Option<i64>) -> Result<Option<Counted>, sqlx::Error> {
    match (first, last) {
        (Some(first), Some(last)) => Ok(Some((decode::number("gap_first", first)?, decode::number("gap_last", last)?))),
        _ => Ok(None),
    }
}

fn optional(column: &str, value: Option<i64>) -> Result<Option<u64>, sqlx::Error> {
    value.map(|value| decode::number(column, value)).transpose()
}
