//! From a credential to who calls: by hash for API keys, by signature and the login's standing for access tokens.

use axum::http::HeaderMap;
use ckrv_types::identity::{Me, ORG_HEADER, Role, Scope};
use ckrv_types::token::{self, TokenKind};
use ckrv_types::{LoginId, Problem, ProblemCode};
use time::OffsetDateTime;

use super::caller::{Auth, Principal};
use super::tokens::{self, TokenHash};
use super::{bearer, bearer_text, unauthenticated, wrong_kind};
use crate::db::keys;
use crate::db::logins::{self, Person};
use crate::db::reach::Reach;
use crate::error::{ApiError, ApiResult};
use crate::oauth::access_tokens;
use crate::state::AppState;

/// By what somebody was let in, to ask again.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    Key(TokenHash),
    Login {
        login: LoginId,
        /// The organization, as the request named it.
        org: Option<String>,
        /// Of the access token: what it may be used for, and until when.
        scopes: Vec<Scope>,
        expires_at: OffsetDateTime,
    },
}

/// The caller, by what stands in `Authorization`.
pub(super) async fn authenticate(state: &AppState, headers: &HeaderMap) -> ApiResult<Auth> {
    let text = bearer_text(headers)?;
    if !text.starts_with(token::PREFIX) {
        return by_access_token(state, headers, text).await;
    }
    let (TokenKind::Live | TokenKind::Test) = bearer(headers)?.kind else {
        return Err(wrong_kind("an API key or an access token"));
    };
    by_key(state, tokens::hash(text)).await
}

/// What `auth` has become since it was looked up. An access token may have expired meanwhile; what counts is the login.
pub(super) async fn again(state: &AppState, auth: &Auth) -> ApiResult<Auth> {
    match &auth.credential {
        Credential::Key(hash) => by_key(state, *hash).await,
        Credential::Login { login, org, scopes, expires_at } => {
            by_login(state, *login, org.clone(), scopes.clone(), *expires_at).await
        }
    }
}

async fn by_key(state: &AppState, hash: TokenHash) -> ApiResult<Auth> {
    if let Some(auth) = state.credentials.callers.get(&hash) {
        return Ok(auth);
    }
    let found = keys::find_by_hash(state.db.system_pool(), &hash)
        .await?
        .ok_or_else(|| unauthenticated("This API key is unknown, expired or revoked, or its owner is shut out."))?;
    let auth = Auth {
        org: found.org,
        principal: Principal::Key { key: found.id, owner: found.owner },
        role: found.role,
        reach: found.reach,
        scopes: allowed(&found.scopes, found.role),
        credential: Credential::Key(hash),
    };
    state.credentials.callers.put(hash, auth.clone());
    Ok(auth)
}

fn allowed(scopes: &[Scope], role: Role) -> Vec<Scope> {
    scopes.iter().copied().filter(|scope| role.allows(*scope)).collect()
}

async fn by_access_token(state: &AppState, headers: &HeaderMap, token: &str) -> ApiResult<Auth> {
    let org = match headers.get(ORG_HEADER) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| no_such_org("…"))?.to_owned()),
    };
    // A token has no space in it: no organization is not the same as one without a name.
    let cached = tokens::hash(&org.as_ref().map_or_else(|| token.to_owned(), |org| format!("{token} {org}")));
    if let Some(auth) = state.credentials.callers.get(&cached)
        && matches!(auth.credential, Credential::Login { expires_at, .. } if expires_at > OffsetDateTime::now_utc())
    {
        return Ok(auth);
    }
    let refused = || unauthenticated("This access token is expired, or not one of this server's.");
    let claims = access_tokens::check(state, token).await?.ok_or_else(refused)?;
    let auth = by_login(state, claims.login, org, claims.scopes, claims.expires_at).await?;
    if auth.principal.user() != Some(claims.user) {
        return Err(refused());
    }
    state.credentials.callers.put(cached, auth.clone());
    Ok(auth)
}

async fn by_login(
    state: &AppState,
    login: LoginId,
    org: Option<String>,
    scopes: Vec<Scope>,
    expires_at: OffsetDateTime,
) -> ApiResult<Auth> {
    let standing = logins::standing(state.db.system_pool(), login, org.as_deref()).await?;
    let standing = standing.ok_or_else(|| unauthenticated("This login was revoked, or its account suspended."))?;
    let Some((of, role)) = standing.member else {
        return Err(match org {
            Some(org) => no_such_org(&org),
            None => unauthenticated("The account is no longer a member of the organization that this login was for."),
        });
    };
    Ok(Auth {
        org: of,
        principal: Principal::User { user: standing.user, login },
        role,
        reach: Reach::default(),
        scopes: allowed(&scopes, role),
        credential: Credential::Login { login, org, scopes, expires_at },
    })
}

/// The person who calls; none: it is an API key.
pub async fn me(state: &AppState, auth: &Auth) -> ApiResult<Option<Me>> {
    let Principal::User { user, login } = auth.principal else { return Ok(None) };
    let mut tx = state.db.system().await?;
    let person = logins::person(&mut tx, login).await?.ok_or(ProblemCode::Unauthenticated)?;
    tx.commit().await?;
    let Person { name, email, login_expires_at, memberships } = person;
    let Some(here) = memberships.iter().find(|membership| membership.org == auth.org) else {
        // What is known here may as well hold for the other paths at once.
        state.credentials.callers.forget(|known| known.principal == auth.principal);
        return Err(unauthenticated("The account is no longer a member of this organization."));
    };
    let role = here.role;
    Ok(Some(Me { id: user, name, email, role, login, login_expires_at, memberships }))
}

/// Also for one that the caller is no member of.
fn no_such_org(name: &str) -> ApiError {
    let detail = format!("There is no organization `{name}` for this account.");
    Problem::new(ProblemCode::NotFound).detail(detail).hint("`ckrv cloud whoami` lists yours.").into()
}
