//! Programs that people have let act for them, and whether they still may.

use ckrv_types::identity::{Membership, Role};
use ckrv_types::{LoginId, OrgId, UserId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;

/// A login that is good.
pub struct Standing {
    pub user: UserId,
    /// In the organization that was asked for; none: there is none for them.
    pub member: Option<(OrgId, Role)>,
}

#[derive(FromRow)]
struct StandingRow {
    user_id: Uuid,
    org_id: Option<Uuid>,
    role: Option<String>,
}

/// What a login stands for, if it is neither revoked nor expired and its user not suspended.
///
/// `org`: an organization's id or name; without one, the login's own.
pub async fn standing(
    system: &mut PgConnection,
    login: LoginId,
    org: Option<&str>,
) -> Result<Option<Standing>, sqlx::Error> {
    let id = org.and_then(|org| org.parse::<OrgId>().ok()).map(OrgId::uuid);
    let row: Option<StandingRow> = sqlx::query_as(
        "select l.user_id, m.org_id, m.role
         from logins l join users u on u.id = l.user_id
         left join (members m join orgs o on o.id = m.org_id) on m.user_id = l.user_id and
             case when $2::text is null then m.org_id = l.org_id else o.name = $2 or o.id = $3 end
         where l.id = $1 and l.revoked_at is null and l.expires_at > now() and u.suspended_at is null",
    )
    .bind(login.uuid())
    .bind(org)
    .bind(id)
    .fetch_optional(system)
    .await?;
    row.map(|row| {
        let role = row.role.map(|role| decode::text::<Role>("role", &role)).transpose()?;
        let member = row.org_id.map(OrgId::from_uuid).zip(role);
        Ok(Standing { user: UserId::from_uuid(row.user_id), member })
    })
    .transpose()
}

/// A person, as the program of this login shows them.
pub struct Person {
    pub name: String,
    pub email: Option<String>,
    pub login_expires_at: OffsetDateTime,
    pub memberships: Vec<Membership>,
}

/// The person of a login, and where they belong, by name.
pub async fn person(system: &mut PgConnection, login: LoginId) -> Result<Option<Person>, sqlx::Error> {
    let row: Option<(Uuid, String, Option<String>, OffsetDateTime)> = sqlx::query_as(
        "select u.id, u.name, u.email, l.expires_at from logins l join users u on u.id = l.user_id where l.id = $1",
    )
    .bind(login.uuid())
    .fetch_optional(&mut *system)
    .await?;
    let Some((user, name, email, login_expires_at)) = row else { return Ok(None) };
    let memberships = memberships(system, UserId::from_uuid(user)).await?;
    Ok(Some(Person { name, email, login_expires_at, memberships }))
}

/// Where a person belongs, by name.
pub async fn memberships(system: &mut PgConnection, user: UserId) -> Result<Vec<Membership>, sqlx::Error> {
    let rows: Vec<(Uuid, String, String)> = sqlx::query_as(
        "select o.id, o.name, m.role from members m join orgs o on o.id = m.org_id where m.user_id = $1 order by o.name",
    )
    .bind(user.uuid())
    .fetch_all(system)
    .await?;
    let membership = |(org, org_name, role): (Uuid, String, String)| {
        Ok(Membership { org: OrgId::from_uuid(org), org_name, role: decode::text::<Role>("role", &role)? })
    };
    rows.into_iter().map(membership).collect()
}
