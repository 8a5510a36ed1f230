//! Server-sent events that survive cuts: a stream over as many connections as it takes.
//!
//! 1. Connect, from the last place that was seen.
//! 2. Hand on each event; whoever reads says whether it was new, and where it stands.
//! 3. On a cut, a silence or a passing refusal: pause (growing, with jitter) and begin again at 1. The pauses begin anew
//!    after a connection that brought something.
//! 4. Give up when nothing at all came for as long as the caller wants to wait.
//!
//! Events are told whole or not at all: one that was cut off is not dispatched (WHATWG HTML, section 9.2.6), so a resume
//! repeats it.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::header::ACCEPT;
use reqwest::{RequestBuilder, Response, StatusCode};
use sse_stream::{Sse, SseByteStream};
use tokio::time::Instant;

use crate::ClientError;
use crate::retry::Pauses;
use crate::transport::Transport;

/// How long a server is asked again that is there and says that the fault is its own.
const FAULT_PATIENCE: Duration = Duration::from_secs(20);

/// What is read: where it stands, and what its events mean.
pub(crate) trait Reader: Send + 'static {
    type Item: Send;

    /// The request for everything behind the last place that was seen.
    fn request(&self, transport: &Transport) -> RequestBuilder;

    /// Reads one event and moves on.
    fn read(&mut self, event: Sse) -> Result<Step<Self::Item>, serde_json::Error>;

    /// Whether the stream ends at what there is. A server that stops ends its connections properly, too, so this is believed
    /// of a connection that brought nothing new, and not before.
    fn ends_with_what_there_is(&self) -> bool {
        false
    }
}

pub(crate) enum Step<T> {
    /// Something new.
    New(T),
    /// The last one.
    Last(T),
    /// Seen before, or not known to this version.
    Skip,
}

/// Follows `reader` until its last event, an end told by 204, or a definitive refusal; errors only after `give_up`
/// without any answer.
pub(crate) fn follow<R: Reader>(
    transport: Transport,
    mut reader: R,
    give_up: Duration,
) -> impl Stream<Item = Result<R::Item, ClientError>> + Send {
    async_stream::try_stream! {
        let silence = transport.timeouts().silence;
        let mut pauses = Pauses::new();
        let mut alive = Instant::now();
        loop {
            let lost = match transport.open(reader.request(&transport).header(ACCEPT, "text/event-stream")).await {
                Ok(response) if response.status() == StatusCode::NO_CONTENT => return,
                Ok(response) => {
                    let mut events = pin!(events(response, silence));
                    let mut brought = false;
                    loop {
                        alive = Instant::now();
                        let event = match events.next().await {
                            Some(Ok(event)) => event,
                            Some(Err(cut)) => break cut.at(transport.server()),
                            None if reader.ends_with_what_there_is() && !brought => return,
                            None => break Cut::End.at(transport.server()),
                        };
                        match reader.read(event) {
                            Ok(Step::New(item)) => {
                                pauses = Pauses::new();
                                brought = true;
                                yield item;
                            }
                            Ok(Step::Last(item)) => {
                                yield item;
                                return;
                            }
                            Ok(Step::Skip) => {}
                            Err(source) => {
                                let server = transport.server().to_owned();
                                Err(ClientError::Body { server, what: "an event", source })?;
                            }
                        }
                    }
                }
                Err(error) => error,
            };
            let pause = pauses.next().max(lost.retry_after().unwrap_or_default());
            let patience = if lost.is_unreachable() { give_up } else { give_up.min(FAULT_PATIENCE) };
            if !lost.is_retryable() || alive.elapsed() + pause > patience {
                Err(lost)?;
            } else {
                tracing::debug!(error = %lost, ?pause, "connecting again");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Cut {
    /// Nothing came for so long.
    Silence(Duration),
    Error(Box<dyn std::error::Error + Send + Sync>),
    End,
}

impl Cut {
    pub(crate) fn at(self, server: &str) -> ClientError {
        ClientError::Interrupted { server: server.to_owned(), what: self.to_string() }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence(time) => write!(f, "nothing was heard for {} s", time.as_secs_f32()),
            Self::Error(error) => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(error) = source {
                    write!(f, ": {error}")?;
                    source = error.source();
                }
                Ok(())
            }
            Self::End => f.write_str("it ended early"),
        }
    }
}

impl std::error::Error for Cut {}

fn events(response: Response, silence: Duration) -> impl Stream<Item = Result<Sse, Cut>> + Send {
    let bytes = Box::pin(within(silence, response.bytes_stream()));
    SseByteStream::new(bytes).map(|event| {
        event.map_err(|error| match error {
            sse_stream::Error::Body(source) => match source.downcast::<Cut>() {
                Ok(cut) => *cut,
                Err(source) => Cut::Error(source),
            },
            other => Cut::Error(Box::new(other)),
        })
    })
}

/// `chunks`, cut off when none comes for `silence`. Heartbeats count: they are bytes before they are comments.
pub(crate) fn within(
    silence: Duration,
    chunks: impl Stream<Item = reqwest::Result<Bytes>> + Send,
) -> impl Stream<Item = Result<Bytes, Cut>> + Send {
    async_stream::try_stream! {
        let mut chunks = pin!(chunks);
        loop {
            let next = tokio::time::timeout(silence, chunks.next()).await.map_err(|_| Cut::Silence(silence))?;
            match next {
                Some(chunk) => yield chunk.map_err(|error| Cut::Error(Box::new(error.without_url())))?,
                None => return,
            }
        }
    }
}
