//! Service accounts: members that are no persons, which keys may stand for.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ckrv_types::identity::{CreateServiceAccount, ServiceAccount, UpdateServiceAccount};
use ckrv_types::{Page, Problem, ProblemCode, ServiceAccountId, limits};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use super::authority::{granter, note, revoke_invitations};
use super::once::{IdempotencyKey, Once};
use super::{Created, check_name, no_such, to_value};
use crate::auth::rules::Standing;
use crate::auth::{Caller, KeyOwner, Manage, Read};
use crate::db::{Tx, service_accounts};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Body, Json, Path, parse_json};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;

const COLLECTION: &str = "/v1/service-accounts";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(update, remove))
}

/// List the organization's service accounts, by name.
#[utoipa::path(get, path = "/v1/service-accounts", tag = "teams", operation_id = "listServiceAccounts",
    responses((status = 200, body = Page<ServiceAccount>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<Page<ServiceAccount>>> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    Ok(axum::Json(Page { items: service_accounts::list(&mut tx).await?, next: None }))
}

/// Make a service account. It does nothing yet: make it a key.
#[utoipa::path(post, path = "/v1/service-accounts", tag = "teams", operation_id = "createServiceAccount",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = CreateServiceAccount,
    responses((status = 201, body = ServiceAccount, headers(("Location" = String, description = "The account's address."))),
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
    let CreateServiceAccount { name, role } = parse_json(&headers, &body)?;
    check_name(&name)?;
    let once = Once::new(&auth, "POST /v1/service-accounts", &key, &[&body]);
    let mut tx = state.db.tenant(auth.org).await?;
    if let Some(answer) = once.answered(&mut tx).await? {
        return Ok(Created::below(COLLECTION, answer));
    }
    granter(&mut tx, &auth).await?.grants_role(role)?;
    if service_accounts::count(&mut tx).await? >= limits::SERVICE_ACCOUNTS {
        return Err(too_many());
    }
    let id = ServiceAccountId::new();
    match service_accounts::create(&mut tx, auth.org, id, &name, role).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Err(taken(&name)),
        made => made?,
    }
    note(&mut tx, &auth, address, "service-account.created", id, json!({ "name": name, "role": role })).await?;
    let body = to_value(&existing(&mut tx, id).await?);
    once.keep(&mut tx, &body).await?;
    tx.commit().await?;
    Ok(Created::below(COLLECTION, body))
}

/// Give a service account another role, or suspend it: while it is, none of its keys is good.
#[utoipa::path(patch, path = "/v1/service-accounts/{id}", tag = "teams", operation_id = "updateServiceAccount",
    params(("id" = ServiceAccountId, Path)), request_body = UpdateServiceAccount,
    responses((status = 200, body = ServiceAccount), Authenticated, JsonBody, NotFound))]
async fn update(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    Path(id): Path<ServiceAccountId>,
    address: ClientAddress,
    Json(wanted): Json<UpdateServiceAccount>,
) -> ApiResult<axum::Json<ServiceAccount>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let granter = granter(&mut tx, &auth).await?;
    let known = existing(&mut tx, id).await?;
    let before = Standing { role: known.role, suspended: known.suspended_at.is_some() };
    let after = before.with(wanted.role, wanted.suspended);
    granter.changes_role(before.role, after.role)?;
    if after != before {
        service_accounts::set(&mut tx, id, after).await?;
        for (action, detail) in before.acts("service-account", "changed", after) {
            note(&mut tx, &auth, address, &action, id, detail).await?;
        }
        revoke_invitations(&mut tx, &auth, address, KeyOwner::ServiceAccount(id), Some(after.role)).await?;
    }
    let changed = existing(&mut tx, id).await?;
    tx.commit().await?;
    state.credentials.callers.forget(|known| known.principal.service_account() == Some(id));
    Ok(axum::Json(changed))
}

/// Remove a service account, and revoke its keys.
#[utoipa::path(delete, path = "/v1/service-accounts/{id}", tag = "teams", operation_id = "removeServiceAccount",
    params(("id" = ServiceAccountId, Path)),
    responses((status = 204, description = "It is removed."), Authenticated, NotFound))]
async fn remove(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    Path(id): Path<ServiceAccountId>,
    address: ClientAddress,
) -> ApiResult<StatusCode> {
    let mut tx = state.db.tenant(auth.org).await?;
    let granter = granter(&mut tx, &auth).await?;
    let known = existing(&mut tx, id).await?;
    granter.manages(known.role)?;
    service_accounts::remove(&mut tx, id).await?;
    let detail = json!({ "name": known.name, "keys": known.keys });
    note(&mut tx, &auth, address, "service-account.removed", id, detail).await?;
    revoke_invitations(&mut tx, &auth, address, KeyOwner::ServiceAccount(id), None).await?;
    tx.commit().await?;
    state.credentials.callers.forget(|known| known.principal.service_account() == Some(id));
    Ok(StatusCode::NO_CONTENT)
}

async fn existing(tx: &mut Tx, id: ServiceAccountId) -> ApiResult<ServiceAccount> {
    service_accounts::get(tx, id).await?.ok_or_else(|| no_such("service account", id))
}

fn too_many() -> ApiError {
    let most = limits::SERVICE_ACCOUNTS;
    Problem::new(ProblemCode::Conflict)
        .detail(format!("The organization has {most} service accounts, which is as many as it may."))
        .hint("Remove those that nothing uses any more: ckrv service-account list")
        .into()
}

fn taken(name: &str) -> ApiError {
    Problem::new(ProblemCode::Conflict)
        .detail(format!("The organization has a service account named `{name}` already."))
        .hint("Choose another name.")
        .into()
}
