//! Requests that create: done once for each `Idempotency-Key`, however often they are sent.
//!
//! In one transaction: claim the key, do the work, keep the answer. A repeat within a day gets the first answer; the same
//! key with another request is refused; one that is still running is told to come back.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ckrv_types::{Problem, ProblemCode, limits};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::auth::Auth;
use crate::db::Tx;
use crate::db::idempotency::{self, Found, Kept, Scope};
use crate::error::{ApiError, ApiResult};
use crate::http::needs::Extracted;

const HEADER: &str = "idempotency-key";

/// The `Idempotency-Key` of a request: 1 to 255 visible ASCII characters, or none.
pub struct IdempotencyKey(Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let Some(value) = parts.headers.get(HEADER) else { return Ok(Self(None)) };
        let key = value.to_str().ok().filter(|key| {
            (1..=limits::IDEMPOTENCY_KEY_CHARS).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
        });
        match key {
            Some(key) => Ok(Self(Some(key.to_owned()))),
            None => Err(Problem::new(ProblemCode::BadRequest)
                .detail("The header Idempotency-Key needs 1 to 255 visible ASCII characters.")
                .into()),
        }
    }
}

impl Extracted for IdempotencyKey {}

/// One request that creates, as the idempotency table knows it.
pub struct Once<'a> {
    scope: Option<Scope<'a>>,
    request_hash: [u8; 32],
}

impl<'a> Once<'a> {
    /// `route`: method and path template; `parts`: all that makes up the request, in order.
    pub fn new(auth: &Auth, route: &'a str, key: &'a IdempotencyKey, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let scope = key.0.as_deref().map(|key| Scope { org: auth.org, principal: auth.principal.uuid(), route, key });
        Self { scope, request_hash: hash.finalize().into() }
    }

    /// The answer that was kept when this request was done before.
    pub async fn answered(&self, tx: &mut Tx) -> ApiResult<Option<Value>> {
        let Some(scope) = &self.scope else { return Ok(None) };
        match idempotency::claim(tx, scope).await? {
            Found::New => Ok(None),
            Found::Running => Err(ProblemCode::IdempotencyInProgress.into()),
            Found::Done { request_hash, body } => {
                let same: bool = request_hash.ct_eq(&self.request_hash).into();
                if same { Ok(Some(body)) } else { Err(mismatch()) }
            }
        }
    }

    /// Keeps the answer, for repeats.
    pub async fn keep(&self, tx: &mut Tx, body: &Value) -> ApiResult<()> {
        match self.kept(body) {
            Some(kept) => first(idempotency::store(tx, &kept).await),
            None => Ok(()),
        }
    }

    /// What is to be kept with this answer; for the statement that does the work, whose result is then for [`first`].
    pub fn kept<'b>(&'b self, body: &'b Value) -> Option<Kept<'b>> {
        self.scope.map(|scope| Kept { scope, request_hash: &self.request_hash, body })
    }
}

/// Whoever cannot keep their answer is not the first with the request.
pub fn first<T>(stored: Result<T, sqlx::Error>) -> ApiResult<T> {
    match stored {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(ProblemCode::IdempotencyInProgress.into())
        }
        stored => Ok(stored?),
    }
}

fn mismatch() -> ApiError {
    Problem::new(ProblemCode::IdempotencyMismatch)
        .detail("This Idempotency-Key was used for another request in the last 24 hours.")
        .hint("Use a new key for a new request.")
        .into()
}
