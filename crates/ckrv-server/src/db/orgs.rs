//! Organizations and their projects.

use ckrv_types::{OrgId, ProjectId};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};

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
