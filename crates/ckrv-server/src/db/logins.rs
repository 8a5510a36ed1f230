//! Programs that people have let act for them, and whether they still may.

use ckrv_types::identity::{Membership, Role, Scope};
use ckrv_types::{LoginId, OrgId, UserId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection, PgExecutor};
use time::OffsetDateTime;

use super::decode;

/// What a login is made of.
pub struct NewLogin<'a> {
    pub id: LoginId,
    pub user: UserId,
    pub org: OrgId,
    pub client: &'a str,
    pub scopes: &'a [Scope],
    pub host: &'a str,
    pub address: &'a str,
}

/// `false`: the user is suspended, or no member of the organization.
pub async fn insert(system: &mut PgConnection, new: &NewLogin<'_>, days: i32) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into logins (id, user_id, org_id, client, scopes, host, address, expires_at)
         select $1, m.user_id, m.org_id, $4, $5, $6, $7, clock_timestamp() + make_interval(days => $8)
         from members m join users u on u.id = m.user_id
         where m.user_id = $2 and m.org_id = $3 and m.suspended_at is null and u.suspended_at is null",
    )
    .bind(new.id.uuid())
    .bind(new.user.uuid())
    .bind(new.org.uuid())
    .bind(new.client)
    .bind(decode::scope_names(new.scopes))
    .bind(new.host)
    .bind(new.address)
    .bind(days)
    .execute(system)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A login that nobody else can change until the transaction's end.
pub struct Locked {
    pub user: UserId,
    pub client: String,
    pub scopes: Vec<Scope>,
    /// It is neither revoked nor expired, and its user not suspended.
    pub stands: bool,
}

pub async fn lock(system: &mut PgConnection, login: LoginId) -> Result<Option<Locked>, sqlx::Error> {
    // Two statements: a clock that is read in the first may be from before the lock was had.
    sqlx::query("select from logins where id = $1 for update").bind(login.uuid()).execute(&mut *system).await?;
    let row: Option<(Uuid, String, Vec<String>, bool)> = sqlx::query_as(
        "select l.user_id, l.client, l.scopes,
            l.revoked_at is null and l.expires_at > clock_timestamp() and u.suspended_at is null
         from logins l join users u on u.id = l.user_id where l.id = $1",
    )
    .bind(login.uuid())
    .fetch_optional(system)
    .await?;
    Ok(row.map(|(user, client, scopes, stands)| Locked {
        user: UserId::from_uuid(user),
        client,
        scopes: decode::scopes(&scopes),
        stands,
    }))
}

/// Whether a login is neither revoked nor expired, for a tenant's transaction; nobody revokes it until that one's end.
pub async fn stands(tx: &mut PgConnection, login: LoginId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select login_stands($1)").bind(login.uuid()).fetch_one(tx).await
}

/// Notes a refresh, from which the login lives on for so many days.
pub async fn prolong(system: &mut PgConnection, login: LoginId, days: i32) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update logins set used_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(days => $2)
         where id = $1",
    )
    .bind(login.uuid())
    .bind(days)
    .execute(system)
    .await
    .map(drop)
}

/// Why a login was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its user wanted it.
    User,
    /// Its program did.
    Client,
    /// A refresh token was used a second time.
    Reuse,
    /// The authorization code was used a second time.
    CodeReuse,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Client => "client",
            Self::Reuse => "reuse",
            Self::CodeReuse => "code-reuse",
        }
    }
}

/// Ends a login. Answers its organization; none: it had been ended before.
pub async fn revoke(system: &mut PgConnection, login: LoginId, reason: Reason) -> Result<Option<OrgId>, sqlx::Error> {
    let org: Option<Uuid> = sqlx::query_scalar(
        "update logins set revoked_at = clock_timestamp(), revoked_for = $2 where id = $1 and revoked_at is null
         returning org_id",
    )
    .bind(login.uuid())
    .bind(reason.as_str())
    .fetch_optional(system)
    .await?;
    Ok(org.map(OrgId::from_uuid))
}

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
    system: impl PgExecutor<'_>,
    login: LoginId,
    org: Option<&str>,
) -> Result<Option<Standing>, sqlx::Error> {
    let id = org.and_then(|org| org.parse::<OrgId>().ok()).map(OrgId::uuid);
    let row: Option<StandingRow> = sqlx::query_as(
        "select l.user_id, m.org_id, m.role
         from logins l join users u on u.id = l.user_id
         left join (members m join orgs o on o.id = m.org_id) on m.user_id = l.user_id and
             m.suspended_at is null and
             case when $2::text is null then m.org_id = l.org_id when $3::uuid is null then o.name = $2 else o.id = $3 end
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
        "select o.id, o.name, m.role from members m join orgs o on o.id = m.org_id
         where m.user_id = $1 and m.suspended_at is null order by o.name",
    )
    .bind(user.uuid())
    .fetch_all(system)
    .await?;
    let membership = |(org, org_name, role): (Uuid, String, String)| {
        Ok(Membership { org: OrgId::from_uuid(org), org_name, role: decode::text::<Role>("role", &role)? })
    };
    rows.into_iter().map(membership).collect()
}

/// A login as its owner is shown it.
pub struct ShownLogin {
    pub id: LoginId,
    pub client: String,
    pub host: String,
    pub address: String,
    pub org_name: String,
    pub scopes: Vec<Scope>,
    pub created_at: OffsetDateTime,
    pub used_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

#[derive(FromRow)]
struct ShownRow {
    id: Uuid,
    client: String,
    host: String,
    address: String,
    org_name: String,
    scopes: Vec<String>,
    created_at: OffsetDateTime,
    used_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}

impl From<ShownRow> for ShownLogin {
    fn from(row: ShownRow) -> Self {
        Self {
            id: LoginId::from_uuid(row.id),
            client: row.client,
            host: row.host,
            address: row.address,
            org_name: row.org_name,
            scopes: decode::scopes(&row.scopes),
            created_at: row.created_at,
            used_at: row.used_at,
            expires_at: row.expires_at,
        }
    }
}

/// The logins of a person that are good, the last used first.
pub async fn list(system: &mut PgConnection, user: UserId) -> Result<Vec<ShownLogin>, sqlx::Error> {
    let rows: Vec<ShownRow> = sqlx::query_as(
        "select l.id, l.client, l.host, l.address, o.name as org_name, l.scopes, l.created_at, l.used_at, l.expires_at
         from logins l join orgs o on o.id = l.org_id
         where l.user_id = $1 and l.revoked_at is null and l.expires_at > now()
         order by l.used_at desc, l.id desc",
    )
    .bind(user.uuid())
    .fetch_all(system)
    .await?;
    Ok(rows.into_iter().map(ShownLogin::from).collect())
}
