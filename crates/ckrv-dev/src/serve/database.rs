//! The database of the embedded default: a private one, or one that its user has.

use anyhow::Context as _;
use ckrv_server::db::roles::{self, RoleUrls};
use ckrv_types::Secret;
use sqlx::{Connection as _, PgConnection};

use super::ServeArgs;
use super::keys::Keys;
use crate::postgres::{ClusterSettings, EmbeddedPostgres};
use crate::state::{self, StateFolder};

const NAME: &str = "ckrv";

pub struct Database {
    /// None: it is the user's own.
    embedded: Option<EmbeddedPostgres>,
    superuser: Secret,
}

impl Database {
    pub async fn start(args: &ServeArgs, state: &StateFolder) -> anyhow::Result<Self> {
        if let Some(url) = &args.postgres_url {
            return Ok(Self { embedded: None, superuser: url.clone() });
        }
        let program = std::env::current_exe()?;
        let settings = ClusterSettings::new(state.postgres(), state::postgres_cache()?);
        let started = EmbeddedPostgres::start(&program, &settings).await;
        let embedded = started.map_err(|error| {
            let hint = error.hint().to_owned();
            anyhow::Error::new(error).context(format!("cannot start PostgreSQL; {hint}"))
        })?;
        let superuser = database(&embedded).await?;
        Ok(Self { embedded: Some(embedded), superuser })
    }

    /// Makes roles and schema, or brings them up to date.
    pub async fn prepare(&self, keys: &Keys) -> anyhow::Result<RoleUrls> {
        let urls = roles::bootstrap(&self.superuser, &keys.database_password).await.context("cannot make the roles")?;
        ckrv_server::migrate::run(&urls.owner).await?;
        Ok(urls)
    }

    /// Waits until the private database is gone; for ever with the user's own.
    pub async fn ended(&self) {
        match &self.embedded {
            Some(embedded) => embedded.ended().await,
            None => std::future::pending().await,
        }
    }

    pub async fn stop(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

async fn database(embedded: &EmbeddedPostgres) -> anyhow::Result<Secret> {
    let mut connection = PgConnection::connect(embedded.superuser_url().expose()).await?;
    let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(NAME)
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(if there { embedded.database_url(NAME) } else { embedded.create_database(NAME).await? })
}
