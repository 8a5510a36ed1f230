//! The provider's answer on its way to the agent: counted, and cut when the budget is reached.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};

use super::Shared;
use super::forward::no_answer;
use super::meter::Ticket;
use super::provider::{Refusal, StreamReader};
use super::sse::{self, Events};

/// Largest answer in one piece.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

type Chunks = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// An answer that costs nothing, as it comes.
pub(super) fn pass_on(shared: &Arc<Shared>, response: reqwest::Response) -> Response {
    let closing = shared.closing.clone().cancelled_owned();
    let (status, headers) = (response.status(), agent_headers(shared, response.headers()));
    (status, headers, Body::from_stream(response.bytes_stream().take_until(closing))).into_response()
}

/// An answer that costs. Events go on one by one as they come; an answer in one piece goes on when it has been counted.
pub(super) async fn count(
    shared: &Arc<Shared>,
    response: reqwest::Response,
    ticket: Ticket,
) -> Result<Response, Refusal> {
    let (status, headers) = (response.status(), agent_headers(shared, response.headers()));
    let value = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !matches!(value(header::CONTENT_ENCODING), "" | "identity") {
        return Err(shared.bad_answer("it compresses its answer, which cannot be counted"));
    }
    let is_stream = value(header::CONTENT_TYPE).starts_with("text/event-stream");
    let chunks: Chunks = Box::pin(response.bytes_stream());
    let body = if is_stream {
        Body::from_stream(EventAnswer::new(Arc::clone(shared), chunks, ticket).into_stream())
    } else {
        whole(shared, chunks, &ticket).await?
    };
    Ok((status, headers, body).into_response())
}

fn agent_headers(shared: &Shared, headers: &HeaderMap) -> HeaderMap {
    let passes = |name: &str| shared.dialect.passes_to_agent(name);
    headers
        .iter()
        .filter(|(name, _)| passes(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

async fn whole(shared: &Shared, mut chunks: Chunks, ticket: &Ticket) -> Result<Body, Refusal> {
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.map_err(|error| no_answer(shared, &error.without_url()))?);
        if body.len() > ANSWER_BYTES {
            return Err(shared.bad_answer("its answer is too long"));
        }
    }
    match shared.dialect.read_answer(&body) {
        Some(answer) => ticket.count(&answer)?,
        None => return Err(shared.bad_answer("its answer does not say what it used")),
    }
    Ok(body.into())
}

/// An answer in events. When this is dropped (the agent is gone, or the answer is cut), so is the provider's side.
struct EventAnswer {
    shared: Arc<Shared>,
    chunks: Chunks,
    ticket: Ticket,
    events: Events,
    reader: Box<dyn StreamReader>,
    is_over: bool,
}

/// Why the agent's connection is broken off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the provider's answer broke off")]
    Provider(#[source] reqwest::Error),
    #[error("the provider's answer cannot be read")]
    Event(#[from] sse::EventTooLong),
    #[error("the proxy was closed")]
    Closing,
}

impl EventAnswer {
    fn new(shared: Arc<Shared>, chunks: Chunks, ticket: Ticket) -> Self {
        let reader = shared.dialect.stream_reader();
        Self { shared, chunks, ticket, events: Events::default(), reader, is_over: false }
    }

    fn into_stream(self) -> impl Stream<Item = Result<Bytes, Broken>> {
        stream::unfold(self, async |mut answer| {
            if answer.is_over {
                return None;
            }
            let next = answer.next().await.inspect_err(|_| answer.is_over = true).transpose()?;
            Some((next, answer))
        })
    }

    /// The next whole event, counted. None: the answer is complete.
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(event) = self.events.next_event() {
                return Ok(Some(self.counted(event)));
            }
            let chunk = tokio::select! {
                chunk = self.chunks.next() => chunk,
                () = self.shared.closing.cancelled() => return Err(Broken::Closing),
            };
            match chunk {
                Some(chunk) => self.events.push(&chunk.map_err(|error| Broken::Provider(error.without_url()))?)?,
                None => return Ok(self.last()),
            }
        }
    }

    /// `event` itself, or in its place the error that ends the stream.
    fn counted(&mut self, event: Bytes) -> Bytes {
        let Some(data) = sse::data(&event) else { return event };
        self.reader.read(&data);
        match self.ticket.count(&self.reader.answer()) {
            Ok(()) => event,
            Err(used_up) => {
                self.is_over = true;
                self.shared.dialect.error_event(&used_up.into())
            }
        }
    }

    /// What the provider left without an end is passed on too.
    fn last(&mut self) -> Option<Bytes> {
        self.is_over = true;
        let rest = self.events.rest();
        if rest.is_empty() { None } else { Some(self.counted(rest)) }
    }
}
