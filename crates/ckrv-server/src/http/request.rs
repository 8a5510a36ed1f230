//! What surrounds every request: its id, one line in the log, its measurement, and the headers that every answer has.
//!
//! The outermost layer. Also the last net: an error answer that is no problem yet (an unknown path or method, which the
//! router answers by itself) becomes one here.

use std::fmt;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::header::{RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use ckrv_types::problem::MEDIA_TYPE;
use ckrv_types::{Problem, ProblemCode};
use tracing::Instrument as _;
use uuid::Uuid;

use super::rate::Standings;
use crate::error::{OwnBody, ProblemBody};
use crate::state::AppState;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARS: usize = 64;
/// For what is away for the moment, in seconds.
const COME_BACK: u64 = 5;

/// The id that names a request in the log and to its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RequestId {
    /// The sender's own, if it is sane, so that a request can be followed through several systems.
    fn of(headers: &HeaderMap) -> Self {
        let sane = |id: &&str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !id.is_empty() && id.len() <= REQUEST_ID_CHARS && id.bytes().all(plain)
        };
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
        Self(given.map_or_else(|| Uuid::now_v7().simple().to_string(), ToOwned::to_owned))
    }
}

/// The layer.
pub async fn surround(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = RequestId::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = method_name(request.method());
    let standings = Standings::default();
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(standings.clone());

    let span = tracing::info_span!("request", id = id.0, method, route);
    let response = next.run(request).instrument(span.clone()).await;
    let response = finished(response, &id, &standings);
    let (status, took) = (response.status().as_u16(), began.elapsed());
    span.in_scope(|| log(&route, status, took));
    state.metrics.observe_request(&route, method, status, took);
    response
}

/// The routes that a machine asks for every few seconds would drown the others.
fn log(route: &str, status: u16, took: Duration) {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    if matches!(route, "/healthz" | "/readyz" | "/v1/health" | "/metrics") && status < 400 {
        tracing::debug!(status, millis, "answered");
    } else {
        tracing::info!(status, millis, "answered");
    }
}

fn finished(response: Response, id: &RequestId, standings: &Standings) -> Response {
    let mut response = as_problem(response, id);
    let status = response.status();
    let headers = response.headers_mut();
    standings.tell(headers);
    let retry_after = match status {
        StatusCode::TOO_MANY_REQUESTS => standings.retry_after().or(Some(COME_BACK)),
        StatusCode::SERVICE_UNAVAILABLE => Some(COME_BACK),
        _ => None,
    };
    if let Some(seconds) = retry_after {
        headers.entry(RETRY_AFTER).or_insert(seconds.into());
    }
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Pages have policies of their own.
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Every error's body is a problem that names the request, unless its route means another.
fn as_problem(response: Response, id: &RequestId) -> Response {
    if response.extensions().get::<OwnBody>().is_some() {
        return response;
    }
    let problem = match response.extensions().get::<ProblemBody>() {
        Some(ProblemBody(problem)) => problem.clone(),
        None if response.status().is_client_error() || response.status().is_server_error() => bare(response.status()),
        None => return response,
    };
    let problem = Problem { request_id: Some(id.0.clone()), ..problem };
    let body = serde_json::to_vec(&problem).expect("a problem has only string keys");
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Response::from_parts(parts, Body::from(body))
}

/// The problem for a status that came without one.
pub fn bare(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::new(ProblemCode::NotFound).detail("There is nothing at this path."),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(ProblemCode::MethodNotAllowed).detail("`Allow` lists the methods of this path.")
        }
        status => {
            let known = ProblemCode::ALL.iter().find(|code| code.status() == status.as_u16());
            let fallback = if status.is_server_error() { ProblemCode::Internal } else { ProblemCode::BadRequest };
            Problem { status: status.as_u16(), ..Problem::new(known.copied().unwrap_or(fallback)) }
        }
    }
}

/// A closed list, because anybody may send any method.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(given: &str) -> String {
        RequestId::of(&HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(given).unwrap())])).0
    }

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        assert_eq!(id_of("trace-1.2_3"), "trace-1.2_3");
        for given in ["", "a b", "x\"y", &"a".repeat(65)] {
            let id = id_of(given);
            assert!(id != given && id.len() == 32, "{given} became {id}");
        }
    }

    #[test]
    fn an_error_without_a_body_becomes_a_problem_that_keeps_its_headers() {
        let bare = Response::builder().status(405).header("allow", "GET").body(Body::empty()).unwrap();
        let response = as_problem(bare, &RequestId("r".to_owned()));
        assert_eq!(response.headers()["allow"], "GET");
        assert_eq!(response.headers()["content-type"], MEDIA_TYPE);
    }

    #[test]
    fn an_error_whose_body_is_meant_keeps_it() {
        let mut page = Response::builder().status(404).header("content-type", "text/html").body(Body::empty()).unwrap();
        page.extensions_mut().insert(OwnBody);
        assert_eq!(as_problem(page, &RequestId("r".to_owned())).headers()["content-type"], "text/html");
    }
}
