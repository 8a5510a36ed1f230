//! Projects: what holds for the jobs in them, and where jobs go.

use ckrv_types::identity::{Project, ProjectSettings};
use ckrv_types::{OrgId, ProjectId};
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::reach::Reach;

#[derive(FromRow)]
struct ProjectRow {
    id: Uuid,
    name: String,
    settings: Json<ProjectSettings>,
    is_default: bool,
    created_at: OffsetDateTime,
    archived_at: Option<OffsetDateTime>,
}

/// `select` with the columns of [`ProjectRow`]; $1: the caller's reach.
macro_rules! select_projects {
    ($rest:literal) => {
        concat!(
            "select p.id, p.name, p.settings, p.created_at, p.archived_at, \
                 not exists (select from projects o where (o.created_at, o.id) < (p.created_at, p.id) \
                     and o.archived_at is null) and p.archived_at is null as is_default \
             from projects p where (cardinality($1) = 0 or p.id = any($1)) ",
            $rest
        )
    };
}

impl From<ProjectRow> for Project {
    fn from(row: ProjectRow) -> Self {
        Self {
            id: ProjectId::from_uuid(row.id),
            name: row.name,
            settings: row.settings.0,
            is_default: row.is_default,
            created_at: row.created_at,
            archived_at: row.archived_at,
        }
    }
}

/// The projects that the caller may see, the first that was made first.
pub async fn list(tx: &mut PgConnection, reach: &Reach) -> Result<Vec<Project>, sqlx::Error> {
    let query = sqlx::query_as::<_, ProjectRow>(select_projects!("order by p.created_at, p.id"));
    let rows = query.bind(reach.uuids()).fetch_all(tx).await?;
    Ok(rows.into_iter().map(Project::from).collect())
}

/// A project, if the caller may see it.
pub async fn get(tx: &mut PgConnection, id: ProjectId, reach: &Reach) -> Result<Option<Project>, sqlx::Error> {
    let query = sqlx::query_as::<_, ProjectRow>(select_projects!("and p.id = $2"));
    let row = query.bind(reach.uuids()).bind(id.uuid()).fetch_optional(tx).await?;
    Ok(row.map(Project::from))
}

/// The same, and until the transaction's end nobody else changes it.
pub async fn lock(tx: &mut PgConnection, id: ProjectId) -> Result<Option<Project>, sqlx::Error> {
    sqlx::query("select from projects where id = $1 for no key update").bind(id.uuid()).execute(&mut *tx).await?;
    get(tx, id, &Reach::default()).await
}

/// A unique violation says that the name is taken.
pub async fn create(
    tx: &mut PgConnection,
    org: OrgId,
    id: ProjectId,
    name: &str,
    settings: &ProjectSettings,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into projects (id, org_id, name, settings) values ($1, $2, $3, $4)")
        .bind(id.uuid())
        .bind(org.uuid())
        .bind(name)
        .bind(Json(settings))
        .execute(tx)
        .await
        .map(drop)
}

/// Stores name, settings and whether it is archived; the same for names.
pub async fn update(tx: &mut PgConnection, project: &Project, archived: bool) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update projects set name = $2, settings = $3, archived_at = case when $4 then coalesce(archived_at, now()) end
         where id = $1",
    )
    .bind(project.id.uuid())
    .bind(&project.name)
    .bind(Json(&project.settings))
    .bind(archived)
    .execute(tx)
    .await
    .map(drop)
}

/// A project as a job meets it, with what its organization's limits say of the job.
pub struct ForJob {
    pub id: ProjectId,
    pub name: String,
    pub settings: ProjectSettings,
    pub archived: bool,
    /// Those that jobs may name; none: all.
    pub classes: Option<Vec<String>>,
    /// Whether the organization has a limit that jobs are counted for.
    pub limited: bool,
    /// The transaction's time.
    pub now: OffsetDateTime,
}

#[derive(FromRow)]
struct ForJobRow {
    id: Uuid,
    name: String,
    settings: Json<ProjectSettings>,
    archived: bool,
    classes: Option<Vec<String>>,
    limited: bool,
    now: OffsetDateTime,
}

/// The project of this id; without one, where jobs go that name none: the first that was made.
pub async fn for_job(tx: &mut PgConnection, id: Option<ProjectId>) -> Result<Option<ForJob>, sqlx::Error> {
    let row: Option<ForJobRow> = sqlx::query_as(
        "select p.id, p.name, p.settings, p.archived_at is not null as archived, q.classes, now() as now,
            num_nonnulls(q.jobs_per_month, q.minutes_per_month, q.open_jobs) > 0 as limited
         from projects p join org_quotas q on q.org_id = p.org_id
         where $1::uuid is null or p.id = $1
         order by p.archived_at is not null, p.created_at, p.id limit 1",
    )
    .bind(id.map(ProjectId::uuid))
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| ForJob {
        id: ProjectId::from_uuid(row.id),
        name: row.name,
        settings: row.settings.0,
        archived: row.archived,
        classes: row.classes,
        limited: row.limited,
        now: row.now,
    }))
}
