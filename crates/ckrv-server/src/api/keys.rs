//! API keys of the organization. Who may manage sees all of them, others their own; a credential that is limited to some
//! projects manages none.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use ckrv_types::identity::{ApiKey, CreateKey, RotateKey, Scope, WithToken};
use ckrv_types::token::TokenKind;
use ckrv_types::{KeyId, Page, Problem, ProblemCode, limits};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use super::authority::{granter_of_own, note};
use super::once::{IdempotencyKey, Once};
use super::shown_once::{Shown, Tokened};
use super::{Created, check_name, invalid, no_such};
use crate::auth::rules::KeyOf;
use crate::auth::{Auth, Caller, KeyOwner, Read};
use crate::db::keys::{self, NewKey};
use crate::db::{Tx, members, service_accounts};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Body, Path, parse_json};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;

const KEYS: Tokened = Tokened { collection: "/v1/keys", shown: Shown::Token(TokenKind::Live) };

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke)).routes(routes!(rotate))
}

/// List API keys, newest first, without their tokens: with the scope `manage` all of the organization, otherwise one's own.
#[utoipa::path(get, path = "/v1/keys", tag = "identity", operation_id = "listKeys",
    responses((status = 200, body = Page<ApiKey>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<Page<ApiKey>>> {
    auth.whole_organization()?;
    let of = (!auth.scopes.contains(&Scope::Manage)).then(|| auth.principal.owner());
    let mut tx = state.db.tenant(auth.org).await?;
    Ok(axum::Json(Page { items: keys::list(&mut tx, of).await?, next: None }))
}

/// Make an API key. Its token is in this answer and nowhere else.
///
/// A person's program may make keys for that person; other keys take the scope `manage`. No key has more than who makes it.
#[utoipa::path(post, path = "/v1/keys", tag = "identity", operation_id = "createKey",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = CreateKey,
    responses((status = 201, body = WithToken<ApiKey>, headers(("Location" = String, description = "The key's address."))),
        Authenticated, JsonBody, Conflict))]
async fn create(
    State(state): State<AppState>,
    auth: Caller<Read>,
    key: IdempotencyKey,
    address: ClientAddress,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    auth.whole_organization()?;
    let wanted: CreateKey = parse_json(&headers, &body)?;
    check_name(&wanted.name)?;
    check_days(wanted.expires_in_days)?;
    if wanted.projects.len() > limits::KEY_PROJECTS {
        return Err(invalid("projects", format!("at most {}", limits::KEY_PROJECTS)));
    }
    let once = Once::new(&auth, "POST /v1/keys", &key, &[&body]);
    let (id, org) = (KeyId::new(), auth.org);
    let insert = async |tx: &mut Tx, hash| {
        let granter = granter_of_own(tx, &auth).await?;
        let (of, owner) = match wanted.service_account {
            None => (KeyOf::Own, auth.principal.owner()),
            Some(account) => {
                let known = service_accounts::get(tx, account).await?;
                let known = known.ok_or_else(|| invalid("service_account", "there is no such service account"))?;
                (KeyOf::ServiceAccount(known.role), KeyOwner::ServiceAccount(account))
            }
        };
        let scopes = wanted.scopes.clone().unwrap_or_else(|| granter.all_for(of));
        granter.makes_key(of, &scopes)?;
        let new = NewKey {
            id,
            org,
            owner,
            name: &wanted.name,
            scopes: &unique(scopes),
            projects: &wanted.projects,
            hash,
            expires_in_days: wanted.expires_in_days,
            rotated_from: None,
        };
        let made = insert(tx, &new).await?;
        check_number(tx, owner).await?;
        note(tx, &auth, address, "key.created", id, detail(&made)).await?;
        Ok(made)
    };
    KEYS.make(&state, &auth, &once, id, insert).await
}

/// Make a key in the place of another, with the same rights. Its token is in this answer and nowhere else; the old one is good
/// for a while yet.
#[utoipa::path(post, path = "/v1/keys/{id}/rotate", tag = "identity", operation_id = "rotateKey",
    params(("id" = KeyId, Path),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = RotateKey,
    responses((status = 201, body = WithToken<ApiKey>, headers(("Location" = String, description = "The new key's address."))),
        Authenticated, JsonBody, NotFound, Conflict))]
async fn rotate(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Path(old): Path<KeyId>,
    key: IdempotencyKey,
    address: ClientAddress,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    auth.whole_organization()?;
    let RotateKey { overlap_seconds, expires_in_days } = parse_json(&headers, &body)?;
    check_days(expires_in_days)?;
    let overlap = overlap_seconds.unwrap_or(limits::KEY_OVERLAP_DEFAULT);
    if overlap > limits::KEY_OVERLAP_MAX {
        return Err(invalid("overlap_seconds", format!("at most {}", limits::KEY_OVERLAP_MAX)));
    }
    let name = old.to_string();
    let once = Once::new(&auth, "POST /v1/keys/{id}/rotate", &key, &[name.as_bytes(), &body]);
    let (id, org) = (KeyId::new(), auth.org);
    let insert = async |tx: &mut Tx, hash| {
        let granter = granter_of_own(tx, &auth).await?;
        let (known, of) = visible(tx, &auth, old).await?;
        let scopes: Vec<Scope> =
            known.scopes.iter().copied().filter(|scope| granter.owners_role(of).allows(*scope)).collect();
        granter.makes_key(of, &scopes)?;
        granter.revokes_key(of)?;
        if !keys::may_rotate(tx, old).await? {
            return Err(Problem::new(ProblemCode::Conflict)
                .detail("This key has expired, was revoked, or has a successor already.")
                .hint("Make a new key: ckrv key create NAME")
                .into());
        }
        let new = NewKey {
            id,
            org,
            owner: owner(&known)?,
            name: &known.name,
            scopes: &scopes,
            projects: &known.projects,
            hash,
            expires_in_days,
            rotated_from: Some(old),
        };
        insert(tx, &new).await?;
        keys::hand_over(tx, old, id, overlap, expires_in_days.is_none()).await?;
        // With an overlap both are good.
        check_number(tx, new.owner).await?;
        note(tx, &auth, address, "key.rotated", old, json!({ "to": id, "overlap_seconds": overlap })).await?;
        keys::get(tx, id).await?.ok_or(ApiError::Internal("a key was made and is not there"))
    };
    let made = KEYS.make(&state, &auth, &once, id, insert).await?;
    if overlap == 0 {
        state.credentials.callers.forget(|known| known.principal.key() == Some(old));
    }
    Ok(made)
}

/// Revoke an API key. It is refused everywhere within a minute.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "identity", operation_id = "revokeKey",
    params(("id" = KeyId, Path)),
    responses((status = 204, description = "It is revoked."), Authenticated, NotFound))]
async fn revoke(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Path(id): Path<KeyId>,
    address: ClientAddress,
) -> ApiResult<StatusCode> {
    auth.whole_organization()?;
    let mut tx = state.db.tenant(auth.org).await?;
    let granter = granter_of_own(&mut tx, &auth).await?;
    let (known, of) = visible(&mut tx, &auth, id).await?;
    granter.revokes_key(of)?;
    if known.revoked_at.is_none() {
        keys::revoke(&mut tx, id).await?;
        note(&mut tx, &auth, address, "key.revoked", id, json!({ "name": known.name })).await?;
        tx.commit().await?;
    }
    state.credentials.callers.forget(|known| known.principal.key() == Some(id));
    Ok(StatusCode::NO_CONTENT)
}

/// A key that the caller may know of, and whose it is to them.
async fn visible(tx: &mut Tx, auth: &Auth, id: KeyId) -> ApiResult<(ApiKey, KeyOf)> {
    let key = keys::get(tx, id).await?.ok_or_else(|| no_such("API key", id))?;
    let owner = owner(&key)?;
    if owner == auth.principal.owner() {
        return Ok((key, KeyOf::Own));
    }
    if !auth.scopes.contains(&Scope::Manage) {
        return Err(no_such("API key", id));
    }
    let of = match owner {
        KeyOwner::User(user) => KeyOf::Person(members::standing(tx, user).await?.map(|standing| standing.role)),
        KeyOwner::ServiceAccount(account) => {
            // Whose account was removed is nobody's, and dead.
            let known = service_accounts::get(tx, account).await?;
            known.map_or(KeyOf::Person(None), |account| KeyOf::ServiceAccount(account.role))
        }
    };
    Ok((key, of))
}

fn owner(key: &ApiKey) -> ApiResult<KeyOwner> {
    let account = key.service_account.map(KeyOwner::ServiceAccount);
    key.user.map(KeyOwner::User).or(account).ok_or(ApiError::Internal("a key belongs to nobody"))
}

async fn insert(tx: &mut Tx, new: &NewKey<'_>) -> ApiResult<ApiKey> {
    match keys::create(tx, new).await {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(invalid("projects", "there is no such project"))
        }
        made => Ok(made?),
    }
}

/// Refuses where an owner has more keys now than they may.
async fn check_number(tx: &mut Tx, owner: KeyOwner) -> ApiResult<()> {
    if keys::count_good(tx, owner).await? <= limits::KEYS_PER_OWNER {
        return Ok(());
    }
    let most = limits::KEYS_PER_OWNER;
    Err(Problem::new(ProblemCode::Conflict)
        .detail(format!("There are {most} good keys of this owner, which is as many as one may have."))
        .hint("Revoke those that nothing uses any more: ckrv key list")
        .into())
}

fn detail(key: &ApiKey) -> serde_json::Value {
    let ApiKey { name, service_account, scopes, projects, .. } = key;
    json!({ "name": name, "service_account": service_account, "scopes": scopes, "projects": projects })
}

fn unique(mut scopes: Vec<Scope>) -> Vec<Scope> {
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

fn check_days(days: Option<u32>) -> ApiResult<()> {
    if days.is_none_or(|days| (1..=limits::KEY_DAYS).contains(&days)) {
        return Ok(());
    }
    Err(invalid("expires_in_days", format!("1 to {}", limits::KEY_DAYS)))
}
