//! `/livez`, `/readyz` and `/metrics`.
//!
//! Live: the process answers; a restart would not bring an API server back. Ready: the API server answered when it was asked
//! last. A standby is as ready as a leader, since both do what they should.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::{MEDIA_TYPE, Metrics};

/// Answers until it is dropped.
pub async fn serve(listen: SocketAddr, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get("ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(all))
        .with_state(metrics);
    axum::serve(TcpListener::bind(listen).await?, router).await
}

async fn ready(State(metrics): State<Arc<Metrics>>) -> (StatusCode, &'static str) {
    if metrics.is_connected() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server does not answer\n")
    }
}

async fn all(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
