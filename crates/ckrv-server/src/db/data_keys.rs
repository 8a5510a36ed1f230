//! The vault's data keys as they are kept. The system's role alone has them.

use ckrv_types::OrgId;
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};

/// A data key, sealed.
#[derive(Debug, Clone, FromRow)]
pub struct StoredDataKey {
    pub version: i32,
    /// Id of the key-encryption key that has sealed it.
    pub kek: String,
    pub sealed: Vec<u8>,
}

#[derive(FromRow)]
struct OfOrg {
    org_id: Uuid,
    #[sqlx(flatten)]
    key: StoredDataKey,
}

impl From<OfOrg> for (OrgId, StoredDataKey) {
    fn from(row: OfOrg) -> Self {
        (OrgId::from_uuid(row.org_id), row.key)
    }
}

/// The one by which an organization's new secrets are sealed.
pub async fn latest(system: &mut PgConnection, org: OrgId) -> Result<Option<StoredDataKey>, sqlx::Error> {
    sqlx::query_as("select version, kek, sealed from data_keys where org_id = $1 order by version desc limit 1")
        .bind(org.uuid())
        .fetch_optional(system)
        .await
}

/// All of an organization's, the latest first, which nobody else changes until the transaction's end.
pub async fn lock_all(system: &mut PgConnection, org: OrgId) -> Result<Vec<StoredDataKey>, sqlx::Error> {
    sqlx::query_as("select version, kek, sealed from data_keys where org_id = $1 order by version desc for update")
        .bind(org.uuid())
        .fetch_all(system)
        .await
}

/// The organization's first one. Of two at once one is kept, which is read afterwards.
pub async fn insert_first(system: &mut PgConnection, org: OrgId, key: &StoredDataKey) -> Result<(), sqlx::Error> {
    sqlx::query("insert into data_keys (org_id, version, kek, sealed) values ($1, $2, $3, $4) on conflict do nothing")
        .bind(org.uuid())
        .bind(key.version)
        .bind(&key.kek)
        .bind(&key.sealed)
        .execute(system)
        .await
        .map(drop)
}

/// Another one. That its version is there already is an error: whoever went on would seal by a key that is not kept.
pub async fn insert(system: &mut PgConnection, org: OrgId, key: &StoredDataKey) -> Result<(), sqlx::Error> {
    sqlx::query("insert into data_keys (org_id, version, kek, sealed) values ($1, $2, $3, $4)")
        .bind(org.uuid())
        .bind(key.version)
        .bind(&key.kek)
        .bind(&key.sealed)
        .execute(system)
        .await
        .map(drop)
}

/// How many each key-encryption key has sealed.
pub async fn counts(system: &mut PgConnection) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as("select kek, count(*) from data_keys group by kek order by kek").fetch_all(system).await
}

/// Some that each key-encryption key has sealed.
pub async fn samples(system: &mut PgConnection, each: i64) -> Result<Vec<(OrgId, StoredDataKey)>, sqlx::Error> {
    let rows: Vec<OfOrg> = sqlx::query_as(
        "select k.org_id, k.version, k.kek, k.sealed
         from (select distinct kek from data_keys) named
         cross join lateral (select * from data_keys d where d.kek = named.kek limit $1) k",
    )
    .bind(each)
    .fetch_all(system)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// The next one that another key-encryption key than `current` has sealed, behind this place; it is locked.
pub async fn next_other(
    system: &mut PgConnection,
    current: &str,
    behind: Option<(OrgId, i32)>,
) -> Result<Option<(OrgId, StoredDataKey)>, sqlx::Error> {
    let (org, version) = behind.map_or((Uuid::nil(), 0), |(org, version)| (org.uuid(), version));
    let row: Option<OfOrg> = sqlx::query_as(
        "select org_id, version, kek, sealed from data_keys
         where kek <> $1 and (org_id, version) > ($2, $3) order by org_id, version limit 1 for update",
    )
    .bind(current)
    .bind(org)
    .bind(version)
    .fetch_optional(system)
    .await?;
    Ok(row.map(Into::into))
}

/// The same data key, sealed anew.
pub async fn replace(system: &mut PgConnection, org: OrgId, key: &StoredDataKey) -> Result<(), sqlx::Error> {
    sqlx::query("update data_keys set kek = $3, sealed = $4, sealed_at = now() where org_id = $1 and version = $2")
        .bind(org.uuid())
        .bind(key.version)
        .bind(&key.kek)
        .bind(&key.sealed)
        .execute(system)
        .await
        .map(drop)
}

/// Every organization that has one.
pub async fn orgs(system: &mut PgConnection) -> Result<Vec<OrgId>, sqlx::Error> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("select distinct org_id from data_keys order by org_id").fetch_all(system).await?;
    Ok(ids.into_iter().map(OrgId::from_uuid).collect())
}

/// Removes those before `version` by which no secret is sealed any more.
pub async fn forget_unused(system: &mut PgConnection, org: OrgId, version: i32) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from data_keys k where org_id = $1 and version < $2
            and not exists (select from credentials c where c.org_id = k.org_id and c.data_key = k.version)",
    )
    .bind(org.uuid())
    .bind(version)
    .execute(system)
    .await?;
    Ok(done.rows_affected())
}

/// Removes those that a key-encryption key has sealed; nothing may be sealed by them any more.
pub async fn forget_of(system: &mut PgConnection, kek: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query("delete from data_keys where kek = $1").bind(kek).execute(system).await?.rows_affected())
}
