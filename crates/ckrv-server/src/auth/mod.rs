//! Who is asking. One extractor per protocol; a handler without one is public, so each must name one.
//!
//! - [`Auth`]: a user or service by an API key. Sees its organization, or one project of it; each request is charged to
//!   the key's rate limit.
//! - [`RunnerAuth`]: a runner by its token.
//! - [`WorkerAuth`], [`BootstrapAuth`]: the worker of one attempt, by tokens that are checked without a look-up.
//!
//! Refused is whoever is not found: deny by default. What belongs to somebody else is not there (404), never forbidden.

mod cache;
mod runner;
pub mod tokens;
mod worker;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use ckrv_types::token::{self, ParsedToken, TokenKind};
use ckrv_types::{KeyId, OrgId, Problem, ProblemCode, ProjectId};

pub use cache::Cache;
pub use runner::RunnerAuth;
pub use worker::{BootstrapAuth, WorkerAuth};

use crate::db::keys;
use crate::error::{ApiError, ApiResult};
use crate::http::rate::charge_key;
use crate::state::AppState;
use tokens::TokenHash;

/// A caller with a good API key.
#[derive(Debug, Clone)]
pub struct Auth {
    pub org: OrgId,
    pub key: KeyId,
    /// The one project that the key is limited to.
    pub project: Option<ProjectId>,
    hash: TokenHash,
}

impl Auth {
    /// Refuses a key that is limited to a project: for what concerns the whole organization.
    pub fn whole_organization(&self) -> ApiResult<()> {
        if self.project.is_none() {
            return Ok(());
        }
        Err(Problem::new(ProblemCode::Forbidden)
            .detail("This API key is limited to one project.")
            .hint("Use a key of the whole organization.")
            .into())
    }
}

impl FromRequestParts<AppState> for Auth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let auth = authenticate(state, &parts.headers).await?;
        charge_key(state, auth.key, &parts.extensions).await?;
        Ok(auth)
    }
}

/// The caller, by the API key in `Authorization`.
async fn authenticate(state: &AppState, headers: &HeaderMap) -> ApiResult<Auth> {
    let token = bearer(headers)?;
    let (TokenKind::Live | TokenKind::Test) = token.kind else { return Err(wrong_kind("an API key")) };
    look_up(state, tokens::hash(bearer_text(headers)?)).await
}

/// Whether what `auth` stands for still holds, for streams that outlive the request's check.
pub async fn still_allowed(state: &AppState, auth: &Auth) -> ApiResult<()> {
    look_up(state, auth.hash).await.map(drop)
}

async fn look_up(state: &AppState, hash: TokenHash) -> ApiResult<Auth> {
    if let Some(auth) = state.credentials.keys.get(&hash) {
        return Ok(auth);
    }
    let mut tx = state.db.system().await?;
    let found = keys::find_by_hash(&mut tx, &hash).await?;
    tx.commit().await?;
    let found = found.ok_or_else(|| unauthenticated("This API key is unknown, expired or revoked."))?;
    let auth = Auth { org: found.org, key: found.id, project: found.project, hash };
    state.credentials.keys.put(hash, auth.clone());
    Ok(auth)
}

/// Credentials found lately.
#[derive(Default)]
pub struct Credentials {
    pub keys: Cache<Auth>,
    pub runners: Cache<RunnerAuth>,
}

/// The token in `Authorization: Bearer …` (RFC 6750, section 2.1), of good shape and checksum.
fn bearer(headers: &HeaderMap) -> ApiResult<ParsedToken<'_>> {
    token::parse(bearer_text(headers)?).map_err(|error| unauthenticated(format!("The credential is {error}.")))
}

fn bearer_text(headers: &HeaderMap) -> ApiResult<&str> {
    let missing = || unauthenticated("The request has no credential.");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?.to_str().map_err(|_| missing())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(missing()) }
}

fn wrong_kind(wanted: &str) -> ApiError {
    unauthenticated(format!("This route wants {wanted}; the token is for something else."))
}

fn unauthenticated(detail: impl Into<String>) -> ApiError {
    Problem::new(ProblemCode::Unauthenticated)
        .detail(detail)
        .hint("Send `Authorization: Bearer ck_…` with a token that is still good.")
        .into()
}
