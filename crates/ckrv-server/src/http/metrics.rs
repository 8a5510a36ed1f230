//! Measurements for Prometheus, on a listener of their own: what an installation does is nobody else's business.
//!
//! Health is there too, for whoever reaches that listener alone.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::health;
use crate::metrics;
use crate::state::AppState;

pub fn routes() -> Router<AppState> {
    let (health, _) = health::routes().split_for_parts();
    health.route("/metrics", get(read))
}

async fn read(State(state): State<AppState>) -> Response {
    state.metrics.observe_pools(&state.db);
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], state.metrics.encode()).into_response()
}
