//! `GET /v1/jobs/{id}/logs`: a job's log over all its attempts, while it is written and ever after.
//!
//! `query` is what is asked for, `plan` decides what comes next, `store` fetches it, `lines` unpacks it, `format` writes
//! it, and `reader` goes round.

mod format;
mod lines;
mod plan;
mod query;
mod reader;
mod store;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ckrv_types::JobId;
use ckrv_types::log::JobLine;
use futures::Stream;

use crate::auth::{Caller, Read};
use crate::error::ApiResult;
use crate::http::extract::{Path, Query};
use crate::http::problems::{Authenticated, BadRequest, Gone, NotAcceptable, NotFound};
use crate::http::streams::SseEvent;
use crate::state::AppState;
use format::Format;
use query::{ReadQuery, Request};
use reader::{Cut, Reader};

/// Proxies that buffer answers would hold lines back.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Read the job's log.
///
/// As server-sent events (`log`, `status`, `gap`, `end`; see `events.yaml`), as NDJSON, or as bare text, by `Accept`. The
/// stream runs over the job's attempts in order and ends with the job. A `log` or `gap` event's id, handed back as
/// `Last-Event-ID` or `after`, resumes exactly behind it.
#[utoipa::path(get, path = "/v1/jobs/{id}/logs", tag = "logs", operation_id = "streamLogs",
    params(("id" = JobId, Path, description = "The job."), ReadQuery,
        ("Last-Event-ID" = Option<String>, Header, pattern = r"^([0-9]{1,9}\.[0-9]{1,18})?$", description = "Resume behind this event (empty: as if it were not there); goes before `after`, `tail` and `since`.")),
    responses(
        (status = 200, description = "The log, or its rest.", content(
            ("text/event-stream", item_schema = SseEvent),
            ("application/x-ndjson", item_schema = JobLine),
            (String = "text/plain"))),
        (status = 204, description = "Nothing is left: the job is over and the reader has the whole log."),
        Authenticated, BadRequest, NotFound, NotAcceptable, Gone))]
pub(super) async fn read(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Path(job): Path<JobId>,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let request = Request::new(&query, &headers)?;
    let slot = state.streams.open(auth.principal)?;
    match Reader::open(state, auth.lasting(), job, request, slot).await? {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(reader) => {
            let headers = [
                (header::CONTENT_TYPE, reader.format().media_type()),
                (header::CACHE_CONTROL, "no-store"),
                (BUFFERING, "no"),
            ];
            Ok((headers, Body::from_stream(stream(reader))).into_response())
        }
    }
}

/// Events end so that the reader comes back; of the other forms the connection is broken, for a cut log must not pass for
/// a whole one.
fn stream(reader: Reader) -> impl Stream<Item = Result<Bytes, Cut>> {
    futures::stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
            Ok(None) => None,
            Err(cut) => {
                if let Cut::Shutdown = cut {
                    tracing::debug!("a log stream ends with the server");
                } else {
                    tracing::warn!(error = &cut as &dyn std::error::Error, "a log stream was cut");
                }
                if reader.format() == Format::Events { None } else { Some((Err(cut), None)) }
            }
        }
    })
}
