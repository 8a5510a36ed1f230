//! What the server needs, and what it can do without for a while.
//!
//! Without its database it answers nothing, so it is not ready. Without the object store it accepts jobs, has them run and
//! shows their state and their fresh logs; were it taken out of service for that, one part's outage would be everybody's.
//!
//! Load balancers ask often: the database is asked once for all who wait, and the answer is good for [`FRESH`]. The
//! object store is never asked on behalf of a request, whose sender has less patience than a store that hangs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use super::parts::{Found, Part, Trouble};
use crate::db::Db;
use crate::db::selfcheck::{self, Refusal};
use crate::metrics::ComponentLabel;
use crate::s3::S3;
use crate::state::AppState;

const FRESH: Duration = Duration::from_secs(1);
/// A part that takes longer to answer counts as away.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often both are looked at though nobody asks.
const EVERY: Duration = Duration::from_secs(5);

const STOPPING: Trouble = Trouble { component: "server", message: "is shutting down" };
const NO_DATABASE: Trouble = Trouble { component: "database", message: "does not answer as it should" };
const WRONG_ROLES: Trouble = Trouble { component: "roles", message: "in the database are not those that it needs" };
const WRONG_SCHEMA: Trouble = Trouble { component: "schema", message: "is not this release's" };
const NO_STORAGE: Trouble = Trouble {
    component: "storage",
    message: "does not answer as it should: artifacts, archived logs and the archiving of others wait",
};

/// The latest looks.
pub struct Readiness {
    database: Part,
    storage: Part,
    /// When the database was asked last; held while it is asked.
    asked: Mutex<Option<Instant>>,
    is_leaving: AtomicBool,
}

impl Readiness {
    /// `up` follows the parts by name.
    pub fn new(up: &Family<ComponentLabel, Gauge>) -> Self {
        let [database, storage] = ["database", "storage"].map(|name| Part::new(name, up.clone()));
        Self { database, storage, asked: Mutex::default(), is_leaving: AtomicBool::new(false) }
    }

    /// From now on it is not ready, so that nobody new is sent here.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// What keeps the server from serving.
    pub async fn missing(&self, state: &AppState) -> Option<Trouble> {
        if self.is_leaving.load(Ordering::Relaxed) {
            return Some(STOPPING);
        }
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= FRESH) {
            self.database.note(ask_database(&state.db).await);
            *asked = Some(Instant::now());
        }
        self.database.trouble()
    }

    /// What the server serves without.
    pub fn degraded(&self) -> Option<Trouble> {
        self.storage.trouble()
    }
}

/// Looks at both parts now and then, until `shutdown`.
pub async fn watch(state: AppState, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let storage = async { state.readiness.storage.note(Box::pin(ask_storage(&state.s3)).await) };
        let both = async { tokio::join!(state.readiness.missing(&state), storage) };
        // A look that is broken off says nothing of what it looked at.
        shutdown.run_until_cancelled(both).await;
    }
}

async fn ask_database(db: &Db) -> Result<(), Found> {
    let refusal = match timeout(PATIENCE, selfcheck::still_ours(db)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(refusal)) => refusal,
        Err(late) => return Err(Found { trouble: NO_DATABASE, error: late.into() }),
    };
    let trouble = match &refusal {
        Refusal::Database(_) => NO_DATABASE,
        Refusal::Role { .. } | Refusal::Privileged(_) | Refusal::Owner(_) => WRONG_ROLES,
        Refusal::Unprotected(_)
        | Refusal::Leaking(_)
        | Refusal::NoSchema
        | Refusal::Behind { .. }
        | Refusal::Changed(_) => WRONG_SCHEMA,
    };
    Err(Found { trouble, error: refusal.into() })
}

async fn ask_storage(s3: &S3) -> Result<(), Found> {
    match timeout(PATIENCE, s3.check()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Found { trouble: NO_STORAGE, error: error.into() }),
        Err(late) => Err(Found { trouble: NO_STORAGE, error: late.into() }),
    }
}
