//! How much room there is, in numbers alone: told to tenants, who do not see the attempts of others on the runners that
//! they share.

use std::collections::HashMap;
use std::time::Duration;

use ckrv_types::{OrgId, RunnerId};
use sqlx::FromRow;
use sqlx::types::Uuid;

use crate::db::Db;

/// Living runners that could take an attempt, and their free places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    pub runners: u64,
    pub free_places: u64,
}

#[derive(FromRow)]
struct CapacityRow {
    runners: i64,
    free_places: i64,
}

/// For an attempt of `org` and `class` (none: any runner takes it), which may be for one runner only.
pub async fn capacity(
    db: &Db,
    org: OrgId,
    class: Option<&str>,
    only: Option<RunnerId>,
    lease: Duration,
) -> Result<Capacity, sqlx::Error> {
    let mut tx = db.system().await?;
    let row: CapacityRow = sqlx::query_as(
        "select count(*) as runners,
            coalesce(sum(greatest(r.capacity - (
                select count(*) from attempts a where a.runner_id = r.id and a.rank < 100
            ), 0)), 0)::bigint as free_places
         from runners r
         where r.revoked_at is null and r.beat_at > now() - make_interval(secs => $3)
           and (r.org_id is null or r.org_id = $1) and ($2::text is null or $2 = any (r.classes))
           and ($4::uuid is null or r.id = $4)",
    )
    .bind(org.uuid())
    .bind(class)
    .bind(lease.as_secs_f64())
    .bind(only.map(RunnerId::uuid))
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(Capacity { runners: row.runners.unsigned_abs(), free_places: row.free_places.unsigned_abs() })
}

/// How many attempts each of `runners` has; one that has none is left out.
pub async fn busy(db: &Db, runners: &[RunnerId]) -> Result<HashMap<RunnerId, u32>, sqlx::Error> {
    let ids: Vec<Uuid> = runners.iter().map(|id| id.uuid()).collect();
    let mut tx = db.system().await?;
    let rows: Vec<(Uuid, i64)> = sqlx::query_as(
        "select runner_id, count(*) from attempts where runner_id = any ($1) and rank < 100 group by runner_id",
    )
    .bind(ids)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
    Ok(rows.into_iter().map(|(id, busy)| (RunnerId::from_uuid(id), count(busy))).collect())
}
