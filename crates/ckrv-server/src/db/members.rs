//! Who belongs to which organization.

use ckrv_types::identity::{Member, Role};
use ckrv_types::{KeyId, OrgId, UserId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;
use crate::auth::Principal;
use crate::auth::rules::Standing;

/// Whether a person who is not suspended belongs to an organization. They do until the transaction's end.
pub async fn belongs(system: &mut PgConnection, user: UserId, org: OrgId) -> Result<bool, sqlx::Error> {
    let found: Option<i32> = sqlx::query_scalar(
        "select 1 from members m join users u on u.id = m.user_id
         where m.user_id = $1 and m.org_id = $2 and m.suspended_at is null and u.suspended_at is null for share",
    )
    .bind(user.uuid())
    .bind(org.uuid())
    .fetch_optional(system)
    .await?;
    Ok(found.is_some())
}

/// Until the transaction's end nobody else changes what anybody may do in the organization, or what outlasts them there:
/// members, service accounts, keys, invitations, projects, runners, credentials of jobs. First in every transaction that does, so that what the rules were asked about still holds.
pub async fn lock(tx: &mut PgConnection, org: OrgId) -> Result<(), sqlx::Error> {
    let name = format!("who may what in {}", org.uuid());
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))").bind(name).execute(tx).await.map(drop)
}

/// The role that somebody has now, in the transaction's own organization; none: they are shut out of it.
pub async fn role_of(tx: &mut PgConnection, who: Principal) -> Result<Option<Role>, sqlx::Error> {
    let query = match who {
        Principal::User { user, .. } => sqlx::query_scalar(
            "select m.role from members m join users u on u.id = m.user_id
             where m.user_id = $1 and m.suspended_at is null and u.suspended_at is null",
        )
        .bind(user.uuid()),
        Principal::Key { key, .. } => sqlx::query_scalar(
            "select coalesce(m.role, s.role)
             from api_keys k
             left join (members m join users u on u.id = m.user_id)
                 on m.org_id = k.org_id and m.user_id = k.user_id and m.suspended_at is null and u.suspended_at is null
             left join service_accounts s
                 on s.id = k.service_account_id and s.suspended_at is null and s.removed_at is null
             where k.id = $1 and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())",
        )
        .bind(key.uuid()),
    };
    let role: Option<Option<String>> = query.fetch_optional(tx).await?;
    decode::optional("role", role.flatten().as_deref())
}

#[derive(FromRow)]
struct MemberRow {
    user_id: Uuid,
    name: String,
    email: Option<String>,
    role: String,
    created_at: OffsetDateTime,
    suspended_at: Option<OffsetDateTime>,
}

/// `select` with the columns of [`MemberRow`].
macro_rules! select_members {
    ($rest:literal) => {
        concat!(
            "select m.user_id, u.name, u.email, m.role, m.created_at, \
                 least(m.suspended_at, u.suspended_at) as suspended_at \
             from members m join users u on u.id = m.user_id ",
            $rest
        )
    };
}

impl TryFrom<MemberRow> for Member {
    type Error = sqlx::Error;

    fn try_from(row: MemberRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            user: UserId::from_uuid(row.user_id),
            name: row.name,
            email: row.email,
            role: decode::text("role", &row.role)?,
            joined_at: row.created_at,
            suspended_at: row.suspended_at,
        })
    }
}

/// The organization's members, by name.
pub async fn list(tx: &mut PgConnection) -> Result<Vec<Member>, sqlx::Error> {
    let rows: Vec<MemberRow> = sqlx::query_as(select_members!("order by u.name, m.user_id")).fetch_all(tx).await?;
    rows.into_iter().map(Member::try_from).collect()
}

pub async fn get(tx: &mut PgConnection, user: UserId) -> Result<Option<Member>, sqlx::Error> {
    let query = sqlx::query_as::<_, MemberRow>(select_members!("where m.user_id = $1"));
    query.bind(user.uuid()).fetch_optional(tx).await?.map(Member::try_from).transpose()
}

/// How a member stands, as far as the organization has a say in it: whom the operator has suspended is still its member.
pub async fn standing(tx: &mut PgConnection, user: UserId) -> Result<Option<Standing>, sqlx::Error> {
    let row: Option<(String, bool)> =
        sqlx::query_as("select role, suspended_at is not null from members where user_id = $1")
            .bind(user.uuid())
            .fetch_optional(tx)
            .await?;
    row.map(|(role, suspended)| Ok(Standing { role: decode::text("role", &role)?, suspended })).transpose()
}

/// The owners beside this one who are not suspended.
pub async fn other_owners(tx: &mut PgConnection, user: UserId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from members m join users u on u.id = m.user_id
         where m.role = 'owner' and m.user_id <> $1 and m.suspended_at is null and u.suspended_at is null",
    )
    .bind(user.uuid())
    .fetch_one(tx)
    .await
}

/// Whether somebody is a member of this organization, even if a suspended one.
pub async fn is_listed(system: &mut PgConnection, org: OrgId, user: UserId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from members where org_id = $1 and user_id = $2)")
        .bind(org.uuid())
        .bind(user.uuid())
        .fetch_one(system)
        .await
}

/// `false`: they are a member already, and nothing was changed.
pub async fn add(system: &mut PgConnection, org: OrgId, user: UserId, role: Role) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("insert into members (org_id, user_id, role) values ($1, $2, $3) on conflict do nothing")
        .bind(org.uuid())
        .bind(user.uuid())
        .bind(role.as_str())
        .execute(system)
        .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn set(tx: &mut PgConnection, user: UserId, standing: Standing) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update members set role = $2, suspended_at = case when $3 then coalesce(suspended_at, now()) end
         where user_id = $1",
    )
    .bind(user.uuid())
    .bind(standing.role.as_str())
    .bind(standing.suspended)
    .execute(tx)
    .await
    .map(drop)
}

/// Has a person belong to the organization no longer, and nothing of them be seen in it.
pub async fn remove(tx: &mut PgConnection, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from members where user_id = $1").bind(user.uuid()).execute(tx).await.map(drop)
}

/// Revokes a person's keys, so that none comes back with them; which.
pub async fn revoke_keys(tx: &mut PgConnection, user: UserId) -> Result<Vec<KeyId>, sqlx::Error> {
    let keys: Vec<Uuid> = sqlx::query_scalar(
        "update api_keys set revoked_at = now() where user_id = $1 and revoked_at is null returning id",
    )
    .bind(user.uuid())
    .fetch_all(tx)
    .await?;
    Ok(keys.into_iter().map(KeyId::from_uuid).collect())
}
