//! `ckrv-server migrate`: brings the schema to this release's version, as its owner.
//!
//! Migrations only expand, so that servers of the release before go on working; what they left unused is contracted a
//! release later. sqlx takes an advisory lock: any number of replicas may start this at once.

use std::str::FromStr;

use ckrv_types::Secret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::db::{MIGRATOR, roles};

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("cannot connect to the database as its owner")]
    Connect(#[source] sqlx::Error),
    #[error("the role `{0}` is a superuser or bypasses row-level security; migrate as {owner}", owner = roles::OWNER)]
    Privileged(String),
    #[error("cannot bring the schema up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// Applies what is missing. Doing it again changes nothing.
pub async fn run(owner: &Secret) -> Result<(), MigrateError> {
    let options = PgConnectOptions::from_str(owner.expose()).map_err(MigrateError::Connect)?;
    let mut connection = PgConnection::connect_with(&options).await.map_err(MigrateError::Connect)?;
    refuse_privileged(&mut connection).await?;
    MIGRATOR.run(&mut connection).await?;
    connection.close().await.map_err(MigrateError::Connect)
}

/// Tables of such a role would make every later check of tenancy worthless.
async fn refuse_privileged(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let (role, privileged): (String, bool) =
        sqlx::query_as("select rolname::text, rolsuper or rolbypassrls from pg_roles where rolname = current_user")
            .fetch_one(connection)
            .await
            .map_err(MigrateError::Connect)?;
    if privileged { Err(MigrateError::Privileged(role)) } else { Ok(()) }
}
