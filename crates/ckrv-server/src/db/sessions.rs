//! Browsers in which somebody has signed in. All times are the database's.

use ckrv_types::{OrgId, SessionId, UserId, limits};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use crate::auth::tokens::TokenHash;

/// A session that is good.
pub struct FoundSession {
    pub id: SessionId,
    pub user: UserId,
    /// Of the person.
    pub name: String,
    /// What the pages are about: the organization that was chosen, if the person is still a member who is not suspended,
    /// otherwise the first by name where they are one; none: there is none.
    pub org: Option<OrgId>,
}

/// The session with this cookie's hash, if it is neither revoked nor over and its person not suspended. Notes its use, at most
/// once a minute.
pub async fn find(system: &mut PgConnection, hash: &TokenHash) -> Result<Option<FoundSession>, sqlx::Error> {
    let row: Option<(Uuid, Uuid, String, Option<Uuid>)> = sqlx::query_as(
        "with found as (
             select s.id, s.user_id, u.name, s.org_id, s.seen_at from web_sessions s join users u on u.id = s.user_id
             where s.token_hash = $1 and s.revoked_at is null and u.suspended_at is null
               and s.expires_at > now() and s.seen_at > now() - make_interval(days => $2)
         ), seen as (
             update web_sessions s set seen_at = now() from found
             where s.id = found.id and found.seen_at < now() - interval '1 minute'
         )
         select id, user_id, name, (
             select m.org_id from members m join orgs o on o.id = m.org_id
             where m.user_id = found.user_id and m.suspended_at is null
             order by m.org_id is not distinct from found.org_id desc, o.name limit 1
         ) from found",
    )
    .bind(&hash[..])
    .bind(limits::SESSION_IDLE_DAYS)
    .fetch_optional(system)
    .await?;
    Ok(row.map(|(id, user, name, org)| FoundSession {
        id: SessionId::from_uuid(id),
        user: UserId::from_uuid(user),
        name,
        org: org.map(OrgId::from_uuid),
    }))
}

/// What a new session is made of.
pub struct NewSession<'a> {
    pub id: SessionId,
    pub user: UserId,
    pub hash: TokenHash,
    pub address: &'a str,
    /// What the browser says that it is.
    pub agent: &'a str,
}

/// Begins a session, about the organization that the person's last one was about.
pub async fn create(system: &mut PgConnection, session: &NewSession<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into web_sessions (id, user_id, token_hash, org_id, address, agent, expires_at)
         values ($1, $2, $3, (
             select org_id from web_sessions where user_id = $2 and org_id is not null order by created_at desc limit 1
         ), $4, $5, now() + make_interval(days => $6))",
    )
    .bind(session.id.uuid())
    .bind(session.user.uuid())
    .bind(&session.hash[..])
    .bind(session.address)
    .bind(session.agent)
    .bind(limits::SESSION_DAYS)
    .execute(system)
    .await
    .map(drop)
}

/// A session as its owner is shown it.
#[derive(FromRow)]
pub struct ShownSession {
    id: Uuid,
    pub address: String,
    pub agent: String,
    pub created_at: OffsetDateTime,
    pub seen_at: OffsetDateTime,
}

impl ShownSession {
    pub const fn id(&self) -> SessionId {
        SessionId::from_uuid(self.id)
    }
}

/// The sessions of a person that are good, the last used first.
pub async fn list(system: &mut PgConnection, user: UserId) -> Result<Vec<ShownSession>, sqlx::Error> {
    sqlx::query_as(
        "select id, address, agent, created_at, seen_at from web_sessions
         where user_id = $1 and revoked_at is null and expires_at > now() and seen_at > now() - make_interval(days => $2)
         order by seen_at desc, id desc",
    )
    .bind(user.uuid())
    .bind(limits::SESSION_IDLE_DAYS)
    .fetch_all(system)
    .await
}

/// Ends a session of this person. Whether there was one to end.
pub async fn revoke(system: &mut PgConnection, user: UserId, id: SessionId) -> Result<bool, sqlx::Error> {
    let done =
        sqlx::query("update web_sessions set revoked_at = now() where id = $1 and user_id = $2 and revoked_at is null")
            .bind(id.uuid())
            .bind(user.uuid())
            .execute(system)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether a session is not revoked; it is not until the transaction's end.
pub async fn is_open(system: &mut PgConnection, id: SessionId) -> Result<bool, sqlx::Error> {
    let found: Option<i32> =
        sqlx::query_scalar("select 1 from web_sessions where id = $1 and revoked_at is null for no key update")
            .bind(id.uuid())
            .fetch_optional(system)
            .await?;
    Ok(found.is_some())
}

/// Ends every session of this person but one. How many there were.
pub async fn revoke_others(system: &mut PgConnection, user: UserId, kept: SessionId) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "update web_sessions set revoked_at = now() where user_id = $1 and id <> $2 and revoked_at is null",
    )
    .bind(user.uuid())
    .bind(kept.uuid())
    .execute(system)
    .await?;
    Ok(done.rows_affected())
}

/// Ends the session with this cookie's hash, whosever it is: another begins in its place.
pub async fn replace(system: &mut PgConnection, hash: &TokenHash) -> Result<(), sqlx::Error> {
    sqlx::query("update web_sessions set revoked_at = now() where token_hash = $1 and revoked_at is null")
        .bind(&hash[..])
        .execute(system)
        .await
        .map(drop)
}

/// Has the pages be about this organization. Whether the person is a member of it who is not suspended.
pub async fn choose_org(
    system: &mut PgConnection,
    id: SessionId,
    user: UserId,
    org: OrgId,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update web_sessions s set org_id = $3 from members m
         where s.id = $1 and s.user_id = $2 and m.user_id = s.user_id and m.org_id = $3 and m.suspended_at is null",
    )
    .bind(id.uuid())
    .bind(user.uuid())
    .bind(org.uuid())
    .execute(system)
    .await?;
    Ok(done.rows_affected() == 1)
}
