//! API keys.

use ckrv_types::identity::{ApiKey, Role, Scope};
use ckrv_types::{KeyId, OrgId, ProjectId, ServiceAccountId, UserId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection, PgExecutor};
use time::OffsetDateTime;

use super::decode;
use super::reach::Reach;
use crate::auth::KeyOwner;
use crate::auth::tokens::TokenHash;

/// A key that is good.
pub struct FoundKey {
    pub id: KeyId,
    pub org: OrgId,
    pub owner: KeyOwner,
    /// The owner's.
    pub role: Role,
    pub reach: Reach,
    pub scopes: Vec<Scope>,
}

#[derive(FromRow)]
struct FoundRow {
    id: Uuid,
    org_id: Uuid,
    user_id: Option<Uuid>,
    service_account_id: Option<Uuid>,
    role: String,
    projects: Vec<Uuid>,
    scopes: Vec<String>,
}

#[derive(FromRow)]
struct KeyRow {
    id: Uuid,
    user_id: Option<Uuid>,
    service_account_id: Option<Uuid>,
    name: String,
    scopes: Vec<String>,
    projects: Vec<Uuid>,
    created_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    last_used_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
    rotated_from: Option<Uuid>,
}

impl From<KeyRow> for ApiKey {
    fn from(row: KeyRow) -> Self {
        Self {
            id: KeyId::from_uuid(row.id),
            name: row.name,
            user: row.user_id.map(UserId::from_uuid),
            service_account: row.service_account_id.map(ServiceAccountId::from_uuid),
            scopes: decode::scopes(&row.scopes),
            projects: row.projects.into_iter().map(ProjectId::from_uuid).collect(),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            rotated_from: row.rotated_from.map(KeyId::from_uuid),
        }
    }
}

/// `select` with the columns of [`KeyRow`].
macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "select k.id, k.user_id, k.service_account_id, k.name, k.scopes, \
                 array(select p.project_id from api_key_projects p where p.key_id = k.id order by p.project_id) as projects, \
                 k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.rotated_from \
             from api_keys k ",
            $rest
        )
    };
}

/// The key with this hash, in whichever organization, if it is neither expired nor revoked and its owner may use it. Notes its
/// use, at most once a minute.
pub async fn find_by_hash(system: impl PgExecutor<'_>, hash: &TokenHash) -> Result<Option<FoundKey>, sqlx::Error> {
    let found: Option<FoundRow> = sqlx::query_as(
        "with found as (
             select k.id, k.org_id, k.user_id, k.service_account_id, k.scopes, k.last_used_at,
                 coalesce(m.role, s.role) as role
             from api_keys k
             left join (members m join users u on u.id = m.user_id)
                 on m.org_id = k.org_id and m.user_id = k.user_id and m.suspended_at is null and u.suspended_at is null
             left join service_accounts s
                 on s.id = k.service_account_id and s.suspended_at is null and s.removed_at is null
             where k.token_hash = $1 and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
                 and coalesce(m.role, s.role) is not null
         ), used as (
             update api_keys k set last_used_at = now() from found
             where k.id = found.id and (found.last_used_at is null or found.last_used_at < now() - interval '1 minute')
         )
         select id, org_id, user_id, service_account_id, role, scopes,
             array(select p.project_id from api_key_projects p where p.key_id = found.id) as projects
         from found",
    )
    .bind(&hash[..])
    .fetch_optional(system)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let user = row.user_id.map(|user| KeyOwner::User(UserId::from_uuid(user)));
    let account = row.service_account_id.map(|account| KeyOwner::ServiceAccount(ServiceAccountId::from_uuid(account)));
    Ok(Some(FoundKey {
        id: KeyId::from_uuid(row.id),
        org: OrgId::from_uuid(row.org_id),
        owner: user.or(account).ok_or(sqlx::Error::RowNotFound)?,
        role: decode::text("role", &row.role)?,
        reach: Reach::new(row.projects.into_iter().map(ProjectId::from_uuid).collect()),
        scopes: decode::scopes(&row.scopes),
    }))
}

/// The organization's keys, newest first; `of`: only this owner's.
pub async fn list(tx: &mut PgConnection, of: Option<KeyOwner>) -> Result<Vec<ApiKey>, sqlx::Error> {
    let query = sqlx::query_as::<_, KeyRow>(select_keys!(
        "where ($1::uuid is null and $2::uuid is null) or k.user_id = $1 or k.service_account_id = $2 order by k.id desc"
    ));
    let rows = query
        .bind(of.and_then(KeyOwner::user).map(UserId::uuid))
        .bind(of.and_then(KeyOwner::service_account).map(ServiceAccountId::uuid))
        .fetch_all(tx)
        .await?;
    Ok(rows.into_iter().map(ApiKey::from).collect())
}

pub async fn get(tx: &mut PgConnection, id: KeyId) -> Result<Option<ApiKey>, sqlx::Error> {
    let row: Option<KeyRow> =
        sqlx::query_as(select_keys!("where k.id = $1")).bind(id.uuid()).fetch_optional(tx).await?;
    Ok(row.map(ApiKey::from))
}

/// What a new key is made of.
pub struct NewKey<'a> {
    pub id: KeyId,
    pub org: OrgId,
    pub owner: KeyOwner,
    pub name: &'a str,
    pub scopes: &'a [Scope],
    pub projects: &'a [ProjectId],
    pub hash: TokenHash,
    pub expires_in_days: Option<u32>,
    pub rotated_from: Option<KeyId>,
}

/// A foreign-key violation says that there is no such project or service account.
pub async fn create(tx: &mut PgConnection, key: &NewKey<'_>) -> Result<ApiKey, sqlx::Error> {
    sqlx::query(
        "insert into api_keys
             (id, org_id, user_id, service_account_id, name, scopes, token_hash, expires_at, rotated_from)
         values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(days => $8), $9)",
    )
    .bind(key.id.uuid())
    .bind(key.org.uuid())
    .bind(key.owner.user().map(UserId::uuid))
    .bind(key.owner.service_account().map(ServiceAccountId::uuid))
    .bind(key.name)
    .bind(decode::scope_names(key.scopes))
    .bind(&key.hash[..])
    .bind(key.expires_in_days.map(u32::cast_signed))
    .bind(key.rotated_from.map(KeyId::uuid))
    .execute(&mut *tx)
    .await?;
    if !key.projects.is_empty() {
        let projects: Vec<Uuid> = key.projects.iter().map(|project| project.uuid()).collect();
        sqlx::query(
            "insert into api_key_projects (org_id, key_id, project_id) select $1, $2, p from unnest($3::uuid[]) p
             on conflict do nothing",
        )
        .bind(key.org.uuid())
        .bind(key.id.uuid())
        .bind(projects)
        .execute(&mut *tx)
        .await?;
    }
    get(tx, key.id).await?.ok_or(sqlx::Error::RowNotFound)
}

/// How many of an owner's keys are good, in the transaction's own organization.
pub async fn count_good(tx: &mut PgConnection, owner: KeyOwner) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from api_keys
         where (user_id = $1 or service_account_id = $2) and revoked_at is null
             and (expires_at is null or expires_at > now())",
    )
    .bind(owner.user().map(UserId::uuid))
    .bind(owner.service_account().map(ServiceAccountId::uuid))
    .fetch_one(tx)
    .await
}

/// Revoking again changes nothing.
pub async fn revoke(tx: &mut PgConnection, id: KeyId) -> Result<(), sqlx::Error> {
    sqlx::query("update api_keys set revoked_at = now() where id = $1 and revoked_at is null")
        .bind(id.uuid())
        .execute(tx)
        .await
        .map(drop)
}

/// Whether a key can have a successor: it is good, and has none yet.
pub async fn may_rotate(tx: &mut PgConnection, id: KeyId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
             and not exists (select from api_keys n where n.rotated_from = k.id)
         from api_keys k where k.id = $1",
    )
    .bind(id.uuid())
    .fetch_one(tx)
    .await
}

/// Gives a key that was made in the place of another the other's time to live, and the other no more than so many seconds.
pub async fn hand_over(
    tx: &mut PgConnection,
    old: KeyId,
    new: KeyId,
    overlap_seconds: u32,
    keep_life: bool,
) -> Result<(), sqlx::Error> {
    if keep_life {
        sqlx::query(
            "update api_keys n set expires_at = n.created_at + (o.expires_at - o.created_at)
             from api_keys o where n.id = $2 and o.id = $1",
        )
        .bind(old.uuid())
        .bind(new.uuid())
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query("update api_keys set expires_at = least(expires_at, now() + make_interval(secs => $2)) where id = $1")
        .bind(old.uuid())
        .bind(f64::from(overlap_seconds))
        .execute(tx)
        .await
        .map(drop)
}
