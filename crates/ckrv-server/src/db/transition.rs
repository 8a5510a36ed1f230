//! The one way to change an attempt's state: the database's `transition()`, which holds to the order of states and lets the
//! first terminal one win.

use ckrv_types::{AttemptId, Cause, JobId, RunnerId, State};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};

use super::{artifacts, decode};
use crate::wake::Wake;

/// What somebody wants an attempt to become.
#[derive(Debug, Clone, Copy)]
pub struct Transition<'a> {
    pub attempt: AttemptId,
    pub state: State,
    pub cause: Option<Cause>,
    /// For the user; cut at [`ckrv_types::limits::MESSAGE_CHARS`].
    pub message: Option<&'a str>,
    pub exit_code: Option<i32>,
    /// The last line that the worker made; none when the worker is gone.
    pub last_seq: Option<u64>,
    /// Whether a cause that is not retried by itself is worth another attempt here.
    pub retry: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// False: the attempt was as far already, or over; nothing was changed.
    pub applied: bool,
    /// The attempt's state now.
    pub state: State,
    /// A further attempt was queued.
    pub retried: bool,
    /// The log's last line, once it is sealed.
    pub sealed_seq: Option<u64>,
    pub runner: Option<RunnerId>,
}

#[derive(FromRow)]
struct MovedRow {
    applied: bool,
    attempt_state: String,
    retried: bool,
    sealed: Option<i64>,
    runner: Option<Uuid>,
}

impl<'a> Transition<'a> {
    /// Onward along the path.
    pub fn to(attempt: AttemptId, state: State) -> Self {
        Self { attempt, state, cause: None, message: None, exit_code: None, last_seq: None, retry: false }
    }

    /// The end, for `cause`, in the state that it leads to. Retried when the cause is.
    pub fn end(attempt: AttemptId, cause: Cause, message: Option<&'a str>) -> Self {
        Self { cause: Some(cause), message, retry: cause.is_retried(), ..Self::to(attempt, cause.state()) }
    }

    /// The same, where the job may ask for another attempt after a cause that is not retried by itself.
    pub async fn end_of_job(
        tx: &mut PgConnection,
        attempt: AttemptId,
        cause: Cause,
        message: Option<&'a str>,
    ) -> Result<Self, sqlx::Error> {
        let end = Self::end(attempt, cause, message);
        if cause != Cause::AgentOom {
            return Ok(end);
        }
        let retry: Option<bool> = sqlx::query_scalar("select (spec #>> '{retries,oom}')::bool from jobs where id = $1")
            .bind(attempt.job.uuid())
            .fetch_optional(tx)
            .await?;
        Ok(Self { retry: retry.unwrap_or_default(), ..end })
    }

    /// `None`: there is no such attempt. Locks the job's row; call it before locking anything else of the job. With the end
    /// every artifact has its outcome.
    pub async fn apply(&self, tx: &mut PgConnection) -> Result<Option<Moved>, sqlx::Error> {
        let row: Option<MovedRow> = sqlx::query_as(
            "select applied, attempt_state, retried, sealed, runner from transition($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(self.attempt.job.uuid())
        .bind(self.attempt.number.cast_signed())
        .bind(self.state.as_str())
        .bind(self.state.rank())
        .bind(self.cause.map(Cause::as_str))
        .bind(self.message)
        .bind(self.exit_code)
        .bind(self.retry)
        .bind(self.last_seq.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX)))
        .fetch_optional(&mut *tx)
        .await?;
        let moved = row.map(Moved::try_from).transpose()?;
        if moved.is_some_and(|moved| moved.applied && moved.state.is_terminal()) {
            artifacts::settle(tx, self.attempt).await?;
        }
        Ok(moved)
    }
}

impl TryFrom<MovedRow> for Moved {
    type Error = sqlx::Error;

    fn try_from(row: MovedRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            applied: row.applied,
            state: decode::text("state", &row.attempt_state)?,
            retried: row.retried,
            sealed_seq: row.sealed.map(|seq| decode::number("sealed", seq)).transpose()?,
            runner: row.runner.map(RunnerId::from_uuid),
        })
    }
}

impl Moved {
    /// Wakes those whom the change concerns. After the commit.
    pub fn announce(&self, job: JobId, wake: &Wake) {
        if !self.applied {
            return;
        }
        wake.notify_job(job);
        if self.state.is_terminal() {
            wake.notify_admission();
            if let Some(runner) = self.runner {
                wake.notify_runner(runner);
            }
        }
    }
}
