//! Runners: what their owners see, and what they tell of themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use ckrv_types::identity::RunnerInfo;
use ckrv_types::runner::{ANY_NAMESPACE, Offer};
use ckrv_types::{OrgId, ProjectId, RunnerId};
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use super::decode;
use crate::auth::tokens::TokenHash;

/// A runner whose token is good.
pub struct FoundRunner {
    pub id: RunnerId,
    pub org: Option<OrgId>,
    pub name: String,
}

/// The runner with this hash, in whichever organization, if it is not revoked.
pub async fn find_by_hash(system: &mut PgConnection, hash: &TokenHash) -> Result<Option<FoundRunner>, sqlx::Error> {
    let found: Option<(Uuid, Option<Uuid>, String)> =
        sqlx::query_as("select id, org_id, name from runners where token_hash = $1 and revoked_at is null")
            .bind(&hash[..])
            .fetch_optional(system)
            .await?;
    Ok(found.map(|(id, org, name)| FoundRunner { id: RunnerId::from_uuid(id), org: org.map(OrgId::from_uuid), name }))
}

#[derive(FromRow)]
struct RunnerRow {
    id: Uuid,
    name: String,
    platform: bool,
    instance: Option<String>,
    capacity: i32,
    classes: Vec<String>,
    allow: Json<BTreeMap<String, Uuid>>,
    beat_at: Option<OffsetDateTime>,
    alive: bool,
    created_at: OffsetDateTime,
    revoked_at: Option<OffsetDateTime>,
}

impl TryFrom<RunnerRow> for RunnerInfo {
    type Error = sqlx::Error;

    fn try_from(row: RunnerRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: RunnerId::from_uuid(row.id),
            name: row.name,
            platform: row.platform,
            instance: row.instance,
            capacity: decode::number("capacity", row.capacity)?,
            busy: 0,
            classes: row.classes,
            allow: row.allow.0.into_iter().map(|(namespace, id)| (namespace, ProjectId::from_uuid(id))).collect(),
            last_seen_at: row.beat_at,
            alive: row.alive,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        })
    }
}

/// `select` with the columns of [`RunnerRow`]; $1: the lease in seconds.
macro_rules! select_runners {
    ($rest:literal) => {
        concat!(
            "select id, name, org_id is null as platform, instance, capacity, classes, \
                 (select coalesce(jsonb_object_agg(p.namespace, p.project_id), '{}') \
                  from runner_projects p where p.runner_id = runners.id) as allow, \
                 beat_at, \
                 revoked_at is null and coalesce(beat_at > now() - make_interval(secs => $1), false) as alive, \
                 created_at, revoked_at \
             from runners ",
            $rest
        )
    };
}

/// The organization's runners and the platform's, newest first; `busy` is left at 0, because a tenant does not see all
/// of a platform runner's attempts.
pub async fn list(tx: &mut PgConnection, lease: Duration) -> Result<Vec<RunnerInfo>, sqlx::Error> {
    let rows: Vec<RunnerRow> =
        sqlx::query_as(select_runners!("order by id desc")).bind(lease.as_secs_f64()).fetch_all(tx).await?;
    rows.into_iter().map(RunnerInfo::try_from).collect()
}

/// One of them.
pub async fn get(tx: &mut PgConnection, id: RunnerId, lease: Duration) -> Result<Option<RunnerInfo>, sqlx::Error> {
    let row: Option<RunnerRow> = sqlx::query_as(select_runners!("where id = $2"))
        .bind(lease.as_secs_f64())
        .bind(id.uuid())
        .fetch_optional(tx)
        .await?;
    row.map(RunnerInfo::try_from).transpose()
}

/// What a runner is called, if the organization may know.
pub async fn name(tx: &mut PgConnection, id: RunnerId) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("select name from runners where id = $1").bind(id.uuid()).fetch_optional(tx).await
}

/// A unique violation says that the organization has a runner of this name.
pub async fn create(
    tx: &mut PgConnection,
    org: OrgId,
    id: RunnerId,
    name: &str,
    hash: &TokenHash,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into runners (id, org_id, name, token_hash) values ($1, $2, $3, $4)")
        .bind(id.uuid())
        .bind(org.uuid())
        .bind(name)
        .bind(&hash[..])
        .execute(&mut *tx)
        .await?;
    sqlx::query("insert into runner_feeds (runner_id) values ($1)").bind(id.uuid()).execute(tx).await?;
    Ok(())
}

/// Allows the organization's runner to hand in jobs of these namespaces, into these projects. Its list is a new one with
/// that. A foreign-key violation says that there is no such runner or project.
pub async fn allow(
    tx: &mut PgConnection,
    org: OrgId,
    id: RunnerId,
    allow: &BTreeMap<String, ProjectId>,
) -> Result<(), sqlx::Error> {
    let namespaces: Vec<&str> = allow.keys().map(String::as_str).collect();
    let projects: Vec<Uuid> = allow.values().map(|project| project.uuid()).collect();
    sqlx::query(
        "insert into runner_projects (runner_id, org_id, namespace, project_id)
         select $1, $2, * from unnest($3::text[], $4::uuid[])",
    )
    .bind(id.uuid())
    .bind(org.uuid())
    .bind(namespaces)
    .bind(projects)
    .execute(&mut *tx)
    .await?;
    sqlx::query("update runner_feeds set version = version + 1 where runner_id = $1")
        .bind(id.uuid())
        .execute(tx)
        .await?;
    Ok(())
}

/// Takes back all that was allowed, and keeps others from allowing until the transaction's end.
pub async fn disallow(tx: &mut PgConnection, id: RunnerId) -> Result<(), sqlx::Error> {
    sqlx::query("select from runners where id = $1 for no key update").bind(id.uuid()).execute(&mut *tx).await?;
    sqlx::query("delete from runner_projects where runner_id = $1").bind(id.uuid()).execute(tx).await?;
    Ok(())
}

/// The namespaces of whose jobs the runner may hand in; [`ANY_NAMESPACE`] among them: all.
pub async fn namespaces(system: &mut PgConnection, id: RunnerId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select namespace from runner_projects where runner_id = $1 order by namespace")
        .bind(id.uuid())
        .fetch_all(system)
        .await
}

/// The project that jobs of this namespace go into; none: the runner may not hand them in.
pub async fn project_of(
    tx: &mut PgConnection,
    id: RunnerId,
    namespace: &str,
) -> Result<Option<ProjectId>, sqlx::Error> {
    let found: Option<Uuid> = sqlx::query_scalar(
        "select project_id from runner_projects
         where runner_id = $1 and namespace in ($2, $3) order by namespace = $3 limit 1",
    )
    .bind(id.uuid())
    .bind(namespace)
    .bind(ANY_NAMESPACE)
    .fetch_optional(tx)
    .await?;
    Ok(found.map(ProjectId::from_uuid))
}

/// The runner's token is dead now and the binding to its instance released; `false`: it was before. `None`: the organization
/// has no such runner.
pub async fn revoke(tx: &mut PgConnection, org: OrgId, id: RunnerId) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar(
        "with found as (
             select id, revoked_at is null as alive from runners where id = $1 and org_id = $2 for update
         ), done as (
             update runners r set revoked_at = now(), instance = null from found where r.id = found.id and found.alive
         )
         select alive from found",
    )
    .bind(id.uuid())
    .bind(org.uuid())
    .fetch_optional(tx)
    .await
}

/// Whether it begins nothing any more.
pub async fn is_revoked(tx: &mut PgConnection, id: RunnerId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from runners where id = $1 and revoked_at is not null)")
        .bind(id.uuid())
        .fetch_one(tx)
        .await
}

/// Binds the runner to an instance, unless it is bound to another (`None`); whether it was bound to none.
pub async fn register(system: &mut PgConnection, id: RunnerId, instance: &str) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar(
        "with found as (
             select id, instance is null as is_new from runners
             where id = $1 and revoked_at is null and (instance is null or instance = $2) for update
         ), done as (
             update runners r set instance = $2 from found where r.id = found.id
         )
         select is_new from found",
    )
    .bind(id.uuid())
    .bind(instance)
    .fetch_optional(system)
    .await
}

/// The bound instance is alive and offers this; false: it is not the bound one.
pub async fn beat(system: &mut PgConnection, id: RunnerId, instance: &str, offer: &Offer) -> Result<bool, sqlx::Error> {
    let labels: Json<&BTreeMap<String, String>> = Json(&offer.labels);
    let done = sqlx::query(
        "update runners set beat_at = clock_timestamp(), capacity = $3, classes = $4, labels = $5, version = $6
         where id = $1 and revoked_at is null and instance = $2",
    )
    .bind(id.uuid())
    .bind(instance)
    .bind(i32::try_from(offer.capacity).unwrap_or(i32::MAX))
    .bind(&offer.classes)
    .bind(labels)
    .bind(&offer.version)
    .execute(system)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether `instance` is the one that the runner is bound to.
pub async fn is_bound(system: &mut PgConnection, id: RunnerId, instance: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from runners where id = $1 and revoked_at is null and instance = $2)")
        .bind(id.uuid())
        .bind(instance)
        .fetch_one(system)
        .await
}
