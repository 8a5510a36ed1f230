//! The authorization server (OAuth 2.0, RFC 6749): people let programs act for them.
//!
//! A program asks by the device flow (RFC 8628) or by an authorization code with PKCE (RFC 7636) that comes back on loopback
//! (RFC 8252). A person decides, at the pages. From that come a *login*, which is a family of refresh tokens, and access
//! tokens that say which login they are of.
//!
//! All that can be done but once is judged under a lock, by the database's clock read after it, in one transaction with
//! what follows and with its line in the audit log. Of secrets that are given out only hashes are kept.

pub mod access_tokens;
pub mod authorize;
mod clients;
pub mod device;
mod errors;
mod form;
mod grants;
mod guesses;
mod jwt;
mod metadata;
mod pkce;
pub mod revoke;
mod scopes;
pub mod signing;
mod token;
mod user_code;

use axum::extract::DefaultBodyLimit;
use ckrv_types::{OrgId, ProblemCode, SessionId, UserId};
use utoipa_axum::router::OpenApiRouter;

use crate::db::{Tx, members};
use crate::error::ApiResult;
use crate::state::AppState;

/// Where everything is. The metadata names what is routed here.
pub mod paths {
    pub const METADATA: &str = "/.well-known/oauth-authorization-server";
    pub const JWKS: &str = "/oauth/jwks.json";
    pub const DEVICE_AUTHORIZATION: &str = "/oauth/device_authorization";
    pub const TOKEN: &str = "/oauth/token";
    pub const REVOKE: &str = "/oauth/revoke";
    /// A page: where a program sends its user's browser.
    pub const AUTHORIZE: &str = "/oauth/authorize";
    /// A page: where people type the code that their device shows.
    pub const DEVICE: &str = "/device";
}

/// Largest form, in bytes.
const FORM_BYTES: usize = 8 * 1024;

/// What programs ask. The pages, where people decide, are elsewhere.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(metadata::routes())
        .merge(device::routes())
        .merge(token::routes())
        .merge(revoke::routes())
        .layer(DefaultBodyLimit::max(FORM_BYTES))
}

/// What people call a client; one that is no longer known is called by its id.
pub fn client_name(id: &str) -> &str {
    clients::find(id).map_or(id, |client| client.name)
}

/// A person who decides what a program may do, at a page.
#[derive(Debug, Clone)]
pub struct Decider {
    pub user: UserId,
    pub session: SessionId,
    /// Where the program is to act unless it says otherwise.
    pub org: OrgId,
    pub address: String,
}

impl Decider {
    /// Refuses somebody who does not belong there (any more), as if the organization were not there.
    async fn check(&self, tx: &mut Tx) -> ApiResult<()> {
        if members::belongs(tx, self.user, self.org).await? { Ok(()) } else { Err(ProblemCode::NotFound.into()) }
    }
}
