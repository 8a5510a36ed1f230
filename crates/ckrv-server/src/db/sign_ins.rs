//! Sign-ins that are under way at a provider.
//!
//! A row is found by a hash over `state` and a cookie of the browser that began: who has only one of them finds nothing, and
//! the sign-in stays for whoever has both.

use ckrv_types::{Secret, UserId, limits};
use sqlx::PgConnection;
use sqlx::types::Uuid;

use crate::auth::tokens::{self, TokenHash};

/// A sign-in that has begun.
pub struct SignIn {
    /// Who vouches.
    pub provider: String,
    pub nonce: Secret,
    pub verifier: Secret,
    /// Where it leads in the end.
    pub return_to: String,
    /// Who wants to be known by it too; none: whoever it is, is to be signed in.
    pub user: Option<UserId>,
}

/// What a sign-in is filed under. Both are hex digits.
pub fn key(state: &str, cookie: &str) -> TokenHash {
    tokens::hash(&format!("{state}.{cookie}"))
}

pub async fn begin(system: &mut PgConnection, key: &TokenHash, sign_in: &SignIn) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into sign_ins (state_hash, provider, nonce, verifier, return_to, user_id, expires_at)
         values ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))",
    )
    .bind(&key[..])
    .bind(&sign_in.provider)
    .bind(sign_in.nonce.expose())
    .bind(sign_in.verifier.expose())
    .bind(&sign_in.return_to)
    .bind(sign_in.user.map(UserId::uuid))
    .bind(f64::from(limits::SIGN_IN_SECONDS))
    .execute(system)
    .await
    .map(drop)
}

/// Takes a sign-in away: it is finished once, by whatever comes of it. `None`: there is none at this provider, or it began too
/// long ago.
pub async fn take(system: &mut PgConnection, key: &TokenHash, provider: &str) -> Result<Option<SignIn>, sqlx::Error> {
    let row: Option<(String, String, String, Option<Uuid>, bool)> = sqlx::query_as(
        "delete from sign_ins where state_hash = $1 and provider = $2
         returning nonce, verifier, return_to, user_id, expires_at > now()",
    )
    .bind(&key[..])
    .bind(provider)
    .fetch_optional(system)
    .await?;
    Ok(row.filter(|(.., in_time)| *in_time).map(|(nonce, verifier, return_to, user, _)| SignIn {
        provider: provider.to_owned(),
        nonce: Secret::new(nonce),
        verifier: Secret::new(verifier),
        return_to,
        user: user.map(UserId::from_uuid),
    }))
}
