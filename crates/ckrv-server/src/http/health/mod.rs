//! Is it alive, and is it ready: for load balancers and for people.
//!
//! Anybody may ask. The bodies name what is away by fixed words; why it is away is in the log alone.

mod parts;
mod readiness;

use axum::Json;
use axum::extract::State;
use ckrv_types::problem::FieldError;
use ckrv_types::{Problem, ProblemCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::problems::Unavailable;
use crate::error::{ApiError, ApiResult};
use crate::http::needs::routes;
use crate::state::AppState;

pub use parts::Trouble;
pub use readiness::{Readiness, watch};

/// The server serves.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    pub status: HealthStatus,
    /// ckrv's version.
    pub version: &'static str,
    /// What is away, and what waits for it; absent when nothing is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub degraded: Vec<Trouble>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Everything is as it should be.
    Ok,
    /// It serves, though a part is away without which some things wait.
    Degraded,
}

impl Health {
    fn with(degraded: Vec<Trouble>) -> Self {
        let status = if degraded.is_empty() { HealthStatus::Ok } else { HealthStatus::Degraded };
        Self { status, version: env!("CARGO_PKG_VERSION"), degraded }
    }
}

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready)).routes(routes!(health))
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "alive",
    responses((status = 200, body = Health)))]
async fn alive() -> Json<Health> {
    Json(Health::with(Vec::new()))
}

/// The server can serve: it reaches its database, with its roles and its schema, and is not shutting down.
///
/// An object store that is away makes it `degraded`, not unready: jobs are accepted, run and read without it.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "ready",
    responses((status = 200, body = Health), Unavailable))]
async fn ready(State(state): State<AppState>) -> ApiResult<Json<Health>> {
    match state.readiness.missing(&state).await {
        None => Ok(Json(Health::with(state.readiness.degraded().into_iter().collect()))),
        Some(trouble) => Err(not_ready(trouble)),
    }
}

/// The same as `/readyz`.
#[utoipa::path(get, path = "/v1/health", tag = "health", operation_id = "health",
    responses((status = 200, body = Health), Unavailable))]
async fn health(state: State<AppState>) -> ApiResult<Json<Health>> {
    ready(state).await
}

fn not_ready(Trouble { component, message }: Trouble) -> ApiError {
    let errors = vec![FieldError { field: component.to_owned(), message: message.to_owned() }];
    let detail = format!("Not ready: {component} {message}.");
    Problem { errors, ..Problem::new(ProblemCode::Unavailable) }.detail(detail).into()
}
