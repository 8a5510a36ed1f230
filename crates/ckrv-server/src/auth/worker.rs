//! The worker of one attempt, by tokens that the server has signed.
//!
//! A good token says nothing of the attempt's state: that it is not over is for the routes to check.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ckrv_types::token::TokenKind;
use ckrv_types::{AttemptId, OrgId};

use super::tokens::Claims;
use super::{bearer, unauthenticated, wrong_kind};
use crate::error::{ApiError, ApiResult};
use crate::state::AppState;

/// The worker that holds the attempt: the one instance that `start` has bound.
#[derive(Debug, Clone)]
pub struct WorkerAuth {
    pub org: OrgId,
    pub attempt: AttemptId,
    pub instance: String,
}

/// Somebody to whom the runner has handed the attempt; good for `start` alone.
#[derive(Debug, Clone)]
pub struct BootstrapAuth {
    pub org: OrgId,
    pub attempt: AttemptId,
}

impl FromRequestParts<AppState> for WorkerAuth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let Claims { attempt, org, instance } = claims(parts, state, TokenKind::Attempt, "an attempt's token")?;
        let instance = instance.ok_or(ApiError::Internal("an attempt's token names its instance"))?;
        Ok(Self { org, attempt, instance })
    }
}

impl FromRequestParts<AppState> for BootstrapAuth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let Claims { attempt, org, .. } = claims(parts, state, TokenKind::Bootstrap, "an attempt's bootstrap token")?;
        Ok(Self { org, attempt })
    }
}

fn claims(parts: &Parts, state: &AppState, kind: TokenKind, name: &str) -> ApiResult<Claims> {
    let token = bearer(&parts.headers)?;
    if token.kind != kind {
        return Err(wrong_kind(name));
    }
    state.signer.check(&token).ok_or_else(|| unauthenticated("This worker's token is not one of ours."))
}
