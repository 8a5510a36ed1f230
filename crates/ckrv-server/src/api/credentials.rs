//! Credentials for jobs. Their secrets come in here and never go out: answers have everything else.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ckrv_types::credential::{CreateCredential, Credential, ReplaceSecret};
use ckrv_types::{CredentialId, Page, Problem, ProblemCode, limits};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use super::authority::{granter, note};
use super::once::{IdempotencyKey, Once};
use super::{Created, invalid, invalid_fields, no_such, to_value};
use crate::auth::{Caller, Manage};
use crate::db::credentials;
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Body, Json, Path, parse_json};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;
use crate::vault::envelope::Bound;
use crate::vault::rules::{self, GoodSecret};

const COLLECTION: &str = "/v1/credentials";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(remove)).routes(routes!(replace))
}

/// List the organization's credentials by name, without their secrets.
#[utoipa::path(get, path = "/v1/credentials", tag = "credentials", operation_id = "listCredentials",
    responses((status = 200, body = Page<Credential>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Caller<Manage>) -> ApiResult<axum::Json<Page<Credential>>> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    Ok(axum::Json(Page { items: credentials::list(&mut tx).await?, next: None }))
}

/// Give the organization's jobs a git credential or a model key. Its secret is kept encrypted and never shown.
#[utoipa::path(post, path = "/v1/credentials", tag = "credentials", operation_id = "createCredential",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = CreateCredential,
    responses((status = 201, body = Credential, headers(("Location" = String, description = "The credential's address."))),
        Authenticated, JsonBody, Conflict))]
async fn create(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    address: ClientAddress,
    key: IdempotencyKey,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    auth.whole_organization()?;
    let new: CreateCredential = parse_json(&headers, &body)?;
    let (host, good) = rules::check(&new, state.config.repo_policy().plain_http).map_err(invalid_fields)?;
    // The hash of a body with a short password in it would give the password away.
    let body = state.signer.hash_request(&body);
    let once = Once::new(&auth, "POST /v1/credentials", &key, &[&body]);
    let bound = Bound {
        org: auth.org,
        credential: CredentialId::new(),
        version: 1,
        name: &new.name,
        kind: new.kind,
        host: &host,
        username: new.username.as_deref(),
        project: new.project,
        known_hosts: new.known_hosts.as_deref(),
    };
    let sealed = state.vault.seal(&state.db, &bound, &good.secret).await?;
    let mut tx = state.db.tenant(auth.org).await?;
    if let Some(answer) = once.answered(&mut tx).await? {
        return Ok(Created::below(COLLECTION, answer));
    }
    granter(&mut tx, &auth).await?;
    if credentials::count(&mut tx).await? >= limits::CREDENTIALS {
        return Err(too_many());
    }
    let made = credentials::insert(&mut tx, &bound, good.fingerprint.as_deref(), &sealed).await;
    let made = made.map_err(|error| refused(error, &new.name))?.ok_or_else(vanished)?;
    let detail = json!({ "name": made.name, "kind": made.kind, "host": made.host, "project": made.project });
    note(&mut tx, &auth, address, "credential.created", made.id, detail).await?;
    let answer = to_value(&made);
    once.keep(&mut tx, &answer).await?;
    tx.commit().await?;
    Ok(Created::below(COLLECTION, answer))
}

/// Put a new secret in the place of a credential's old one. Attempts that begin from now on get it.
#[utoipa::path(put, path = "/v1/credentials/{id}/secret", tag = "credentials", operation_id = "replaceSecret",
    params(("id" = CredentialId, Path)), request_body = ReplaceSecret,
    responses((status = 200, body = Credential), Authenticated, JsonBody, NotFound))]
async fn replace(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    address: ClientAddress,
    Path(id): Path<CredentialId>,
    Json(ReplaceSecret { secret }): Json<ReplaceSecret>,
) -> ApiResult<axum::Json<Credential>> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    granter(&mut tx, &auth).await?;
    let known_hosts = credentials::lock(&mut tx, id).await?.ok_or_else(|| no_such("credential", id))?;
    let known = credentials::get(&mut tx, id).await?.ok_or_else(vanished)?;
    let GoodSecret { secret, fingerprint } =
        rules::secret(known.kind, &secret.0).map_err(|message| invalid("secret", message))?;
    let bound = Bound {
        org: auth.org,
        credential: id,
        version: known.version + 1,
        name: &known.name,
        kind: known.kind,
        host: &known.host,
        username: known.username.as_deref(),
        project: known.project,
        known_hosts: known_hosts.as_deref(),
    };
    let sealed = state.vault.seal(&state.db, &bound, &secret).await?;
    let replaced = credentials::replace(&mut tx, &bound, fingerprint.as_deref(), &sealed).await;
    let replaced = replaced.map_err(|error| refused(error, &known.name))?.ok_or_else(vanished)?;
    let detail = json!({ "name": replaced.name, "version": replaced.version });
    note(&mut tx, &auth, address, "credential.replaced", id, detail).await?;
    tx.commit().await?;
    Ok(axum::Json(replaced))
}

/// Remove a credential. Attempts that begin from now on do without it; those that have it keep it until their end.
#[utoipa::path(delete, path = "/v1/credentials/{id}", tag = "credentials", operation_id = "removeCredential",
    params(("id" = CredentialId, Path)),
    responses((status = 204, description = "It is removed."), Authenticated, NotFound))]
async fn remove(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    address: ClientAddress,
    Path(id): Path<CredentialId>,
) -> ApiResult<StatusCode> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    granter(&mut tx, &auth).await?;
    let name = credentials::remove(&mut tx, id).await?.ok_or_else(|| no_such("credential", id))?;
    note(&mut tx, &auth, address, "credential.removed", id, json!({ "name": name })).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the database's own rules say of a credential.
fn refused(error: sqlx::Error, name: &str) -> ApiError {
    let Some(database) = error.as_database_error() else { return error.into() };
    if database.is_unique_violation() {
        return Problem::new(ProblemCode::Conflict)
            .detail(format!("The organization has a credential named `{name}` already."))
            .hint("Replace its secret, or choose another name.")
            .into();
    }
    if !database.is_foreign_key_violation() {
        return error.into();
    }
    if database.constraint() == Some("credentials_org_id_project_id_fkey") {
        return invalid("project", "there is no such project");
    }
    // Its data key was replaced by the operator in between.
    Problem::new(ProblemCode::Unavailable).detail("Credentials are being encrypted anew.").hint("Try again.").into()
}

fn too_many() -> ApiError {
    Problem::new(ProblemCode::Conflict)
        .detail(format!("The organization has {} credentials, which is as many as it may.", limits::CREDENTIALS))
        .hint("Remove those that no job uses any more.")
        .into()
}

fn vanished() -> ApiError {
    ApiError::Internal("a credential is not where it was put")
}
