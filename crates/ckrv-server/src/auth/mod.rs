//! Who is asking. One extractor per protocol; a handler without one is public, so each must name one.
//!
//! - [`Caller`]: a person's program by an access token, or a program by an API key. The handler's signature says what it
//!   must be allowed to do. Sees its organization, or some projects of it; each request is charged to its rate limit.
//! - [`RunnerAuth`]: a runner by its token.
//! - [`WorkerAuth`], [`BootstrapAuth`]: the worker of one attempt, by tokens that are checked without a look-up.
//!
//! Refused is whoever is not found: deny by default. What belongs to somebody else is not there (404), never forbidden.

mod cache;
mod caller;
mod lasting;
mod look_up;
pub mod passwords;
pub mod rules;
mod runner;
pub mod tokens;
mod worker;

use axum::http::{HeaderMap, header};
use ckrv_types::token::{self, ParsedToken};
use ckrv_types::{Problem, ProblemCode};

pub use cache::Cache;
pub use caller::{Auth, Caller, KeyOwner, Manage, Permission, Principal, Read, Run};
pub use lasting::Lasting;
pub use look_up::me;
pub use runner::RunnerAuth;
pub use worker::{BootstrapAuth, WorkerAuth};

use crate::error::{ApiError, ApiResult};

/// Credentials found lately.
#[derive(Default)]
pub struct Credentials {
    pub callers: Cache<Auth>,
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
