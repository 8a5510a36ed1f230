//! One request of the agent: who asks, where it may go, what it may cost; then to the provider and back.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use subtle::ConstantTimeEq;

use super::Shared;
use super::answer;
use super::meter::{Ticket, UsedUp};
use super::provider::{Ask, Refusal, Route};

/// Largest request body: the providers' own limit is 32 MB.
pub(super) const BODY_BYTES: usize = 32 * 1024 * 1024;

pub(super) async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answer = tokio::select! {
        answer = forward(&shared, &parts, body) => answer,
        () = shared.closing.cancelled() => Err(Refusal::Closing),
    };
    answer.unwrap_or_else(|refusal| refuse(&shared, &parts, &refusal))
}

fn refuse(shared: &Shared, parts: &Parts, refusal: &Refusal) -> Response {
    tracing::info!(method = %parts.method, path = parts.uri.path(), status = refusal.status().as_u16(), %refusal, "refused");
    let mut response = (refusal.status(), Json(shared.dialect.error_body(refusal))).into_response();
    if !refusal.is_passing() {
        // Heeded by the providers' own client libraries, and so by the agents built on them.
        response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

async fn forward(shared: &Arc<Shared>, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    let path = parts.uri.path();
    let route = shared.dialect.route(&parts.method, path);
    if route == Some(Route::Probe) {
        return Ok(StatusCode::OK.into_response());
    }
    if !is_agent(&parts.headers, shared.phantom.expose()) {
        return Err(Refusal::Unauthenticated);
    }
    let route = route
        .ok_or_else(|| Refusal::NoSuchRoute { method: parts.method.clone(), path: path.chars().take(200).collect() })?;
    if let Some(used_up) = shared.meter.used_up() {
        return Err(used_up.into());
    }
    let body = read_body(body).await?;
    if route == Route::Free {
        let response = send(shared, parts, body).await?;
        return Ok(answer::pass_on(shared, response));
    }
    let ask = shared.dialect.read_ask(&body).map_err(Refusal::Malformed)?;
    drop(body);
    let ticket = shared.meter.admit(&ask).await?;
    generate(shared, parts, ask, ticket).await
}

async fn generate(shared: &Arc<Shared>, parts: &Parts, ask: Ask, ticket: Ticket) -> Result<Response, Refusal> {
    let response = send(shared, parts, ask.body(ticket.max_output)).await?;
    if response.status().is_success() {
        answer::count(shared, response, ticket).await
    } else {
        Ok(answer::pass_on(shared, response))
    }
}

/// Whether the request carries the agent's key, in either of the usual headers. Takes the same time for any wrong key.
fn is_agent(headers: &HeaderMap, phantom: &str) -> bool {
    let key = headers.get("x-api-key").map(HeaderValue::as_bytes);
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    [key, bearer].into_iter().flatten().any(|given| given.ct_eq(phantom.as_bytes()).into())
}

async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        whole.extend_from_slice(&chunk.map_err(|error| Refusal::Malformed(format!("the body broke off: {error}")))?);
        if whole.len() > BODY_BYTES {
            return Err(Refusal::TooLarge { limit: BODY_BYTES });
        }
    }
    Ok(whole.into())
}

async fn send(shared: &Shared, parts: &Parts, body: Bytes) -> Result<reqwest::Response, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in &parts.headers {
        if shared.dialect.passes_to_provider(name.as_str()) {
            headers.append(name, value.clone());
        }
    }
    // What is compressed cannot be counted.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let request = shared.upstream.request(parts.method.clone(), parts.uri.path(), parts.uri.query()).headers(headers);
    let request = if body.is_empty() { request } else { request.body(body) };
    let response = request.send().await.map_err(|error| no_answer(shared, &error.without_url()))?;
    if response.status().is_redirection() {
        return Err(shared.bad_answer("it redirects to another address"));
    }
    Ok(response)
}

pub(super) fn no_answer(shared: &Shared, error: &reqwest::Error) -> Refusal {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    shared.bad_answer(&cause.to_string())
}

impl Shared {
    pub(super) fn bad_answer(&self, reason: &str) -> Refusal {
        Refusal::NoAnswer { host: self.upstream.host().to_owned(), reason: reason.to_owned() }
    }
}

impl From<UsedUp> for Refusal {
    fn from(UsedUp { budget, spent }: UsedUp) -> Self {
        Self::BudgetUsedUp { budget, spent }
    }
}
