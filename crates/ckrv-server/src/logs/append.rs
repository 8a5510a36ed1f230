//! Appending to an attempt's log.
//!
//! 1. The body is read and checked, with nothing locked.
//! 2. The log's head is locked: appends to one log come one after the other, so commit order is line order.
//! 3. [`plan`] says what is new in the batch and what of it is kept.
//! 4. Kept lines become one chunk; lines past the job's limit are only counted.
//! 5. After the commit readers are woken.
//!
//! Repeating an append changes nothing.

use axum::extract::State;
use axum::http::HeaderMap;
use bytes::Bytes;
use ckrv_types::log::{Line, Stream};
use ckrv_types::worker::{Appended, LOG_MEDIA_TYPE};
use ckrv_types::{AttemptId, Problem, ProblemCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::batch::{Batch, Chunk};
use crate::auth::WorkerAuth;
use crate::crash_point;
use crate::db::logs::{self, Head, NewEnd};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Body, Query, require_media_type};
use crate::http::problems::{Authenticated, Conflict, Gone, JsonBody};
use crate::state::AppState;

/// From this size on a batch is read on a thread for blocking work.
const BIG: usize = 8 * 1024;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Append {
    /// The number of the batch's first line.
    #[param(minimum = 1)]
    first_seq: u64,
}

/// Append a batch to the attempt's log.
///
/// The body is one zstd frame of NDJSON lines, numbered without gaps from `first_seq`. Lines that are there already are
/// ignored; `log_gap` says where the batch must begin; `sealed` says that the attempt is over.
#[utoipa::path(post, path = "/v1/worker/logs", tag = "worker", operation_id = "appendLog", params(Append),
    request_body(content = Vec<u8>, content_type = "application/vnd.ckrv.log+zstd",
        description = "A zstd frame of NDJSON, each line a `Line`: at most 10,000 lines, 4 MiB, 8 MiB decompressed."),
    responses((status = 200, body = Appended), Authenticated, JsonBody, Conflict, Gone))]
pub(super) async fn append(
    State(state): State<AppState>,
    worker: WorkerAuth,
    Query(Append { first_seq }): Query<Append>,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<axum::Json<Appended>> {
    require_media_type(&headers, LOG_MEDIA_TYPE)?;
    if first_seq == 0 || first_seq > i64::MAX as u64 / 2 {
        return Err(Problem::new(ProblemCode::BadRequest).detail("Lines are numbered from 1.").into());
    }
    let batch = read(first_seq, body).await?;
    let appended = store(&state, &worker, batch).await?;
    Ok(axum::Json(appended))
}

async fn read(first_seq: u64, body: Bytes) -> ApiResult<Batch> {
    if body.len() < BIG {
        return Batch::read(first_seq, body);
    }
    blocking(move || Batch::read(first_seq, body)).await?
}

async fn store(state: &AppState, worker: &WorkerAuth, batch: Batch) -> ApiResult<Appended> {
    let mut tx = state.db.tenant(worker.org).await?;
    let head = logs::lock_head(&mut tx, worker.attempt).await?.ok_or(ProblemCode::NotFound)?;
    let plan = plan(&head, &batch, state.config.job_log_bytes)?;
    if let Plan::Nothing = plan {
        return Ok(Appended { next_seq: head.next_seq, over_limit: head.gap.is_some() });
    }
    let (end, chunk) = realize(plan, &head, batch, worker.attempt).await?;
    logs::append(&mut tx, worker.org, worker.attempt, chunk.as_ref(), end).await?;
    crash_point!("server.append.before-commit");
    tx.commit().await?;
    crash_point!("server.append.committed");
    state.wake.notify_job(worker.attempt.job);
    if let Some(chunk) = chunk {
        state.metrics.appended_lines.inc_by(chunk.count.into());
        state.metrics.appended_bytes.inc_by(chunk.bytes.into());
    }
    Ok(Appended { next_seq: end.next_seq, over_limit: end.gap.is_some() })
}

/// What is to be done with a batch. Indices are into its lines.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// All of it is there already.
    Nothing,
    Keep {
        from: usize,
    },
    /// Keep `from..crossing`; in place of line `crossing` say that the limit is reached; count the rest.
    Cross {
        from: usize,
        crossing: usize,
        limit: u64,
    },
    /// The limit was reached before.
    Count,
}

fn plan(head: &Head, batch: &Batch, limit: u64) -> ApiResult<Plan> {
    if let Some(sealed_seq) = head.sealed_seq {
        return Err(Problem { sealed_seq: Some(sealed_seq), ..Problem::new(ProblemCode::Sealed) }
            .detail(format!("The attempt is over; its log ends with line {sealed_seq}."))
            .into());
    }
    let Some(known) = head.next_seq.checked_sub(batch.first_seq) else {
        return Err(Problem { expected_seq: Some(head.next_seq), ..Problem::new(ProblemCode::LogGap) }
            .detail(format!("The next line has the number {}.", head.next_seq))
            .into());
    };
    let from = usize::try_from(known).unwrap_or(usize::MAX);
    if from >= batch.len() {
        return Ok(Plan::Nothing);
    }
    if head.gap.is_some() {
        return Ok(Plan::Count);
    }
    let mut bytes = head.job_bytes;
    for index in from..batch.len() {
        bytes += batch.line_bytes(index);
        if bytes > limit {
            return Ok(Plan::Cross { from, crossing: index, limit });
        }
    }
    Ok(Plan::Keep { from })
}

async fn realize(plan: Plan, head: &Head, batch: Batch, attempt: AttemptId) -> ApiResult<(NewEnd, Option<Chunk>)> {
    let next_seq = batch.first_seq + batch.len() as u64;
    match plan {
        Plan::Nothing => Err(ApiError::Internal("there is nothing to append")),
        Plan::Count => {
            let first = head.gap.map_or(head.next_seq, |(first, _)| first);
            Ok((NewEnd { next_seq, gap: Some((first, next_seq - 1)) }, None))
        }
        Plan::Keep { from } => {
            let to = batch.len();
            let chunk = chunk(batch, from, to, None).await?;
            Ok((NewEnd { next_seq, gap: None }, Some(chunk)))
        }
        Plan::Cross { from, crossing, limit } => {
            tracing::info!(%attempt, limit, "a job's log has reached its limit");
            let seq = batch.first_seq + crossing as u64;
            let ours = limit_line(seq, limit, &batch, crossing);
            let chunk = chunk(batch, from, crossing, Some(ours)).await?;
            Ok((NewEnd { next_seq, gap: Some((seq + 1, next_seq - 1)) }, Some(chunk)))
        }
    }
}

fn limit_line(seq: u64, limit: u64, batch: &Batch, index: usize) -> Line {
    let text =
        format!("The job's log has reached its limit of {limit} bytes. From here on lines are counted, not kept.");
    Line { seq, ts: batch.ts(index), stream: Stream::System, text }
}

/// Compresses where it must, which for a large batch takes a while.
async fn chunk(batch: Batch, from: usize, to: usize, last: Option<Line>) -> ApiResult<Chunk> {
    if from == 0 && to == batch.len() && last.is_none() && batch.is_as_sent() {
        return Ok(batch.chunk(from, to, None));
    }
    blocking(move || batch.chunk(from, to, last.as_ref())).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::Internal("reading a batch panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head { next_seq: 11, job_bytes: 1000, gap: None, sealed_seq: None };

    fn batch(first_seq: u64, count: u64) -> Batch {
        let line = |seq| {
            let line = Line { seq, ts: time::OffsetDateTime::UNIX_EPOCH, stream: Stream::Stdout, text: String::new() };
            serde_json::to_string(&line).unwrap() + "\n"
        };
        let ndjson: String = (first_seq..first_seq + count).map(line).collect();
        Batch::read(first_seq, zstd::bulk::compress(ndjson.as_bytes(), 1).unwrap().into()).unwrap()
    }

    #[test]
    fn what_is_new_is_kept_and_what_is_known_is_left_out() {
        assert_eq!(plan(&HEAD, &batch(11, 5), u64::MAX).unwrap(), Plan::Keep { from: 0 });
        assert_eq!(plan(&HEAD, &batch(8, 5), u64::MAX).unwrap(), Plan::Keep { from: 3 });
        assert_eq!(plan(&HEAD, &batch(6, 5), u64::MAX).unwrap(), Plan::Nothing);
    }

    #[test]
    fn a_gap_names_the_line_that_must_come() {
        let refused = plan(&HEAD, &batch(12, 1), u64::MAX).unwrap_err().problem();
        assert_eq!((refused.code, refused.expected_seq), (ProblemCode::LogGap, Some(11)));
    }

    #[test]
    fn a_sealed_log_takes_nothing_more() {
        let head = Head { sealed_seq: Some(10), ..HEAD };
        for first in [1, 11, 99] {
            let refused = plan(&head, &batch(first, 1), u64::MAX).unwrap_err().problem();
            assert_eq!((refused.code, refused.sealed_seq), (ProblemCode::Sealed, Some(10)));
        }
    }

    #[tokio::test]
    async fn at_the_limit_one_line_of_ours_takes_the_place_of_the_first_that_does_not_fit() {
        let batch = batch(11, 5);
        let limit = HEAD.job_bytes + batch.line_bytes(0) + batch.line_bytes(1);
        let planned = plan(&HEAD, &batch, limit).unwrap();
        assert_eq!(planned, Plan::Cross { from: 0, crossing: 2, limit });
        let attempt = AttemptId { job: ckrv_types::JobId::new(), number: 1 };
        let (end, chunk) = realize(planned, &HEAD, batch, attempt).await.unwrap();
        assert_eq!(end, NewEnd { next_seq: 16, gap: Some((14, 15)) });
        let chunk = chunk.unwrap();
        assert_eq!((chunk.first_seq, chunk.count), (11, 3));
        let text = String::from_utf8(zstd::stream::decode_all(&*chunk.frame).unwrap()).unwrap();
        assert!(
            text.lines().last().unwrap().contains(r#""seq":13"#) && text.contains(r#""stream":"system""#),
            "{text}"
        );
    }

    #[tokio::test]
    async fn past_the_limit_lines_are_counted() {
        let head = Head { gap: Some((9, 10)), ..HEAD };
        assert_eq!(plan(&head, &batch(11, 5), 0).unwrap(), Plan::Count);
        let attempt = AttemptId { job: ckrv_types::JobId::new(), number: 1 };
        let (end, chunk) = realize(Plan::Count, &head, batch(11, 5), attempt).await.unwrap();
        assert_eq!((end, chunk), (NewEnd { next_seq: 16, gap: Some((9, 15)) }, None));
    }
}
