//! Which jobs, objects and rows are kept no longer. By the database's clock.

use ckrv_types::limits;
use sqlx::PgConnection;
use sqlx::types::Uuid;

/// Jobs that one step takes.
const JOBS: i64 = 200;
/// Rows of each table that one step takes.
const ROWS: i64 = 1000;

/// Deletes some rows of what people sign in and let programs in by. How many.
///
/// Codes and sessions go a day after their end, for until then whoever asks is told what became of them; logins later, because
/// people look for what once acted for them; what is under way at a provider at its end, for nobody asks.
pub async fn delete_credentials(system: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let mut deleted = delete_sessions(system).await?;
    for statement in [
        "delete from device_codes where device_hash = any (array(
             select device_hash from device_codes where expires_at < now() - interval '1 day' limit $1
         ))",
        "delete from authorization_codes where code_hash = any (array(
             select code_hash from authorization_codes where expires_at < now() - interval '1 day' limit $1
         ))",
        "delete from sign_ins where state_hash = any (array(
             select state_hash from sign_ins where expires_at < now() limit $1
         ))",
        // Of a login that lives only those go that nobody can have an answer to any more.
        "delete from refresh_tokens where token_hash = any (array(
             select t.token_hash from refresh_tokens t join logins l on l.id = t.login_id
             where least(l.expires_at, l.revoked_at) < now() - interval '1 day' or t.used_at < now() - interval '90 days'
             limit $1
         ))",
        "delete from logins where id = any (array(
             select l.id from logins l
             where least(l.expires_at, l.revoked_at) < now() - interval '90 days'
               and not exists (select from device_codes c where c.login_id = l.id)
               and not exists (select from authorization_codes c where c.login_id = l.id)
             limit $1
         ))",
    ] {
        deleted += sqlx::query(statement).bind(ROWS).execute(&mut *system).await?.rows_affected();
    }
    Ok(deleted)
}

/// Of sessions that have ended, also for want of use.
async fn delete_sessions(system: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from web_sessions where id = any (array(
             select id from web_sessions
             where least(expires_at, revoked_at, seen_at + make_interval(days => $2)) < now() - interval '1 day' limit $1
         ))",
    )
    .bind(ROWS)
    .bind(limits::SESSION_IDLE_DAYS)
    .execute(system)
    .await?;
    Ok(done.rows_affected())
}

/// Says of some jobs that ended more than so many days ago, or than their organization's tier keeps them if that is less, that
/// their log and artifacts are gone. How many.
pub async fn mark(system: &mut PgConnection, days: i64) -> Result<u64, sqlx::Error> {
    // Each organization's oldest first, apart from the others': jobs that are kept for longer are not read again at each pass.
    let jobs: Vec<Uuid> = sqlx::query_scalar(
        "update jobs set purged_at = now() where purged_at is null and id = any (array(
             select due.id from org_quotas q cross join lateral (
                 select j.id from jobs j
                 where j.org_id = q.org_id and j.purged_at is null
                   and j.finished_at < now() - least($1, q.retention_days) * interval '1 day'
                 order by j.finished_at limit $2
             ) due
             limit $2
         )) returning id",
    )
    .bind(days)
    .bind(JOBS)
    .fetch_all(&mut *system)
    .await?;
    sqlx::query("update artifacts set status = 'expired' where job_id = any ($1)").bind(&jobs).execute(system).await?;
    Ok(jobs.len() as u64)
}

/// Some of the marked jobs of which there may still be something to remove.
pub async fn marked(system: &mut PgConnection) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar("select id from jobs where purged_at is not null and cleared_at is null limit $1")
        .bind(JOBS)
        .fetch_all(system)
        .await
}

/// The keys of all objects of these jobs.
pub async fn objects(system: &mut PgConnection, jobs: &[Uuid]) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select object_key from artifacts where job_id = any ($1) and object_key is not null
         union all
         select archive ->> 'key' from log_heads where job_id = any ($1) and archive is not null",
    )
    .bind(jobs)
    .fetch_all(system)
    .await
}

/// Deletes the rows that named these objects, and the chunks of logs that were never archived: nothing is left to remove.
pub async fn clear(system: &mut PgConnection, jobs: &[Uuid]) -> Result<(), sqlx::Error> {
    // The jobs and then the heads first, as everywhere.
    sqlx::query("update jobs set cleared_at = now() where id = any ($1)").bind(jobs).execute(&mut *system).await?;
    sqlx::query(
        "update log_heads set archive = null, archived_at = coalesce(archived_at, now()) where job_id = any ($1)",
    )
    .bind(jobs)
    .execute(&mut *system)
    .await?;
    sqlx::query("delete from log_chunks where job_id = any ($1)").bind(jobs).execute(&mut *system).await?;
    sqlx::query("delete from artifacts where job_id = any ($1)").bind(jobs).execute(system).await?;
    Ok(())
}

/// Deletes some jobs that ended more than so many days ago, with all that hangs on them, once nothing of theirs is left in
/// the object store. How many.
pub async fn delete_jobs(system: &mut PgConnection, days: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from jobs where id = any (array(
             select id from jobs j
             where finished_at < now() - $1 * interval '1 day' and purged_at is not null
               and not exists (select from artifacts a where a.job_id = j.id)
               and not exists (
                   select from log_heads h where h.job_id = j.id and (h.archive is not null or h.archived_at is null)
               )
             order by finished_at limit $2
         ))",
    )
    .bind(days)
    .bind(JOBS)
    .execute(system)
    .await?;
    Ok(done.rows_affected())
}
