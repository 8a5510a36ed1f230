//! Runners: the organization's own, and those of the platform that serve it. A key that is limited to a project manages
//! none.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ckrv_types::identity::{CreateRunner, RunnerInfo, WithToken};
use ckrv_types::token::TokenKind;
use ckrv_types::{Page, Problem, ProblemCode, RunnerId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::once::{IdempotencyKey, Once};
use super::shown_once::Tokened;
use super::{Created, check_name, no_such};
use crate::admission;
use crate::auth::Auth;
use crate::db::{Tx, runners};
use crate::error::ApiResult;
use crate::http::extract::{Body, Path, parse_json};
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::state::AppState;

const RUNNERS: Tokened = Tokened { collection: "/v1/runners", kind: TokenKind::Runner };

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// List the organization's runners and the platform's, newest first.
#[utoipa::path(get, path = "/v1/runners", tag = "identity", operation_id = "listRunners",
    responses((status = 200, body = Page<RunnerInfo>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Auth) -> ApiResult<axum::Json<Page<RunnerInfo>>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let mut items = runners::list(&mut tx, Duration::from_secs(state.config.lease_seconds)).await?;
    tx.commit().await?;
    let ids: Vec<RunnerId> = items.iter().map(|runner| runner.id).collect();
    let busy = admission::busy(&state.db, &ids).await?;
    for runner in &mut items {
        runner.busy = busy.get(&runner.id).copied().unwrap_or_default();
    }
    Ok(axum::Json(Page { items, next: None }))
}

/// Make a runner of the organization. Its token is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/runners", tag = "identity", operation_id = "createRunner",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = CreateRunner,
    responses((status = 201, body = WithToken<RunnerInfo>, headers(("Location" = String, description = "The runner's address."))),
        Authenticated, JsonBody, Conflict))]
async fn create(
    State(state): State<AppState>,
    auth: Auth,
    key: IdempotencyKey,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    auth.whole_organization()?;
    let CreateRunner { name } = parse_json(&headers, &body)?;
    check_name(&name)?;
    let once = Once::new(&auth, "POST /v1/runners", &key, &[&body]);
    let (id, org) = (RunnerId::new(), auth.org);
    let insert = async |tx: &mut Tx, hash| match runners::create(tx, org, id, &name, &hash).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(Problem::new(ProblemCode::Conflict)
            .detail(format!("The organization has a runner named `{name}` already."))
            .hint("Choose another name.")
            .into()),
        made => Ok(made?),
    };
    RUNNERS.make(&state, &auth, &once, id, insert).await
}

/// Revoke a runner: its token is refused everywhere within a minute, and what it had not started goes to others.
#[utoipa::path(delete, path = "/v1/runners/{id}", tag = "identity", operation_id = "revokeRunner",
    params(("id" = RunnerId, Path)),
    responses((status = 204, description = "It is revoked."), Authenticated, NotFound))]
async fn revoke(State(state): State<AppState>, auth: Auth, Path(id): Path<RunnerId>) -> ApiResult<StatusCode> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    if !runners::revoke(&mut tx, auth.org, id).await? {
        return Err(no_such("runner", id));
    }
    tx.commit().await?;
    state.credentials.runners.forget(|auth| auth.runner == id);
    Ok(StatusCode::NO_CONTENT)
}
