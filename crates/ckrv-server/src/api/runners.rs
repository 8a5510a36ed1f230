//! Runners: the organization's own, and those of the platform that serve it. A key that is limited to a project manages
//! none.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ckrv_types::identity::{CreateRunner, RunnerInfo, UpdateRunner, WithToken};
use ckrv_types::runner::ANY_NAMESPACE;
use ckrv_types::token::TokenKind;
use ckrv_types::{OrgId, Page, Problem, ProblemCode, ProjectId, RunnerId, limits, spec};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use super::authority::{granter, note};
use super::once::{IdempotencyKey, Once};
use super::shown_once::{Shown, Tokened};
use super::{Created, check_name, invalid, no_such};
use crate::admission;
use crate::auth::{Caller, Manage, Read};
use crate::db::{Tx, runners};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Body, Json, Path, parse_json};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;

const RUNNERS: Tokened = Tokened { collection: "/v1/runners", shown: Shown::Token(TokenKind::Runner) };

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(update, revoke))
}

/// List the organization's runners and the platform's, newest first.
#[utoipa::path(get, path = "/v1/runners", tag = "identity", operation_id = "listRunners",
    responses((status = 200, body = Page<RunnerInfo>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<Page<RunnerInfo>>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let mut items = runners::list(&mut tx, lease(&state)).await?;
    tx.commit().await?;
    let ids: Vec<RunnerId> = items.iter().map(|runner| runner.id).collect();
    let busy = admission::busy(&state.db, &ids).await?;
    for runner in &mut items {
        runner.allow.retain(|_, project| auth.reach.covers(*project));
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
    auth: Caller<Manage>,
    key: IdempotencyKey,
    address: ClientAddress,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    auth.whole_organization()?;
    let CreateRunner { name, allow } = parse_json(&headers, &body)?;
    check_name(&name)?;
    check_allowed(&allow)?;
    let once = Once::new(&auth, "POST /v1/runners", &key, &[&body]);
    let (id, org) = (RunnerId::new(), auth.org);
    let insert = async |tx: &mut Tx, hash| {
        granter(tx, &auth).await?;
        match runners::create(tx, org, id, &name, &hash).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Err(taken(&name)),
            made => made?,
        }
        set_allowed(tx, org, id, &allow).await?;
        note(tx, &auth, address, "runner.created", id, json!({ "name": name, "allow": allow })).await?;
        runners::get(tx, id, lease(&state)).await?.ok_or(ApiError::Internal("a runner was made and is not there"))
    };
    RUNNERS.make(&state, &auth, &once, id, insert).await
}

/// Say anew of which namespaces of its cluster a runner may hand in jobs, and into which projects they go.
///
/// Jobs that were handed in before stay where they are.
#[utoipa::path(patch, path = "/v1/runners/{id}", tag = "identity", operation_id = "updateRunner",
    params(("id" = RunnerId, Path)), request_body = UpdateRunner,
    responses((status = 200, body = RunnerInfo), Authenticated, JsonBody, NotFound))]
async fn update(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    Path(id): Path<RunnerId>,
    address: ClientAddress,
    Json(UpdateRunner { allow }): Json<UpdateRunner>,
) -> ApiResult<axum::Json<RunnerInfo>> {
    auth.whole_organization()?;
    check_allowed(&allow)?;
    let mut tx = state.db.tenant(auth.org).await?;
    granter(&mut tx, &auth).await?;
    let mut known = runners::get(&mut tx, id, lease(&state)).await?.ok_or_else(|| no_such("runner", id))?;
    if known.platform {
        return Err(Problem::new(ProblemCode::Forbidden)
            .detail("A runner of the platform hands in no jobs.")
            .hint("Make a runner of the organization: ckrv runner create NAME --allow NAMESPACE=PROJECT")
            .into());
    }
    runners::disallow(&mut tx, id).await?;
    set_allowed(&mut tx, auth.org, id, &allow).await?;
    let detail = json!({ "name": known.name, "allow": allow, "allowed": known.allow });
    note(&mut tx, &auth, address, "runner.changed", id, detail).await?;
    tx.commit().await?;
    state.wake.notify_runner(id);
    known.busy = admission::busy(&state.db, &[id]).await?.get(&id).copied().unwrap_or_default();
    Ok(axum::Json(RunnerInfo { allow, ..known }))
}

/// Revoke a runner: its token is refused everywhere within a minute, and what it had not started goes to others.
#[utoipa::path(delete, path = "/v1/runners/{id}", tag = "identity", operation_id = "revokeRunner",
    params(("id" = RunnerId, Path)),
    responses((status = 204, description = "It is revoked."), Authenticated, NotFound))]
async fn revoke(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    Path(id): Path<RunnerId>,
    address: ClientAddress,
) -> ApiResult<StatusCode> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    granter(&mut tx, &auth).await?;
    match runners::revoke(&mut tx, auth.org, id).await? {
        None => return Err(no_such("runner", id)),
        Some(false) => {}
        Some(true) => note(&mut tx, &auth, address, "runner.revoked", id, json!({})).await?,
    }
    tx.commit().await?;
    state.credentials.runners.forget(|auth| auth.runner == id);
    Ok(StatusCode::NO_CONTENT)
}

async fn set_allowed(tx: &mut Tx, org: OrgId, id: RunnerId, allow: &BTreeMap<String, ProjectId>) -> ApiResult<()> {
    match runners::allow(tx, org, id, allow).await {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(invalid("allow", "there is no such project"))
        }
        set => Ok(set?),
    }
}

fn check_allowed(allow: &BTreeMap<String, ProjectId>) -> ApiResult<()> {
    let is_namespace = |name: &String| name == ANY_NAMESPACE || spec::is_name(name);
    if allow.len() <= limits::RUNNER_NAMESPACES && allow.keys().all(is_namespace) {
        return Ok(());
    }
    Err(invalid("allow", format!("at most {} names of namespaces, or `*`", limits::RUNNER_NAMESPACES)))
}

fn taken(name: &str) -> ApiError {
    Problem::new(ProblemCode::Conflict)
        .detail(format!("The organization has a runner named `{name}` already."))
        .hint("Choose another name.")
        .into()
}

fn lease(state: &AppState) -> Duration {
    Duration::from_secs(state.config.lease_seconds)
}
