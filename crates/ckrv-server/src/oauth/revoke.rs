//! The end of a login: by its program (RFC 7009), by its user, or because one of its tokens was in two hands.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use ckrv_types::{LoginId, UserId};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::errors::{NOT_KEPT, OAuthError, OAuthResult, Refusal};
use super::form::Asked;
use super::{access_tokens, paths};
use crate::auth::{Principal, tokens};
use crate::db::audit::{self, Actor, Entry};
use crate::db::logins::{self, Reason};
use crate::db::{Tx, refresh_tokens};
use crate::error::ApiResult;
use crate::http::needs::routes;
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(revoke))
}

/// RFC 7009, section 2.1.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form, which is read by name")]
struct RevocationRequest {
    client_id: String,
    /// Any token of the login.
    token: String,
    /// Not needed: a token's form says what it is.
    #[schema(required = false)]
    token_type_hint: String,
}

/// End the login that a token, of either kind, belongs to. It is refused everywhere within a minute (RFC 7009).
#[utoipa::path(post, path = paths::REVOKE, tag = "oauth", operation_id = "revoke",
    request_body(content = RevocationRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token is good for nothing, or never was for anything."),
        (status = 400, body = OAuthError, description = "The request was refused."),
        (status = 401, body = OAuthError, description = "There is no such client."),
        (status = 413, body = OAuthError, description = "The form is too large."),
        (status = 500, body = OAuthError, description = "A fault on the server's side."),
        (status = 503, body = OAuthError, description = "The database is away for the moment.")))]
async fn revoke(State(state): State<AppState>, asked: Asked) -> OAuthResult<[(HeaderName, HeaderValue); 2]> {
    let token = asked.params.required("token", "token is missing.")?;
    if let Some(id) = login_of(&state, token).await? {
        let mut tx = state.db.system().await?;
        if let Some(login) = logins::lock(&mut tx, id).await? {
            if login.client != asked.client.id {
                return Err(Refusal::GRANT.into());
            }
            end(&state, tx, id, Reason::Client, Actor::User(login.user), &asked.address).await?;
        }
    }
    Ok(NOT_KEPT)
}

async fn login_of(state: &AppState, token: &str) -> ApiResult<Option<LoginId>> {
    let mut tx = state.db.system().await?;
    let found = refresh_tokens::find(&mut tx, &tokens::hash(token)).await?;
    tx.commit().await?;
    match found {
        Some((login, _)) => Ok(Some(login)),
        None => Ok(access_tokens::check(state, token).await?.map(|claims| claims.login)),
    }
}

/// Ends a login of this person, at their word. `false`: they have none of this id that stands.
pub async fn by_user(state: &AppState, user: UserId, login: LoginId, address: &str) -> ApiResult<bool> {
    let mut tx = state.db.system().await?;
    if logins::lock(&mut tx, login).await?.is_none_or(|found| found.user != user) {
        return Ok(false);
    }
    end(state, tx, login, Reason::User, Actor::User(user), address).await
}

/// Ends a login and commits. `false`: it had ended before, or is not there.
pub(super) async fn end(
    state: &AppState,
    mut tx: Tx,
    login: LoginId,
    reason: Reason,
    by: Actor,
    address: &str,
) -> ApiResult<bool> {
    logins::lock(&mut tx, login).await?;
    let Some(org) = logins::revoke(&mut tx, login, reason).await? else { return Ok(false) };
    let entry = Entry {
        org: Some(org),
        actor: by,
        action: "login.revoked",
        subject: Some(login.to_string()),
        address: Some(address),
        detail: json!({ "for": reason.as_str() }),
    };
    audit::write(&mut tx, &entry).await?;
    tx.commit().await?;
    let of_it = |principal| matches!(principal, Principal::User { login: of, .. } if of == login);
    state.credentials.callers.forget(|auth| of_it(auth.principal));
    Ok(true)
}
