//! The keys that access tokens are signed with.

use sqlx::{FromRow, PgConnection};
use time::{Duration, OffsetDateTime};

/// A key as it is kept: its private part encrypted.
#[derive(FromRow)]
pub struct StoredKey {
    pub id: String,
    #[sqlx(rename = "public_key")]
    pub public: Vec<u8>,
    #[sqlx(rename = "sealed_key")]
    pub sealed: Vec<u8>,
    pub signs_from: OffsetDateTime,
}

/// Keeps other replicas from changing the keys until the transaction's end.
pub async fn lock(system: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("lock table signing_keys in share row exclusive mode").execute(system).await.map(drop)
}

/// The database's clock.
pub async fn now(system: &mut PgConnection) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar("select clock_timestamp()").fetch_one(system).await
}

pub async fn list(system: &mut PgConnection) -> Result<Vec<StoredKey>, sqlx::Error> {
    sqlx::query_as("select id, public_key, sealed_key, signs_from from signing_keys order by signs_from desc")
        .fetch_all(system)
        .await
}

pub async fn insert(system: &mut PgConnection, key: &StoredKey) -> Result<(), sqlx::Error> {
    sqlx::query("insert into signing_keys (id, public_key, sealed_key, signs_from) values ($1, $2, $3, $4)")
        .bind(&key.id)
        .bind(&key.public)
        .bind(&key.sealed)
        .bind(key.signs_from)
        .execute(system)
        .await
        .map(drop)
}

/// Removes keys whose successor has signed for longer than `after`.
pub async fn forget(system: &mut PgConnection, after: Duration) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from signing_keys k where exists (
             select from signing_keys next where next.signs_from > k.signs_from and next.signs_from < now() - $1
         )",
    )
    .bind(after)
    .execute(system)
    .await
    .map(drop)
}
