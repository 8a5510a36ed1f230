//! Sign-ins that are under way at a provider.
//!
//! A row is found by a hash over `state` and a cookie of the browser that began: who has only one of them finds nothing, and
//! the sign-in stays for whoever has both.

use ckrv_types::{UserId, limits};
use sqlx::PgConnection;
use sqlx::types::Uuid;

use crate::auth::tokens::{self, TokenHash};

/// A sign-in as it is kept.
pub struct Kept {
    /// What comes back has to fit, and where it leads; sealed.
    pub sealed: Vec<u8>,
    /// Who wants to be known by it too; none: whoever it is, is to be signed in.
    pub user: Option<UserId>,
}

/// What a sign-in is filed under. Both are hex digits.
pub fn key(state: &str, cookie: &str) -> TokenHash {
    tokens::hash(&format!("{state}.{cookie}"))
}

pub async fn begin(system: &mut PgConnection, key: &TokenHash, provider: &str, kept: &Kept) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into sign_ins (state_hash, provider, sealed, user_id, expires_at)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5))",
    )
    .bind(&key[..])
    .bind(provider)
    .bind(&kept.sealed)
    .bind(kept.user.map(UserId::uuid))
    .bind(f64::from(limits::SIGN_IN_SECONDS))
    .execute(system)
    .await
    .map(drop)
}

/// Takes a sign-in away: it is finished once, by whatever comes of it. `None`: there is none at this provider, or it began too
/// long ago.
pub async fn take(system: &mut PgConnection, key: &TokenHash, provider: &str) -> Result<Option<Kept>, sqlx::Error> {
    let row: Option<(Option<Vec<u8>>, Option<Uuid>, bool)> = sqlx::query_as(
        "delete from sign_ins where state_hash = $1 and provider = $2 returning sealed, user_id, expires_at > now()",
    )
    .bind(&key[..])
    .bind(provider)
    .fetch_optional(system)
    .await?;
    // One of the release before is not sealed, and begins again.
    let row = row.filter(|(.., in_time)| *in_time).and_then(|(sealed, user, _)| Some((sealed?, user)));
    Ok(row.map(|(sealed, user)| Kept { sealed, user: user.map(UserId::from_uuid) }))
}
