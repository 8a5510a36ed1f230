//! First answers to requests that carried an idempotency key, kept for a day so that a repeat gets the same.

use ckrv_types::OrgId;
use serde_json::Value;
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection};

/// Rows that are forgotten at once.
pub const FORGET: u64 = 1000;

/// Which request: a key means something for one principal and route only.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub org: OrgId,
    /// The id of a key or a user.
    pub principal: Uuid,
    /// Method and path template.
    pub route: &'a str,
    pub key: &'a str,
}

/// What is kept of a request that was done.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    pub scope: Scope<'a>,
    /// SHA-256 of all that makes up the request.
    pub request_hash: &'a [u8],
    /// Of the answer.
    pub body: &'a Value,
}

/// What is known of a request before it is done.
#[derive(Debug)]
pub enum Found {
    New,
    /// Another transaction is at it at this moment.
    Running,
    /// It was done.
    Done {
        request_hash: Vec<u8>,
        body: Value,
    },
}

#[derive(FromRow)]
struct ClaimRow {
    claimed: bool,
    request_hash: Option<Vec<u8>>,
    body: Option<Json<Value>>,
}

/// Claims the request for this transaction, or says what became of it.
///
/// The look at the row may be a moment older than the claim: if the first request was committed in between, this one
/// fails at [`store`], which is as good as still running.
pub async fn claim(tx: &mut PgConnection, scope: &Scope<'_>) -> Result<Found, sqlx::Error> {
    let row: ClaimRow = sqlx::query_as(
        "select pg_try_advisory_xact_lock(hashtextextended($1::text || $2::text || $3 || ' ' || $4, 0)) as claimed,
            i.request_hash, i.body
         from (values (1)) one
         left join idempotency i on i.org_id = $1 and i.principal = $2 and i.route = $3 and i.key = $4",
    )
    .bind(scope.org.uuid())
    .bind(scope.principal)
    .bind(scope.route)
    .bind(scope.key)
    .fetch_one(tx)
    .await?;
    Ok(match (row.request_hash, row.body) {
        (Some(request_hash), Some(Json(body))) => Found::Done { request_hash, body },
        _ if row.claimed => Found::New,
        _ => Found::Running,
    })
}

/// Keeps the answer, in the transaction that did the work. A unique violation says that somebody else was first.
pub async fn store(tx: &mut PgConnection, kept: &Kept<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into idempotency (org_id, principal, route, key, request_hash, body) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(kept.scope.org.uuid())
    .bind(kept.scope.principal)
    .bind(kept.scope.route)
    .bind(kept.scope.key)
    .bind(kept.request_hash)
    .bind(Json(kept.body))
    .execute(tx)
    .await?;
    Ok(())
}

/// Forgets some of what is older than `hours`; how many. Less than [`FORGET`]: it was all.
pub async fn forget_old(system: &mut PgConnection, hours: u64) -> Result<u64, sqlx::Error> {
    let hours = i32::try_from(hours).unwrap_or(i32::MAX);
    let done = sqlx::query(
        "delete from idempotency where ctid = any (array(
             select ctid from idempotency where created_at < now() - make_interval(hours => $1) limit $2
         ))",
    )
    .bind(hours)
    .bind(FORGET.cast_signed())
    .execute(system)
    .await?;
    Ok(done.rows_affected())
}
