//! Organizations and their projects.

use ckrv_types::{OrgId, ProjectId, UserId, identity};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;
use super::reach::Reach;

/// An organization as its members see it.
#[derive(FromRow)]
pub struct Org {
    pub name: String,
}

/// The transaction's own organization.
pub async fn own(tx: &mut PgConnection) -> Result<Org, sqlx::Error> {
    sqlx::query_as("select name from orgs").fetch_one(tx).await
}

/// The organization of this name, whichever it is.
pub async fn by_name(system: &mut PgConnection, name: &str) -> Result<Option<OrgId>, sqlx::Error> {
    let id: Option<Uuid> =
        sqlx::query_scalar("select id from orgs where name = $1").bind(name).fetch_optional(system).await?;
    Ok(id.map(OrgId::from_uuid))
}

/// Where jobs go unless a project is named: of those that the caller may use, the first that was made.
pub async fn default_project(tx: &mut PgConnection, reach: &Reach) -> Result<Option<(ProjectId, String)>, sqlx::Error> {
    let row: Option<(Uuid, String)> = sqlx::query_as(
        "select id, name from projects where cardinality($1) = 0 or id = any($1)
         order by archived_at is not null, created_at, id limit 1",
    )
    .bind(reach.uuids())
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|(id, name)| (ProjectId::from_uuid(id), name)))
}

#[derive(FromRow)]
struct ShownRow {
    name: String,
    tier: String,
    members: i64,
    projects: i64,
    created_at: OffsetDateTime,
}

/// An organization as the API shows it.
pub async fn shown(tx: &mut PgConnection, org: OrgId) -> Result<identity::Org, sqlx::Error> {
    let row: ShownRow = sqlx::query_as(
        "select name, tier, created_at,
             (select count(*) from members m where m.org_id = o.id) as members,
             (select count(*) from projects p where p.org_id = o.id and p.archived_at is null) as projects
         from orgs o where id = $1",
    )
    .bind(org.uuid())
    .fetch_one(tx)
    .await?;
    Ok(identity::Org {
        id: org,
        name: row.name,
        tier: row.tier,
        members: decode::number("members", row.members)?,
        projects: decode::number("projects", row.projects)?,
        created_at: row.created_at,
    })
}

/// How many organizations somebody has made for themselves. Until the transaction's end they make no other.
pub async fn count_made_by(system: &mut PgConnection, user: UserId) -> Result<i64, sqlx::Error> {
    let name = format!("organizations made by {}", user.uuid());
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 0))").bind(name).execute(&mut *system).await?;
    sqlx::query_scalar("select count(*) from orgs where created_by = $1").bind(user.uuid()).fetch_one(system).await
}

/// `by`: who makes it for themselves; none: the operator does. `tier`: absent: what people get who do. A unique violation says
/// that the name is taken.
pub async fn create(
    system: &mut PgConnection,
    org: OrgId,
    name: &str,
    by: Option<UserId>,
    tier: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into orgs (id, name, created_by) values ($1, $2, $3)")
        .bind(org.uuid())
        .bind(name)
        .bind(by.map(UserId::uuid))
        .execute(&mut *system)
        .await?;
    if let Some(tier) = tier {
        sqlx::query("update orgs set tier = $2 where id = $1").bind(org.uuid()).bind(tier).execute(system).await?;
    }
    Ok(())
}

/// A unique violation says that the name is taken.
pub async fn rename(tx: &mut PgConnection, org: OrgId, name: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update orgs set name = $2 where id = $1").bind(org.uuid()).bind(name).execute(tx).await.map(drop)
}
