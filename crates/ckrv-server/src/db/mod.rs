//! PostgreSQL: the pools of the two roles and the only ways to a transaction.
//!
//! A tenant's transaction sets its organization before anything else ([`Db::tenant`]), so that row-level security shows it
//! that organization's rows. [`Db::system`] sees all organizations and is for the modules named in its docs only.

pub mod accounts;
pub mod archive;
pub mod artifacts;
pub mod assignments;
pub mod attempts;
pub mod audit;
pub mod audit_entries;
pub mod authorization_codes;
pub mod beats;
pub mod credentials;
pub mod data_keys;
pub mod decode;
pub mod device_codes;
pub mod events;
pub mod handed_in;
pub mod idempotency;
pub mod identities;
pub mod invitations;
pub mod jobs;
pub mod keys;
pub mod live;
pub mod locks;
pub mod logins;
pub mod logs;
pub mod members;
pub mod orgs;
pub mod projects;
pub mod queue;
pub mod quotas;
pub mod rate_limits;
pub mod reach;
pub mod refresh_tokens;
pub mod retention;
pub mod roles;
pub mod runners;
pub mod selfcheck;
pub mod service_accounts;
pub mod sessions;
pub mod sign_ins;
pub mod signing_keys;
pub mod transition;
mod turns;
pub mod usage;
pub mod users;

use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::Duration;

use ckrv_types::OrgId;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};
use tokio::time::timeout;

use self::turns::{Turn, Turns};
use crate::config::DatabaseConfig;

/// The schema's migrations, expand/contract: a release's server also runs on the schema of the one before.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// A connection that was idle for longer is tested before it is used: the database may have been restarted.
const TEST_IDLE: Duration = Duration::from_secs(1);
/// How long a request waits for its turn, and then for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Db {
    app: PgPool,
    /// Of organizations, for the connections of `app`.
    turns: Turns,
    system: PgPool,
}

impl Db {
    /// Makes both pools. Connects lazily: whether the database is there is for the readiness check to say.
    pub fn new(config: &DatabaseConfig) -> Result<Self, sqlx::Error> {
        let app = pool(config.database_url.expose(), config.database_connections, "ckrv-app")?;
        let system =
            pool(config.system_database_url.expose(), (config.database_connections / 4).max(4), "ckrv-system")?;
        Ok(Self { app, turns: Turns::new(config.database_connections), system })
    }

    /// A transaction that sees `org`'s rows and no others. Organizations have them in turn: whoever has one must not wait for
    /// another.
    pub async fn tenant(&self, org: OrgId) -> Result<Tx, sqlx::Error> {
        let turn = timeout(PATIENCE, self.turns.take(org)).await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        // Both at once, since every request pays for it; a UUID needs no escaping.
        let begin = format!("begin; set local ckrv.org = '{}'", org.uuid());
        Ok(Tx { transaction: self.app.begin_with(AssertSqlSafe(begin)).await?, _turn: Some(turn) })
    }

    /// A transaction that sees every organization's rows in the tables granted to ckrv_system.
    ///
    /// For these modules only (a test reads the sources and holds them to the list): credential look-up by hash,
    /// admission, the sweeper, retention, the log archive, the runner protocol, the counts for the metrics, the
    /// authorization server, the pages of people (who may belong to several), the vault (whose secrets no tenant may read),
    /// what an administrator makes, and how people join an organization or make one.
    pub async fn system(&self) -> Result<Tx, sqlx::Error> {
        Ok(Tx { transaction: self.system.begin().await?, _turn: None })
    }

    /// The application's pool, for the start-up self-check and the pool's metrics.
    pub(crate) fn app_pool(&self) -> &PgPool {
        &self.app
    }

    /// The system's pool, for the same.
    pub(crate) fn system_pool(&self) -> &PgPool {
        &self.system
    }

    /// A connection of the system's role outside of the pools, for what lasts: the leader's advisory lock, NOTIFY.
    pub(crate) async fn connection(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&self.system.connect_options()).await
    }

    /// A pool of one connection for LISTEN, which reconnects through it.
    pub(crate) fn listener_pool(&self) -> PgPool {
        let options = PgConnectOptions::clone(&self.system.connect_options());
        PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None).connect_lazy_with(options)
    }
}

/// A transaction. Dropped without [`Tx::commit`] it is rolled back.
pub struct Tx {
    transaction: Transaction<'static, Postgres>,
    /// Given back behind the connection.
    _turn: Option<Turn>,
}

impl Tx {
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

fn pool(url: &str, connections: u32, name: &str) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?
        .application_name(name)
        // A session that hangs (a client gone mid-transaction) must not hold a job's row for ever.
        .options([
            ("idle_in_transaction_session_timeout", "60s"),
            ("lock_timeout", "20s"),
            ("statement_timeout", "60s"),
        ]);
    Ok(PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .idle_timeout(Duration::from_mins(5))
        // One that was just used is not tested again: the round trip would be a fifth of a small transaction.
        .test_before_acquire(false)
        .before_acquire(|connection, used| {
            Box::pin(async move {
                if used.idle_for > TEST_IDLE {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options))
}
