//! Buckets of the generic cell rate algorithm (ITU-T I.371): one row holds when the next request of a steady caller would
//! be due. Each request moves that time on by the interval; one that would move it past the allowance is refused.

use std::time::Duration;

use sqlx::postgres::types::PgInterval;
use time::OffsetDateTime;

use super::Db;

/// Charges one request to `bucket`. `Ok`: how far ahead of its time the bucket is now; `Err`: how long until a request is
/// granted again.
pub async fn charge(
    db: &Db,
    bucket: &str,
    interval: Duration,
    allowance: Duration,
) -> Result<Result<Duration, Duration>, sqlx::Error> {
    // One statement by itself is one round trip. The table is unlogged, so its commit waits for no disk either.
    let charged: Option<f64> = sqlx::query_scalar(
        "insert into rate_limits as r (bucket, arrives_at) values ($1, clock_timestamp() + $2)
         on conflict (bucket) do update set arrives_at = greatest(r.arrives_at, clock_timestamp()) + $2
         where greatest(r.arrives_at, clock_timestamp()) + $2 <= clock_timestamp() + $3
         returning extract(epoch from r.arrives_at - clock_timestamp())::float8",
    )
    .bind(bucket)
    .bind(micros(interval))
    .bind(micros(allowance))
    .fetch_optional(db.system_pool())
    .await?;
    if let Some(ahead) = charged {
        return Ok(Ok(duration(ahead)));
    }
    let wait: f64 = sqlx::query_scalar(
        "select extract(epoch from arrives_at + $2 - $3 - clock_timestamp())::float8 from rate_limits where bucket = $1",
    )
    .bind(bucket)
    .bind(micros(interval))
    .bind(micros(allowance))
    .fetch_one(db.system_pool())
    .await?;
    Ok(Err(duration(wait).max(Duration::from_millis(1))))
}

/// How far ahead of its time a bucket is, and when it will be as good as new; none: it is.
pub async fn look(db: &Db, bucket: &str) -> Result<Option<(Duration, OffsetDateTime)>, sqlx::Error> {
    let found: Option<(f64, OffsetDateTime)> = sqlx::query_as(
        "select extract(epoch from arrives_at - clock_timestamp())::float8, arrives_at from rate_limits
         where bucket = $1 and arrives_at > clock_timestamp()",
    )
    .bind(bucket)
    .fetch_optional(db.system_pool())
    .await?;
    Ok(found.map(|(ahead, arrives_at)| (duration(ahead), arrives_at)))
}

/// Takes one charge back.
pub async fn give_back(db: &Db, bucket: &str, interval: Duration) -> Result<(), sqlx::Error> {
    sqlx::query("update rate_limits set arrives_at = arrives_at - $2 where bucket = $1")
        .bind(bucket)
        .bind(micros(interval))
        .execute(db.system_pool())
        .await
        .map(drop)
}

/// Removes the buckets that are as good as new.
pub async fn forget_idle(db: &Db) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("delete from rate_limits where arrives_at < now()").execute(db.system_pool()).await?;
    Ok(deleted.rows_affected())
}

fn micros(duration: Duration) -> PgInterval {
    let microseconds = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
