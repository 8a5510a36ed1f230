//! API keys of the organization. A key that is limited to a project manages none.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ckrv_types::identity::{ApiKey, CreateKey, WithToken};
use ckrv_types::token::TokenKind;
use ckrv_types::{KeyId, Page};
use utoipa_axum::router::OpenApiRouter;

use super::once::{IdempotencyKey, Once};
use super::shown_once::Tokened;
use super::{Created, check_name, invalid, no_such};
use crate::auth::{Caller, KeyOwner, Manage, Principal, Read};
use crate::db::Tx;
use crate::db::keys::{self, NewKey};
use crate::error::ApiResult;
use crate::http::extract::{Body, Path, parse_json};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::state::AppState;

const KEYS: Tokened = Tokened { collection: "/v1/keys", kind: TokenKind::Live };
/// A hundred years are as good as for ever.
const DAYS_MAX: u32 = 36_500;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

/// List the organization's API keys, newest first, without their tokens.
#[utoipa::path(get, path = "/v1/keys", tag = "identity", operation_id = "listKeys",
    responses((status = 200, body = Page<ApiKey>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<Page<ApiKey>>> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    Ok(axum::Json(Page { items: keys::list(&mut tx).await?, next: None }))
}

/// Make an API key. Its token is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/keys", tag = "identity", operation_id = "createKey",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = CreateKey,
    responses((status = 201, body = WithToken<ApiKey>, headers(("Location" = String, description = "The key's address."))),
        Authenticated, JsonBody, Conflict))]
async fn create(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    key: IdempotencyKey,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    auth.whole_organization()?;
    let wanted: CreateKey = parse_json(&headers, &body)?;
    check_name(&wanted.name)?;
    if wanted.expires_in_days.is_some_and(|days| days == 0 || days > DAYS_MAX) {
        return Err(invalid("expires_in_days", format!("1 to {DAYS_MAX}")));
    }
    let scopes = wanted.scopes.clone().unwrap_or_else(|| auth.scopes.clone());
    if let Some(more) = scopes.iter().find(|scope| !auth.scopes.contains(scope)) {
        return Err(invalid("scopes", format!("`{more}` is more than the credential may itself")));
    }
    let owner = match (wanted.service_account, auth.principal) {
        (Some(account), _) => KeyOwner::ServiceAccount(account),
        (None, Principal::Key { owner, .. }) => owner,
        (None, Principal::User { user, .. }) => KeyOwner::User(user),
    };
    let once = Once::new(&auth, "POST /v1/keys", &key, &[&body]);
    let (id, org) = (KeyId::new(), auth.org);
    let insert = async |tx: &mut Tx, hash| {
        let new = NewKey {
            id,
            org,
            owner,
            name: &wanted.name,
            scopes: &scopes,
            projects: &wanted.projects,
            hash,
            expires_in_days: wanted.expires_in_days,
            rotated_from: None,
        };
        match keys::create(tx, &new).await {
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                Err(invalid("projects", "there is no such project, or no such service account"))
            }
            made => Ok(made?),
        }
    };
    KEYS.make(&state, &auth, &once, id, insert).await
}

/// Revoke an API key. It is refused everywhere within a minute.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "identity", operation_id = "revokeKey",
    params(("id" = KeyId, Path)),
    responses((status = 204, description = "It is revoked."), Authenticated, NotFound))]
async fn revoke(State(state): State<AppState>, auth: Caller<Manage>, Path(id): Path<KeyId>) -> ApiResult<StatusCode> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    if !keys::revoke(&mut tx, id).await? {
        return Err(no_such("API key", id));
    }
    tx.commit().await?;
    state.credentials.callers.forget(|auth| auth.principal.key() == Some(id));
    Ok(StatusCode::NO_CONTENT)
}
