//! What must hold before the server serves: that tenants are kept apart by the database, and that the schema is the one
//! this release knows. A server that finds otherwise refuses to start.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::{Db, MIGRATOR, audit_entries, roles};

/// Why the server refuses to start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the database cannot be asked")]
    Database(#[from] sqlx::Error),
    #[error("connected as `{found}` where the role {wanted} is needed; give its URL")]
    Role { found: String, wanted: &'static str },
    #[error("the role {0} is a superuser or bypasses row-level security: `ALTER ROLE {0} NOSUPERUSER NOBYPASSRLS`")]
    Privileged(String),
    #[error(
        "the role {0} owns tables of ours, so it could lift their row-level security; they must belong to ckrv_owner"
    )]
    Owner(String),
    #[error("row-level security is not enabled and forced on {0}; run `ckrv-server migrate`")]
    Unprotected(String),
    #[error("ckrv_app sees rows of {0} without an organization being set; its policies are not ours")]
    Leaking(String),
    #[error("the schema has no version; run `ckrv-server migrate`")]
    NoSchema,
    #[error("the schema is at version {found:?}, this release needs {needed}; run `ckrv-server migrate`")]
    Behind { found: Option<i64>, needed: i64 },
    #[error("migration {0} was changed after it was applied; restore the release that applied it")]
    Changed(i64),
}

/// Checks both pools' roles, the tables' protection and the schema's version.
pub async fn check(db: &Db) -> Result<(), Refusal> {
    still_ours(db).await?;
    let mut app = db.app_pool().acquire().await?;
    check_tables(&mut app).await?;
    drop(app);
    tell_lost_order(db).await
}

/// No reason not to serve, but the longer it stays so the more entries are out of order.
async fn tell_lost_order(db: &Db) -> Result<(), Refusal> {
    let mut system = db.system_pool().acquire().await?;
    if audit_entries::is_order_lost(&mut system).await? {
        audit_entries::tell_lost_order();
    }
    Ok(())
}

/// Checks both pools' roles and the schema's version, which is cheap enough for a running server's readiness.
pub async fn still_ours(db: &Db) -> Result<(), Refusal> {
    let mut app = db.app_pool().acquire().await?;
    check_role(&mut app, roles::APP).await?;
    check_schema(&mut app).await?;
    drop(app);
    let mut system = db.system_pool().acquire().await?;
    check_role(&mut system, roles::SYSTEM).await
}

async fn check_role(connection: &mut PgConnection, wanted: &'static str) -> Result<(), Refusal> {
    let (found, privileged, owner): (String, bool, bool) = sqlx::query_as(
        "select current_user::text, r.rolsuper or r.rolbypassrls, exists (
             select from pg_class c
             where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relowner = r.oid
         )
         from pg_roles r where r.rolname = current_user",
    )
    .fetch_one(connection)
    .await?;
    if privileged {
        return Err(Refusal::Privileged(found));
    }
    if owner {
        return Err(Refusal::Owner(found));
    }
    if found == wanted { Ok(()) } else { Err(Refusal::Role { found, wanted }) }
}

async fn check_schema(connection: &mut PgConnection) -> Result<(), Refusal> {
    let known: bool = sqlx::query_scalar("select to_regclass('public._sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Err(Refusal::NoSchema);
    }
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success").fetch_all(connection).await?;
    let newest = applied.iter().map(|(version, _)| *version).max();
    let applied: HashMap<i64, Vec<u8>> = applied.into_iter().collect();
    // What is applied beyond ours belongs to a newer release, on whose schema this one still runs.
    for migration in MIGRATOR.iter() {
        match applied.get(&migration.version) {
            None => return Err(Refusal::Behind { found: newest, needed: migration.version }),
            Some(checksum) if checksum != migration.checksum.as_ref() => {
                return Err(Refusal::Changed(migration.version));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Every table with an `org_id`, and `orgs` itself: protected, and empty to a tenant that is not there.
async fn check_tables(connection: &mut PgConnection) -> Result<(), Refusal> {
    let tables: Vec<(String, bool, bool)> = sqlx::query_as(
        "select c.oid::regclass::text, c.relrowsecurity and c.relforcerowsecurity,
                has_any_column_privilege(c.oid, 'select')
         from pg_class c
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
           and (c.relname = 'orgs' or exists (
               select from pg_attribute a where a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
           ))",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (table, protected, readable) in tables {
        if !protected {
            return Err(Refusal::Unprotected(table));
        }
        if readable {
            // The name comes from the catalogue, quoted where it needs to be.
            let sees_rows = AssertSqlSafe(format!("select exists (select from {table})"));
            if sqlx::query_scalar(sees_rows).fetch_one(&mut *connection).await? {
                return Err(Refusal::Leaking(table));
            }
        }
    }
    Ok(())
}
