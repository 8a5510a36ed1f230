//! Who was asked to join, by the hash of a link.

use ckrv_types::identity::{Invitation, Role};
use ckrv_types::{InvitationId, OrgId, ServiceAccountId, UserId, limits};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;
use crate::auth::KeyOwner;
use crate::auth::rules::stands_behind;
use crate::auth::tokens::TokenHash;

#[derive(FromRow)]
struct InvitationRow {
    id: Uuid,
    note: Option<String>,
    role: String,
    invited_by: String,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}

impl TryFrom<InvitationRow> for Invitation {
    type Error = sqlx::Error;

    fn try_from(row: InvitationRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: InvitationId::from_uuid(row.id),
            note: row.note,
            role: decode::text("role", &row.role)?,
            invited_by: row.invited_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}

/// Those that may still be taken, newest first.
pub async fn list(tx: &mut PgConnection) -> Result<Vec<Invitation>, sqlx::Error> {
    let rows: Vec<InvitationRow> = sqlx::query_as(
        "select id, note, role, invited_by, created_at, expires_at from invitations
         where revoked_at is null and accepted_at is null and expires_at > now() order by id desc",
    )
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(Invitation::try_from).collect()
}

/// What a new invitation is made of.
pub struct NewInvitation<'a> {
    pub id: InvitationId,
    pub org: OrgId,
    pub hash: TokenHash,
    pub role: Role,
    pub note: Option<&'a str>,
    /// Who makes it: worth no more than they are.
    pub by: KeyOwner,
}

pub async fn create(tx: &mut PgConnection, new: &NewInvitation<'_>) -> Result<Invitation, sqlx::Error> {
    let row: InvitationRow = sqlx::query_as(
        "insert into invitations (id, org_id, token_hash, role, note, user_id, service_account_id, invited_by, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7,
             coalesce((select name from users where id = $6), (select name from service_accounts where id = $7)),
             now() + make_interval(days => $8))
         returning id, note, role, invited_by, created_at, expires_at",
    )
    .bind(new.id.uuid())
    .bind(new.org.uuid())
    .bind(&new.hash[..])
    .bind(new.role.as_str())
    .bind(new.note)
    .bind(new.by.user().map(UserId::uuid))
    .bind(new.by.service_account().map(ServiceAccountId::uuid))
    .bind(limits::INVITATION_DAYS)
    .fetch_one(tx)
    .await?;
    row.try_into()
}

/// An invitation of the transaction's own organization.
pub struct Known {
    pub role: Role,
    pub accepted: bool,
    pub revoked: bool,
}

pub async fn get(tx: &mut PgConnection, id: InvitationId) -> Result<Option<Known>, sqlx::Error> {
    let row: Option<(String, bool, bool)> =
        sqlx::query_as("select role, accepted_at is not null, revoked_at is not null from invitations where id = $1")
            .bind(id.uuid())
            .fetch_optional(tx)
            .await?;
    row.map(|(role, accepted, revoked)| Ok(Known { role: decode::text("role", &role)?, accepted, revoked })).transpose()
}

pub async fn revoke(tx: &mut PgConnection, id: InvitationId) -> Result<(), sqlx::Error> {
    sqlx::query("update invitations set revoked_at = now() where id = $1").bind(id.uuid()).execute(tx).await.map(drop)
}

/// Revokes those open invitations of somebody who is `now` this in the organization (none: nothing any more) that they could
/// make no longer; which, and for what role.
pub async fn revoke_of(
    tx: &mut PgConnection,
    by: KeyOwner,
    now: Option<Role>,
) -> Result<Vec<(InvitationId, Role)>, sqlx::Error> {
    let kept: Vec<&str> = Role::ALL.into_iter().filter(|role| stands_behind(now, *role)).map(Role::as_str).collect();
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "update invitations set revoked_at = now()
         where (user_id = $1 or service_account_id = $2) and role <> all ($3)
             and revoked_at is null and accepted_at is null and expires_at > now()
         returning id, role",
    )
    .bind(by.user().map(UserId::uuid))
    .bind(by.service_account().map(ServiceAccountId::uuid))
    .bind(kept)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(|(id, role)| Ok((InvitationId::from_uuid(id), decode::text("role", &role)?))).collect()
}

/// An invitation as who has its link meets it.
pub struct Found {
    pub id: InvitationId,
    pub org: OrgId,
    pub org_name: String,
    pub role: Role,
    pub invited_by: String,
    pub expires_at: OffsetDateTime,
    /// It is neither revoked nor taken nor over.
    pub open: bool,
    /// Who took it.
    pub accepted_by: Option<UserId>,
    /// What who made it is now; none: they have left, or are suspended.
    pub by: Option<Role>,
}

#[derive(FromRow)]
struct FoundRow {
    id: Uuid,
    org_id: Uuid,
    org_name: String,
    role: String,
    invited_by: String,
    expires_at: OffsetDateTime,
    open: bool,
    accepted_by: Option<Uuid>,
    by: Option<String>,
}

/// The invitation with this hash, in whichever organization. `false` for `open` may be out of date unless the organization is
/// locked.
pub async fn find(system: &mut PgConnection, hash: &TokenHash) -> Result<Option<Found>, sqlx::Error> {
    let row: Option<FoundRow> = sqlx::query_as(
        "select i.id, i.org_id, o.name as org_name, i.role, i.invited_by, i.expires_at, i.accepted_by,
             i.revoked_at is null and i.accepted_at is null and i.expires_at > clock_timestamp() as open,
             coalesce(m.role, s.role) as by
         from invitations i
         join orgs o on o.id = i.org_id
         left join (members m join users u on u.id = m.user_id)
             on m.org_id = i.org_id and m.user_id = i.user_id and m.suspended_at is null and u.suspended_at is null
         left join service_accounts s on s.id = i.service_account_id and s.suspended_at is null and s.removed_at is null
         where i.token_hash = $1",
    )
    .bind(&hash[..])
    .fetch_optional(system)
    .await?;
    row.map(|row| {
        Ok(Found {
            id: InvitationId::from_uuid(row.id),
            org: OrgId::from_uuid(row.org_id),
            org_name: row.org_name,
            role: decode::text("role", &row.role)?,
            invited_by: row.invited_by,
            expires_at: row.expires_at,
            open: row.open,
            accepted_by: row.accepted_by.map(UserId::from_uuid),
            by: decode::optional("role", row.by.as_deref())?,
        })
    })
    .transpose()
}

pub async fn accept(system: &mut PgConnection, id: InvitationId, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("update invitations set accepted_at = now(), accepted_by = $2 where id = $1")
        .bind(id.uuid())
        .bind(user.uuid())
        .execute(system)
        .await
        .map(drop)
}
