//! Authorization codes (RFC 6749, section 4.1).

use ckrv_types::identity::Scope;
use ckrv_types::{LoginId, OrgId, UserId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};

use super::decode;
use crate::auth::tokens::TokenHash;

/// What a code is made of.
pub struct NewAuthorizationCode<'a> {
    pub code_hash: TokenHash,
    pub client: &'a str,
    pub redirect_uri: &'a str,
    pub challenge: &'a str,
    pub scopes: &'a [Scope],
    pub user: UserId,
    pub org: OrgId,
    pub host: &'a str,
    pub address: &'a str,
}

pub async fn insert(
    system: &mut PgConnection,
    new: &NewAuthorizationCode<'_>,
    life_seconds: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into authorization_codes
             (code_hash, client, redirect_uri, challenge, scopes, user_id, org_id, host, address, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, clock_timestamp() + make_interval(secs => $10))",
    )
    .bind(&new.code_hash[..])
    .bind(new.client)
    .bind(new.redirect_uri)
    .bind(new.challenge)
    .bind(decode::scope_names(new.scopes))
    .bind(new.user.uuid())
    .bind(new.org.uuid())
    .bind(new.host)
    .bind(new.address)
    .bind(f64::from(life_seconds))
    .execute(system)
    .await
    .map(drop)
}

/// A code that was given out.
pub struct AuthorizationCode {
    pub client: String,
    pub redirect_uri: String,
    pub challenge: String,
    pub scopes: Vec<Scope>,
    pub user: UserId,
    pub org: OrgId,
    pub host: String,
    pub address: String,
    /// The login that it was redeemed for.
    pub login: Option<LoginId>,
    pub expired: bool,
}

#[derive(FromRow)]
struct CodeRow {
    client: String,
    redirect_uri: String,
    challenge: String,
    scopes: Vec<String>,
    user_id: Uuid,
    org_id: Uuid,
    host: String,
    address: String,
    login_id: Option<Uuid>,
    expired: bool,
}

impl From<CodeRow> for AuthorizationCode {
    fn from(row: CodeRow) -> Self {
        Self {
            client: row.client,
            redirect_uri: row.redirect_uri,
            challenge: row.challenge,
            scopes: decode::scopes(&row.scopes),
            user: UserId::from_uuid(row.user_id),
            org: OrgId::from_uuid(row.org_id),
            host: row.host,
            address: row.address,
            login: row.login_id.map(LoginId::from_uuid),
            expired: row.expired,
        }
    }
}

/// The code, which nobody else can redeem until the transaction's end.
pub async fn lock(system: &mut PgConnection, code_hash: &TokenHash) -> Result<Option<AuthorizationCode>, sqlx::Error> {
    // Two statements: a clock that is read in the first may be from before the lock was had.
    sqlx::query("select from authorization_codes where code_hash = $1 for update")
        .bind(&code_hash[..])
        .execute(&mut *system)
        .await?;
    let row: Option<CodeRow> = sqlx::query_as(
        "select client, redirect_uri, challenge, scopes, user_id, org_id, host, address, login_id,
            expires_at <= clock_timestamp() as expired
         from authorization_codes where code_hash = $1",
    )
    .bind(&code_hash[..])
    .fetch_optional(system)
    .await?;
    Ok(row.map(AuthorizationCode::from))
}

/// Notes that the login was issued.
pub async fn redeem(system: &mut PgConnection, code_hash: &TokenHash, login: LoginId) -> Result<(), sqlx::Error> {
    sqlx::query("update authorization_codes set login_id = $2 where code_hash = $1")
        .bind(&code_hash[..])
        .bind(login.uuid())
        .execute(system)
        .await
        .map(drop)
}
