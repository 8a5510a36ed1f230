//! Attempts as they are read, and what a worker writes besides its state.

use ckrv_types::attempt::{Seal, SealedLog};
use ckrv_types::usage::Usage;
use ckrv_types::{Attempt, AttemptId, Cause, JobId, RunnerId, State};
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;

#[derive(FromRow)]
struct AttemptRow {
    number: i32,
    state: String,
    cause: Option<String>,
    message: Option<String>,
    exit_code: Option<i32>,
    runner_id: Option<Uuid>,
    node: Option<String>,
    queued_at: OffsetDateTime,
    not_before: OffsetDateTime,
    assigned_at: Option<OffsetDateTime>,
    starting_at: Option<OffsetDateTime>,
    running_at: Option<OffsetDateTime>,
    finishing_at: Option<OffsetDateTime>,
    finished_at: Option<OffsetDateTime>,
    usage: Option<Json<Usage>>,
    sealed_seq: Option<i64>,
    seal: Option<String>,
}

impl TryFrom<AttemptRow> for Attempt {
    type Error = sqlx::Error;

    fn try_from(row: AttemptRow) -> Result<Self, sqlx::Error> {
        let log = match (row.sealed_seq, row.seal.as_deref()) {
            (Some(seq), Some(seal)) => Some(SealedLog {
                last_seq: decode::number("sealed_seq", seq)?,
                seal: if seal == "complete" { Seal::Complete } else { Seal::Truncated },
            }),
            _ => None,
        };
        Ok(Self {
            number: decode::number("number", row.number)?,
            state: decode::text("state", &row.state)?,
            cause: decode::optional("cause", row.cause.as_deref())?,
            message: row.message,
            exit_code: row.exit_code,
            runner: row.runner_id.map(RunnerId::from_uuid),
            node: row.node,
            queued_at: row.queued_at,
            not_before: Some(row.not_before).filter(|time| *time > row.queued_at),
            assigned_at: row.assigned_at,
            starting_at: row.starting_at,
            running_at: row.running_at,
            finishing_at: row.finishing_at,
            finished_at: row.finished_at,
            log,
            usage: row.usage.map(|usage| usage.0),
        })
    }
}

/// All attempts of a job, in order.
pub async fn of_job(tx: &mut PgConnection, job: JobId) -> Result<Vec<Attempt>, sqlx::Error> {
    let rows: Vec<AttemptRow> = sqlx::query_as(
        "select a.number, a.state, a.cause, a.message, a.exit_code, a.runner_id, a.node, a.queued_at, a.not_before,
            a.assigned_at, a.starting_at, a.running_at, a.finishing_at, a.finished_at, a.usage, h.sealed_seq, h.seal
         from attempts a left join log_heads h on h.job_id = a.job_id and h.attempt = a.number
         where a.job_id = $1 order by a.number",
    )
    .bind(job.uuid())
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(Attempt::try_from).collect()
}

/// Where an attempt stands, for its worker's routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    /// The worker that holds it.
    pub instance: Option<String>,
    pub cancel_requested: bool,
    /// What its runner has seen of it.
    pub noted: Option<Cause>,
    pub noted_message: Option<String>,
    /// The number that the log's next line must have.
    pub next_seq: u64,
    /// The log's last line, once it is sealed.
    pub sealed_seq: Option<u64>,
}

#[derive(FromRow)]
struct StandingRow {
    state: String,
    instance: Option<String>,
    cancel_requested: bool,
    noted: Option<String>,
    noted_message: Option<String>,
    next_seq: i64,
    sealed_seq: Option<i64>,
}

/// `None`: there is no such attempt (any more).
pub async fn standing(tx: &mut PgConnection, attempt: AttemptId) -> Result<Option<Standing>, sqlx::Error> {
    let row: Option<StandingRow> = sqlx::query_as(
        "select a.state, a.instance, a.noted, a.noted_message, j.cancel_requested_at is not null as cancel_requested, h.next_seq, h.sealed_seq
         from attempts a
         join jobs j on j.id = a.job_id
         join log_heads h on h.job_id = a.job_id and h.attempt = a.number
         where a.job_id = $1 and a.number = $2",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .fetch_optional(tx)
    .await?;
    row.map(|row| {
        Ok(Standing {
            state: decode::text("state", &row.state)?,
            instance: row.instance,
            cancel_requested: row.cancel_requested,
            noted: decode::optional("noted", row.noted.as_deref())?,
            noted_message: row.noted_message,
            next_seq: decode::number("next_seq", row.next_seq)?,
            sealed_seq: row.sealed_seq.map(|seq| decode::number("sealed_seq", seq)).transpose()?,
        })
    })
    .transpose()
}

/// Keeps the attempt from ending before the transaction does. Lock it before its artifacts.
pub async fn hold(tx: &mut PgConnection, attempt: AttemptId) -> Result<(), sqlx::Error> {
    sqlx::query("select from attempts where job_id = $1 and number = $2 for share")
        .bind(attempt.job.uuid())
        .bind(attempt.number.cast_signed())
        .execute(tx)
        .await?;
    Ok(())
}

/// Binds the attempt to the worker's instance, and counts that as its first beat.
pub async fn bind(
    tx: &mut PgConnection,
    attempt: AttemptId,
    instance: &str,
    node: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update attempts set instance = $3, node = coalesce($4, node), beat_at = clock_timestamp()
         where job_id = $1 and number = $2",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(instance)
    .bind(node)
    .execute(tx)
    .await?;
    Ok(())
}

/// The worker is alive; what its agent has used so far.
pub async fn beat(tx: &mut PgConnection, attempt: AttemptId, usage: Option<&Usage>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update attempts set beat_at = clock_timestamp(), usage = coalesce($3, usage)
         where job_id = $1 and number = $2 and rank < 100",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(usage.map(Json))
    .execute(tx)
    .await?;
    Ok(())
}

/// Where its worker runs, as the runner sees it; whether that is news.
pub async fn place(tx: &mut PgConnection, attempt: AttemptId, node: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update attempts set node = $3 where job_id = $1 and number = $2 and rank < 100 and node is distinct from $3",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(node)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What is wrong with it now, as the runner sees it, or nothing; whether that is news.
pub async fn note_cause(
    tx: &mut PgConnection,
    attempt: AttemptId,
    cause: Option<Cause>,
    message: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update attempts set noted = $3, noted_message = $4 where job_id = $1 and number = $2 and rank < 100
            and (noted, noted_message) is distinct from ($3, $4)",
    )
    .bind(attempt.job.uuid())
    .bind(attempt.number.cast_signed())
    .bind(cause.map(Cause::as_str))
    .bind(message.filter(|_| cause.is_some()))
    .execute(tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What its runner has seen to be wrong with it.
pub async fn noted_cause(tx: &mut PgConnection, attempt: AttemptId) -> Result<Option<Cause>, sqlx::Error> {
    let noted: Option<Option<String>> =
        sqlx::query_scalar("select noted from attempts where job_id = $1 and number = $2")
            .bind(attempt.job.uuid())
            .bind(attempt.number.cast_signed())
            .fetch_optional(tx)
            .await?;
    decode::optional("noted", noted.flatten().as_deref())
}
