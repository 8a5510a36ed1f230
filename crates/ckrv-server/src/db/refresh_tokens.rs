//! Refresh tokens of logins. Whoever changes any of a login's has locked the login.

use ckrv_types::LoginId;
use sqlx::PgConnection;
use sqlx::types::Uuid;

use super::decode;
use crate::auth::tokens::TokenHash;

/// Seconds in which a token that was used may be sent again: its answer may have been lost.
const AGAIN: f64 = 10.0;

/// Whether a token was exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    Never,
    /// So shortly before that it may be the same request again.
    Lately,
    Before,
}

/// Whose token this is, and its number.
pub async fn find(system: &mut PgConnection, hash: &TokenHash) -> Result<Option<(LoginId, u32)>, sqlx::Error> {
    let row: Option<(Uuid, i32)> = sqlx::query_as("select login_id, number from refresh_tokens where token_hash = $1")
        .bind(&hash[..])
        .fetch_optional(system)
        .await?;
    row.map(|(login, number)| Ok((LoginId::from_uuid(login), decode::number("number", number)?))).transpose()
}

/// None: it is kept no longer.
pub async fn used(system: &mut PgConnection, login: LoginId, number: u32) -> Result<Option<Used>, sqlx::Error> {
    let row: Option<(bool, bool)> = sqlx::query_as(
        "select used_at is null, coalesce(used_at > clock_timestamp() - make_interval(secs => $3), false)
         from refresh_tokens where login_id = $1 and number = $2",
    )
    .bind(login.uuid())
    .bind(number.cast_signed())
    .bind(AGAIN)
    .fetch_optional(system)
    .await?;
    Ok(row.map(|row| match row {
        (true, _) => Used::Never,
        (false, true) => Used::Lately,
        (false, false) => Used::Before,
    }))
}

pub async fn insert(
    system: &mut PgConnection,
    login: LoginId,
    number: u32,
    hash: &TokenHash,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into refresh_tokens (login_id, number, token_hash) values ($1, $2, $3)")
        .bind(login.uuid())
        .bind(number.cast_signed())
        .bind(&hash[..])
        .execute(system)
        .await
        .map(drop)
}

pub async fn note_use(system: &mut PgConnection, login: LoginId, number: u32) -> Result<(), sqlx::Error> {
    sqlx::query("update refresh_tokens set used_at = clock_timestamp() where login_id = $1 and number = $2")
        .bind(login.uuid())
        .bind(number.cast_signed())
        .execute(system)
        .await
        .map(drop)
}
