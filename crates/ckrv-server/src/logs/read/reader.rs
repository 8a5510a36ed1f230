//! One stream: looks, sends what is new, waits, and so on until the job is over.
//!
//! Holds no transaction and no more than one fetch of lines while it sends, however slowly they are taken. An outage of the
//! database or the object store is sat out: the reader keeps its connection.

use std::time::Duration;

use bytes::Bytes;
use ckrv_types::log::{Cursor, End, Status};
use ckrv_types::{JobId, Problem, ProblemCode, State, limits};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::format::{Format, HEARTBEAT, PREAMBLE};
use super::lines::Lines;
use super::plan::{self, Next};
use super::query::Request;
use super::store::{Look, Store};
use crate::auth::Lasting;
use crate::db::logs::{self, Standing, View};
use crate::error::{ApiError, ApiResult, is_outage};
use crate::http::streams::StreamSlot;
use crate::state::AppState;
use crate::wake::{LOOK, Waiter};

const HEARTBEAT_EVERY: Duration = Duration::from_secs(limits::STREAM_HEARTBEAT_SECONDS);
/// How long an outage is sat out.
const OUTAGE: Duration = Duration::from_mins(3);

/// Why a stream ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    #[error("the server stops")]
    Shutdown,
    #[error("the log cannot be read on")]
    Failed(#[source] ApiError),
    #[error("a stored frame cannot be unpacked")]
    Frame(#[from] std::io::Error),
}

pub struct Reader {
    store: Store,
    format: Format,
    only: Option<u32>,
    follow: bool,
    /// The last line that was sent.
    at: Cursor,
    /// Lines before the first that is not older are left out.
    since: Option<OffsetDateTime>,
    lines: Option<Lines>,
    /// The state that was told last, and of which attempt.
    told: Option<(u32, State)>,
    out: Vec<u8>,
    ended: bool,
    waiter: Waiter,
    sent: Instant,
    outage: Option<Instant>,
    _slot: StreamSlot,
}

impl Reader {
    /// `None`: the reader has everything already, and the job is over.
    pub async fn open(
        state: AppState,
        auth: Lasting,
        job: JobId,
        request: Request,
        slot: StreamSlot,
    ) -> ApiResult<Option<Self>> {
        let waiter = state.wake.job(job);
        let mut store = Store::new(state, auth, job);
        let tail = match request.tail {
            Some(lines) => Some(tail(&store, request.only, lines).await?),
            None => None,
        };
        let at = plan::begin(request.resume, tail, request.only);
        let look = store.look(at, request.since).await?.ok_or_else(no_such_job)?;
        check(&look.view, request.only)?;
        let at_end = plan::next(&look.view, at, request.only) == Next::End
            || request.only.is_some_and(|only| only != at.attempt);
        if at_end && request.resume.is_some() {
            return Ok(None);
        }
        let mut reader = Self {
            store,
            format: request.format,
            only: request.only,
            follow: request.follow,
            at,
            since: request.since,
            lines: None,
            told: None,
            out: if request.format == Format::Events { PREAMBLE.into() } else { Vec::new() },
            ended: false,
            waiter,
            sent: Instant::now(),
            outage: None,
            _slot: slot,
        };
        reader.take(look).await?;
        Ok(Some(reader))
    }

    pub fn format(&self) -> Format {
        self.format
    }

    /// The next bytes to send; `None`: the stream is over.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Cut> {
        loop {
            self.unpack()?;
            if !self.out.is_empty() {
                self.sent = Instant::now();
                return Ok(Some(std::mem::take(&mut self.out).into()));
            }
            if self.ended {
                return Ok(None);
            }
            if self.store.state.shutdown.is_cancelled() {
                return Err(Cut::Shutdown);
            }
            match self.advance().await {
                Ok(()) => self.outage = None,
                Err(error) => self.sit_out(error).await?,
            }
        }
    }

    /// Takes a piece of the lines that were fetched.
    fn unpack(&mut self) -> std::io::Result<()> {
        if let Some(lines) = &mut self.lines {
            let piece = lines.piece(self.format, &mut self.at, &mut self.since)?;
            if piece.is_empty() {
                self.lines = None;
            }
            self.out.extend_from_slice(&piece);
        }
        Ok(())
    }

    async fn advance(&mut self) -> ApiResult<()> {
        self.store.auth.renew(&self.store.state).await?;
        let look = self.store.look(self.at, self.since).await?.ok_or_else(no_such_job)?;
        check(&look.view, None)?;
        self.take(look).await
    }

    /// Makes what was seen into what is sent next; waits, if that is nothing.
    async fn take(&mut self, look: Look) -> ApiResult<()> {
        let next = plan::next(&look.view, self.at, self.only);
        self.tell_state(&look.view, next);
        match (next, look.frames) {
            (Next::Lines, Some(frames)) => {
                self.lines = Some(Lines::new(frames).map_err(|_| ApiError::Internal("a stored frame cannot be read"))?);
            }
            (Next::Lines, None) if self.since.is_some() => {
                // All that is kept so far is older.
                self.at.seq = look.view.attempt.map_or(self.at.seq, |attempt| attempt.kept);
            }
            // Archived between the look and the fetch: the next look finds it there.
            (Next::Lines, None) => tokio::task::yield_now().await,
            (Next::Gap(gap), _) => {
                self.format.gap(&gap, &mut self.out);
                self.at.seq = gap.last_seq;
            }
            (Next::FurtherAttempt, _) => self.at = Cursor { attempt: self.at.attempt + 1, seq: 0 },
            (Next::End, _) => self.end(&look.view).await?,
            (Next::Wait, _) if !self.follow => self.ended = true,
            (Next::Wait, _) if self.out.is_empty() => self.wait().await,
            (Next::Wait, _) => {}
        }
        Ok(())
    }

    /// Tells the attempt's state when it is another than before; a final one only behind the last line.
    fn tell_state(&mut self, view: &View, next: Next) {
        let Some(attempt) = &view.attempt else { return };
        let Standing { state, cause, message, at } = attempt.standing.clone();
        let read = matches!(next, Next::FurtherAttempt | Next::End);
        if self.told == Some((self.at.attempt, state)) || (state.is_terminal() && !read) {
            return;
        }
        self.told = Some((self.at.attempt, state));
        self.format.status(&Status { attempt: self.at.attempt, state, cause, message, at }, &mut self.out);
    }

    async fn end(&mut self, view: &View) -> ApiResult<()> {
        let mut tx = self.store.state.db.tenant(self.store.auth.org).await?;
        let complete = logs::is_complete(&mut tx, self.store.job, self.only).await?;
        tx.commit().await?;
        let of_attempt = self.only.and(view.attempt.as_ref()).map(|attempt| &attempt.standing);
        let Standing { state, cause, message, .. } = of_attempt.unwrap_or(&view.job).clone();
        self.format.end(self.at, &End { state, cause, message, complete }, &mut self.out);
        self.ended = true;
        Ok(())
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = self.waiter.wait() => {}
            () = self.store.state.shutdown.cancelled() => {}
        }
        self.keep_alive();
    }

    fn keep_alive(&mut self) {
        if self.format == Format::Events && self.sent.elapsed() >= HEARTBEAT_EVERY {
            self.out.extend_from_slice(HEARTBEAT.as_bytes());
        }
    }

    /// Waits a little where that may help.
    async fn sit_out(&mut self, error: ApiError) -> Result<(), Cut> {
        let passes = match &error {
            ApiError::Database(error) => is_outage(error),
            ApiError::Storage(_) => true,
            ApiError::Problem(_) | ApiError::Internal(_) => false,
        };
        let since = *self.outage.get_or_insert_with(Instant::now);
        if !passes || since.elapsed() >= OUTAGE {
            return Err(Cut::Failed(error));
        }
        tokio::time::sleep(LOOK).await;
        self.keep_alive();
        Ok(())
    }
}

async fn tail(store: &Store, only: Option<u32>, lines: u64) -> ApiResult<Cursor> {
    let mut tx = store.state.db.tenant(store.auth.org).await?;
    let kept = logs::kept_lines(&mut tx, store.job).await?;
    tx.commit().await?;
    Ok(plan::tail(&kept, only, lines))
}

/// Refuses what is not there (any more).
fn check(view: &View, only: Option<u32>) -> ApiResult<()> {
    if view.purged {
        return Err(Problem::new(ProblemCode::Expired)
            .detail("The job's log was removed, because its retention time is over.")
            .hint("`ckrv retry` runs the job again; `ckrv status` still shows how it ended.")
            .into());
    }
    match only {
        Some(only) if only == 0 || only > view.latest => {
            let detail = format!("The job has {} attempts.", view.latest);
            Err(Problem::new(ProblemCode::NotFound).detail(detail).into())
        }
        _ => Ok(()),
    }
}

fn no_such_job() -> ApiError {
    Problem::new(ProblemCode::NotFound).detail("There is no such job.").into()
}
