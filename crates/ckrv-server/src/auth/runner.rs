//! A runner by its token.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ckrv_types::token::TokenKind;
use ckrv_types::{OrgId, RunnerId};

use super::{bearer, bearer_text, tokens, unauthenticated, wrong_kind};
use crate::db::runners;
use crate::error::{ApiError, ApiResult};
use crate::state::AppState;

/// A runner whose token is good. Which instance of it asks is for the routes to check.
#[derive(Debug, Clone)]
pub struct RunnerAuth {
    pub runner: RunnerId,
    /// None: a platform runner, which serves every organization.
    pub org: Option<OrgId>,
    pub name: String,
}

impl RunnerAuth {
    /// For a token that is not good, or not any more.
    pub fn refused() -> ApiError {
        unauthenticated("This runner's token is unknown or revoked.")
    }
}

impl FromRequestParts<AppState> for RunnerAuth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let TokenKind::Runner = bearer(&parts.headers)?.kind else { return Err(wrong_kind("a runner's token")) };
        let hash = tokens::hash(bearer_text(&parts.headers)?);
        if let Some(auth) = state.credentials.runners.get(&hash) {
            return Ok(auth);
        }
        let mut tx = state.db.system().await?;
        let found = runners::find_by_hash(&mut tx, &hash).await?;
        let found = found.ok_or_else(Self::refused)?;
        let auth = Self { runner: found.id, org: found.org, name: found.name };
        state.credentials.runners.put(hash, auth.clone());
        Ok(auth)
    }
}
