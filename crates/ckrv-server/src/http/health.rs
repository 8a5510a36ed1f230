//! Is it alive, is it ready, and what does it measure.
//!
//! Anybody may ask, and load balancers ask often: the answer on readiness is kept for [`FRESH`], and asked for once
//! however many wait for it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ckrv_types::problem::FieldError;
use ckrv_types::{Problem, ProblemCode};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problems::Unavailable;
use crate::db::selfcheck::{self, Refusal};
use crate::error::{ApiError, ApiResult};
use crate::metrics;
use crate::state::AppState;

const FRESH: Duration = Duration::from_secs(1);
/// A part that takes longer to answer counts as away.
const PATIENCE: Duration = Duration::from_secs(3);

/// The server can do its work.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// `ok`
    pub status: &'static str,
    /// ckrv's version.
    pub version: &'static str,
}

const OK: Health = Health { status: "ok", version: env!("CARGO_PKG_VERSION") };

/// The latest look at what the server needs: what is missing, by name.
#[derive(Default)]
pub struct Readiness(Mutex<Option<(Instant, Vec<FieldError>)>>);

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(health)).routes(routes!(metrics))
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "alive", security(()),
    responses((status = 200, body = Health)))]
async fn alive() -> Json<Health> {
    Json(OK)
}

/// Database, object store and schema are as the server needs them.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "ready", security(()),
    responses((status = 200, body = Health), Unavailable))]
async fn ready(State(state): State<AppState>) -> ApiResult<Json<Health>> {
    let missing = state.readiness.look(&state).await;
    if missing.is_empty() {
        return Ok(Json(OK));
    }
    let names: Vec<&str> = missing.iter().map(|missing| missing.field.as_str()).collect();
    let detail = format!("Not ready: {}.", names.join(", "));
    Err(ApiError::from(Problem { errors: missing, ..Problem::new(ProblemCode::Unavailable) }.detail(detail)))
}

/// The same as `/readyz`.
#[utoipa::path(get, path = "/v1/health", tag = "health", operation_id = "health", security(()),
    responses((status = 200, body = Health), Unavailable))]
async fn health(state: State<AppState>) -> ApiResult<Json<Health>> {
    ready(state).await
}

/// Measurements for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics", security(()),
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
async fn metrics(State(state): State<AppState>) -> Response {
    state.metrics.observe_pools(&state.db);
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], state.metrics.encode()).into_response()
}

impl Readiness {
    async fn look(&self, state: &AppState) -> Vec<FieldError> {
        let mut latest = self.0.lock().await;
        match &*latest {
            Some((at, missing)) if at.elapsed() < FRESH => missing.clone(),
            _ => {
                let missing = look(state).await;
                *latest = Some((Instant::now(), missing.clone()));
                missing
            }
        }
    }
}

async fn look(state: &AppState) -> Vec<FieldError> {
    let database = async {
        match timeout(PATIENCE, selfcheck::schema(&state.db)).await {
            Ok(Ok(())) => None,
            Ok(Err(Refusal::Database(error))) => {
                tracing::warn!(%error, "the database is not ready");
                Some(missing("database", "does not answer as it should"))
            }
            Ok(Err(refusal)) => Some(missing("schema", &refusal.to_string())),
            Err(_) => Some(missing("database", "does not answer")),
        }
    };
    let store = async {
        match timeout(PATIENCE, state.s3.check()).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                tracing::warn!(error = error.chain(), "the object store is not ready");
                Some(missing("storage", "does not answer as it should"))
            }
            Err(_) => Some(missing("storage", "does not answer")),
        }
    };
    let (database, store) = tokio::join!(database, store);
    database.into_iter().chain(store).collect()
}

fn missing(what: &str, why: &str) -> FieldError {
    FieldError { field: what.to_owned(), message: why.to_owned() }
}
