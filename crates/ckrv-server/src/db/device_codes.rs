//! Requests of devices to be let in (RFC 8628).

use ckrv_types::identity::Scope;
use ckrv_types::{LoginId, OrgId, UserId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection, PgExecutor};
use time::OffsetDateTime;

use super::decode;
use crate::auth::tokens::TokenHash;

/// How often a code is shown to whoever typed it.
const SHOWN: i32 = 10;
/// Seconds that a code still has to live to be approved: its device polls in between, and would find it expired.
const TO_POLL: f64 = 15.0;
/// Seconds by which a poll may be early: what the network makes of a program that keeps the interval.
const LEEWAY: f64 = 0.5;
/// Seconds that a poll which is too early adds to the interval (RFC 8628, section 3.5).
const SLOWER: i32 = 5;

/// What a request is made of.
pub struct NewDeviceCode<'a> {
    pub device_hash: TokenHash,
    pub user_hash: TokenHash,
    pub client: &'a str,
    pub scopes: &'a [Scope],
    pub host: &'a str,
    pub address: &'a str,
}

/// A request as the person sees it who decides.
pub struct Request {
    pub client: String,
    pub scopes: Vec<Scope>,
    pub host: String,
    pub address: String,
    pub created_at: OffsetDateTime,
}

#[derive(FromRow)]
struct RequestRow {
    client: String,
    scopes: Vec<String>,
    host: String,
    address: String,
    created_at: OffsetDateTime,
}

impl From<RequestRow> for Request {
    fn from(row: RequestRow) -> Self {
        let RequestRow { client, scopes, host, address, created_at } = row;
        Self { client, scopes: decode::scopes(&scopes), host, address, created_at }
    }
}

/// `false`: the user's code is taken.
pub async fn insert(
    system: &mut PgConnection,
    new: &NewDeviceCode<'_>,
    life_seconds: u32,
    interval_seconds: u32,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into device_codes (device_hash, user_hash, client, scopes, host, address, expires_at, poll_interval)
         values ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7), $8)
         on conflict (user_hash) do nothing",
    )
    .bind(&new.device_hash[..])
    .bind(&new.user_hash[..])
    .bind(new.client)
    .bind(decode::scope_names(new.scopes))
    .bind(new.host)
    .bind(new.address)
    .bind(f64::from(life_seconds))
    .bind(interval_seconds.cast_signed())
    .execute(system)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The request that waits under a user's code, which is counted as shown once more. None: there is none, or it was shown
/// too often.
pub async fn look(system: &mut PgConnection, user_hash: &TokenHash) -> Result<Option<Request>, sqlx::Error> {
    let row: Option<RequestRow> = sqlx::query_as(
        "update device_codes set shown = shown + 1
         where user_hash = $1 and state = 'pending' and shown < $2 and expires_at > clock_timestamp()
         returning client, scopes, host, address, created_at",
    )
    .bind(&user_hash[..])
    .bind(SHOWN)
    .fetch_optional(system)
    .await?;
    Ok(row.map(Request::from))
}

/// Decides on a request that was shown. None: there is none that waits, or it is too late for the device to hear that it was
/// approved.
pub async fn decide(
    system: &mut PgConnection,
    user_hash: &TokenHash,
    user: UserId,
    org: OrgId,
    approve: bool,
) -> Result<Option<Request>, sqlx::Error> {
    sqlx::query("select from device_codes where user_hash = $1 for update")
        .bind(&user_hash[..])
        .execute(&mut *system)
        .await?;
    let row: Option<RequestRow> = sqlx::query_as(
        "update device_codes set state = case when $4 then 'approved' else 'denied' end, user_id = $2, org_id = $3
         where user_hash = $1 and state = 'pending' and shown > 0
             and expires_at > clock_timestamp() + make_interval(secs => case when $4 then $5 else 0 end)
         returning client, scopes, host, address, created_at",
    )
    .bind(&user_hash[..])
    .bind(user.uuid())
    .bind(org.uuid())
    .bind(approve)
    .bind(TO_POLL)
    .fetch_optional(system)
    .await?;
    Ok(row.map(Request::from))
}

/// A request as its device's poll finds it.
pub struct Polled {
    pub client: String,
    pub scopes: Vec<Scope>,
    pub host: String,
    pub address: String,
    pub standing: Standing,
}

/// How a request stands.
pub enum Standing {
    Pending,
    Approved { user: UserId, org: OrgId },
    Denied,
    Redeemed,
    Expired,
}

#[derive(FromRow)]
struct PolledRow {
    client: String,
    scopes: Vec<String>,
    host: String,
    address: String,
    state: String,
    user_id: Option<Uuid>,
    org_id: Option<Uuid>,
    expired: bool,
}

/// Notes the poll for a request that waits for its user: whether it came before its time, from which on the device has to wait
/// longer. None: no such request of this client waits. Most polls are such, so it is one statement by itself.
pub async fn poll(
    system: impl PgExecutor<'_>,
    device_hash: &TokenHash,
    client: &str,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar(
        "with polled as (
             select device_hash,
                 coalesce(polled_at > clock_timestamp() - make_interval(secs => poll_interval - $3), false) as early
             from device_codes
             where device_hash = $1 and client = $2 and state = 'pending' and expires_at > clock_timestamp()
             for update
         )
         update device_codes d set polled_at = clock_timestamp(),
             poll_interval = d.poll_interval + case when polled.early then $4 else 0 end
         from polled where d.device_hash = polled.device_hash
         returning polled.early",
    )
    .bind(&device_hash[..])
    .bind(client)
    .bind(LEEWAY)
    .bind(SLOWER)
    .fetch_optional(system)
    .await
}

/// The request with this device code, which nobody else can change until the transaction's end.
pub async fn lock(system: &mut PgConnection, device_hash: &TokenHash) -> Result<Option<Polled>, sqlx::Error> {
    // Two statements: a clock that is read in the first may be from before the lock was had.
    sqlx::query("select from device_codes where device_hash = $1 for update")
        .bind(&device_hash[..])
        .execute(&mut *system)
        .await?;
    let row: Option<PolledRow> = sqlx::query_as(
        "select client, scopes, host, address, state, user_id, org_id, expires_at <= clock_timestamp() as expired
         from device_codes where device_hash = $1",
    )
    .bind(&device_hash[..])
    .fetch_optional(system)
    .await?;
    Ok(row.map(Polled::from))
}

impl From<PolledRow> for Polled {
    fn from(row: PolledRow) -> Self {
        let standing = match (row.state.as_str(), row.user_id, row.org_id) {
            ("redeemed", ..) => Standing::Redeemed,
            ("denied", ..) => Standing::Denied,
            _ if row.expired => Standing::Expired,
            ("approved", Some(user), Some(org)) => {
                Standing::Approved { user: UserId::from_uuid(user), org: OrgId::from_uuid(org) }
            }
            _ => Standing::Pending,
        };
        let PolledRow { client, scopes, host, address, .. } = row;
        Self { client, scopes: decode::scopes(&scopes), host, address, standing }
    }
}

/// Notes that the login was issued.
pub async fn redeem(system: &mut PgConnection, device_hash: &TokenHash, login: LoginId) -> Result<(), sqlx::Error> {
    sqlx::query("update device_codes set state = 'redeemed', login_id = $2 where device_hash = $1")
        .bind(&device_hash[..])
        .bind(login.uuid())
        .execute(system)
        .await
        .map(drop)
}
