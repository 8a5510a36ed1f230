//! API keys.

use ckrv_types::identity::ApiKey;
use ckrv_types::{KeyId, OrgId, ProjectId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use crate::auth::tokens::TokenHash;

/// A key that is good.
pub struct FoundKey {
    pub id: KeyId,
    pub org: OrgId,
    pub project: Option<ProjectId>,
}

#[derive(FromRow)]
struct KeyRow {
    id: Uuid,
    project_id: Option<Uuid>,
    name: String,
    created_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    last_used_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
}

impl From<KeyRow> for ApiKey {
    fn from(row: KeyRow) -> Self {
        Self {
            id: KeyId::from_uuid(row.id),
            name: row.name,
            project: row.project_id.map(ProjectId::from_uuid),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// The key with this hash, in whichever organization, if it is neither expired nor revoked. Notes its use, at most once
/// a minute.
pub async fn find_by_hash(system: &mut PgConnection, hash: &TokenHash) -> Result<Option<FoundKey>, sqlx::Error> {
    let found: Option<(Uuid, Uuid, Option<Uuid>)> = sqlx::query_as(
        "with found as (
             select id, org_id, project_id, last_used_at from api_keys
             where token_hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())
         ), used as (
             update api_keys k set last_used_at = now() from found
             where k.id = found.id and (found.last_used_at is null or found.last_used_at < now() - interval '1 minute')
         )
         select id, org_id, project_id from found",
    )
    .bind(&hash[..])
    .fetch_optional(system)
    .await?;
    Ok(found.map(|(id, org, project)| FoundKey {
        id: KeyId::from_uuid(id),
        org: OrgId::from_uuid(org),
        project: project.map(ProjectId::from_uuid),
    }))
}

/// The organization's keys, newest first.
pub async fn list(tx: &mut PgConnection) -> Result<Vec<ApiKey>, sqlx::Error> {
    let rows: Vec<KeyRow> = sqlx::query_as(
        "select id, project_id, name, created_at, expires_at, last_used_at, revoked_at from api_keys order by id desc",
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(ApiKey::from).collect())
}

pub async fn get(tx: &mut PgConnection, id: KeyId) -> Result<Option<ApiKey>, sqlx::Error> {
    let row: Option<KeyRow> = sqlx::query_as(
        "select id, project_id, name, created_at, expires_at, last_used_at, revoked_at from api_keys where id = $1",
    )
    .bind(id.uuid())
    .fetch_optional(tx)
    .await?;
    Ok(row.map(ApiKey::from))
}

/// What a new key is made of.
pub struct NewKey<'a> {
    pub id: KeyId,
    pub org: OrgId,
    pub project: Option<ProjectId>,
    pub name: &'a str,
    pub hash: TokenHash,
    pub expires_in_days: Option<u32>,
}

/// A foreign-key violation says that there is no such project.
pub async fn create(tx: &mut PgConnection, key: &NewKey<'_>) -> Result<ApiKey, sqlx::Error> {
    let row: KeyRow = sqlx::query_as(
        "insert into api_keys (id, org_id, project_id, name, token_hash, expires_at)
         values ($1, $2, $3, $4, $5, now() + make_interval(days => $6))
         returning id, project_id, name, created_at, expires_at, last_used_at, revoked_at",
    )
    .bind(key.id.uuid())
    .bind(key.org.uuid())
    .bind(key.project.map(ProjectId::uuid))
    .bind(key.name)
    .bind(&key.hash[..])
    .bind(key.expires_in_days.map(u32::cast_signed))
    .fetch_one(tx)
    .await?;
    Ok(row.into())
}

/// Whether there is such a key; revoking again changes nothing.
pub async fn revoke(tx: &mut PgConnection, id: KeyId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update api_keys set revoked_at = coalesce(revoked_at, now()) where id = $1")
        .bind(id.uuid())
        .execute(tx)
        .await?;
    Ok(done.rows_affected() == 1)
}
