//! Hears a request out that is refused for its size.
//!
//! Who answers and closes while the other side still writes has the connection reset, and the answer is lost on its way: the
//! client reports a broken pipe where it should report `too_large`. So what is left of such a body is read and dropped,
//! within bounds, before the answer goes out (RFC 9112, section 9.6).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

/// What is heard out at most; more than that is no mistake.
const BYTES: usize = 32 * 1024 * 1024;
const TIME: Duration = Duration::from_secs(5);

/// The middleware.
pub async fn hear_out(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = Shared(Arc::new(Mutex::new(body)));
    let response = next.run(Request::from_parts(parts, Body::new(body.clone()))).await;
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        // Whoever is still not done then loses the answer.
        let _ = tokio::time::timeout(TIME, body.drop_rest()).await;
    }
    response
}

/// A body that outlives the handler that was given it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl Shared {
    async fn drop_rest(mut self) {
        let mut left = BYTES;
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    }

    fn with<T>(&self, read: impl FnOnce(Pin<&mut Body>) -> T) -> T {
        read(Pin::new(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        self.with(|body| body.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.with(|body| body.size_hint())
    }
}
