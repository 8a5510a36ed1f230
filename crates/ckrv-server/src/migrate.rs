//! `ckrv-server migrate`: brings the schema to this release's version, as its owner.
//!
//! Migrations only expand, so that servers of the release before go on working; what they left unused is contracted a
//! release later. sqlx takes an advisory lock: any number of replicas may start this at once.

use std::str::FromStr;

use ckrv_types::Secret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::db::MIGRATOR;

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("cannot connect to the database as its owner")]
    Connect(#[source] sqlx::Error),
    #[error("cannot bring the schema up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// Applies what is missing. Doing it again changes nothing.
pub async fn run(owner: &Secret) -> Result<(), MigrateError> {
    let options = PgConnectOptions::from_str(owner.expose()).map_err(MigrateError::Connect)?;
    let mut connection = PgConnection::connect_with(&options).await.map_err(MigrateError::Connect)?;
    MIGRATOR.run(&mut connection).await?;
    connection.close().await.map_err(MigrateError::Connect)
}
