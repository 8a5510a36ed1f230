//! What stands between the network and a handler: the limit on headers, the limit on time, the net under panics.

use std::any::Any;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ckrv_types::{Problem, ProblemCode, limits};

use crate::error::ApiError;

/// Refuses a request whose line and headers are too long.
pub async fn limit_headers(request: Request, next: Next) -> Response {
    let line = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if line + headers > limits::HEADER_BYTES {
        let detail = format!("Path, query and headers may have {} bytes together.", limits::HEADER_BYTES);
        return ApiError::from(Problem::new(ProblemCode::HeadersTooLarge).detail(detail)).into_response();
    }
    next.run(request).await
}

/// Bounds the time until an answer begins (its body may take longer: logs and artifacts do).
pub async fn limit_time(request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(Duration::from_secs(limits::REQUEST_SECONDS), next.run(request)).await;
    answered.unwrap_or_else(|_| {
        let detail = format!("The request took longer than {} s.", limits::REQUEST_SECONDS);
        ApiError::from(Problem::new(ProblemCode::Unavailable).detail(detail)).into_response()
    })
}

/// The answer for a handler that panicked. What it said goes to the log alone.
#[expect(clippy::needless_pass_by_value, reason = "the layer calls it so")]
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("something that is not text");
    tracing::error!(said, "a handler panicked");
    ApiError::Internal("a handler panicked").into_response()
}
