//! A job's events as they happen, as server-sent events (WHATWG HTML, section 9.2) that can be resumed.
//!
//! 1. Look: is the job over, and which events are behind the last one that was sent? In this order, so that no event
//!    of a job that is over is missed.
//! 2. Send them. Stop when the job is over and all was sent: a reconnect from there is answered 204, which tells
//!    EventSource to stay away.
//! 3. Wait for a wake-up, a second at most, and begin again at 1.
//!
//! A database that is away for a while is waited for; the connection lives on its comments.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use ckrv_types::job::JobEvent;
use ckrv_types::{JobId, Problem, ProblemCode, limits};
use futures::Stream;
use utoipa_axum::router::OpenApiRouter;

use super::no_such;
use crate::auth::{Auth, Caller, Lasting, Read};
use crate::db::{events as db, jobs};
use crate::error::{ApiError, ApiResult, is_outage};
use crate::http::extract::Path;
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, BadRequest, NotFound};
use crate::http::streams::{SseEvent, StreamSlot};
use crate::state::AppState;
use crate::wake::Waiter;

/// Events read at once.
const PAGE: i64 = 500;
const HEARTBEAT: Duration = Duration::from_secs(limits::STREAM_HEARTBEAT_SECONDS);

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Follow a job's events.
///
/// Each change of state, request to cancel, retry and note of the runner, from the first one (or behind `Last-Event-ID`)
/// on, each once, until the job is over.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs", operation_id = "followEvents",
    params(("id" = JobId, Path), ("Last-Event-ID" = Option<i64>, Header, minimum = 0, description = "The last event that was seen.")),
    responses(
        (status = 200, description = "Events named `event`, their data a `JobEvent`.",
            content(("text/event-stream", item_schema = SseEvent))),
        (status = 204, description = "The job is over and all its events have been seen."),
        Authenticated, BadRequest, NotFound))]
async fn events(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Path(id): Path<JobId>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let after = last_event_id(&headers)?;
    let slot = state.streams.open(auth.principal)?;
    let waiter = state.wake.job(id);
    let first = look(&state, &auth, id, after).await?;
    if first.is_end() && first.events.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stream = Follow { state, auth: auth.lasting(), id, after, waiter, _slot: slot }.events(first);
    let headers = [(header::CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-accel-buffering"), "no")];
    let sse = Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok((headers, sse).into_response())
}

fn last_event_id(headers: &HeaderMap) -> ApiResult<i64> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let id = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|id: &i64| *id >= 0);
    let wrong = || Problem::new(ProblemCode::BadRequest).detail("Last-Event-ID is not the id of an event.");
    Ok(id.ok_or_else(wrong)?)
}

/// What one look at the database found.
struct Look {
    over: bool,
    events: Vec<JobEvent>,
}

impl Look {
    /// Nothing follows these events.
    fn is_end(&self) -> bool {
        self.over && (self.events.len() as u64) < PAGE.unsigned_abs()
    }

    /// More events are there already.
    fn is_full(&self) -> bool {
        self.events.len() as u64 == PAGE.unsigned_abs()
    }
}

async fn look(state: &AppState, auth: &Auth, id: JobId, after: i64) -> ApiResult<Look> {
    let mut tx = state.db.tenant(auth.org).await?;
    let head = jobs::head(&mut tx, id, &auth.reach).await?.ok_or_else(|| no_such("job", id))?;
    let events = db::after(&mut tx, id, after, PAGE).await?;
    tx.commit().await?;
    Ok(Look { over: head.state.is_terminal(), events })
}

/// One who follows.
struct Follow {
    state: AppState,
    auth: Lasting,
    id: JobId,
    /// The last event that was sent.
    after: i64,
    waiter: Waiter,
    _slot: StreamSlot,
}

impl Follow {
    fn events(mut self, first: Look) -> impl Stream<Item = Result<Event, Infallible>> {
        async_stream::stream! {
            let shutdown = self.state.shutdown.clone();
            let mut look_now = first;
            loop {
                let (end, full) = (look_now.is_end(), look_now.is_full());
                for event in look_now.events {
                    self.after = event.id;
                    yield Ok(sse_event(&event));
                }
                if end || (!full && shutdown.run_until_cancelled(self.waiter.wait()).await.is_none()) {
                    return;
                }
                let Some(next) = self.next().await else { return };
                look_now = next;
            }
        }
    }

    /// The next look; `None`: the stream is to end.
    async fn next(&mut self) -> Option<Look> {
        match self.auth.renew(&self.state).await {
            Ok(()) => {}
            Err(error) if is_passing(&error) => {}
            Err(_) => return None,
        }
        match look(&self.state, &self.auth, self.id, self.after).await {
            Ok(look) => Some(look),
            Err(error) if is_passing(&error) => Some(Look { over: false, events: Vec::new() }),
            Err(error) => {
                tracing::debug!(%error, job = %self.id, "a stream of events ends");
                None
            }
        }
    }
}

fn is_passing(error: &ApiError) -> bool {
    matches!(error, ApiError::Database(error) if is_outage(error))
}

fn sse_event(event: &JobEvent) -> Event {
    let data = serde_json::to_string(event).expect("an event has only string keys");
    Event::default().id(event.id.to_string()).event("event").data(data)
}
