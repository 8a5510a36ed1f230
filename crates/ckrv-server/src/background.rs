//! The loops that run beside the routes, and who may run them.
//!
//! Admission and the sweeper must see the whole installation and act once, so one replica leads: whoever holds a session
//! advisory lock, on a connection kept for it alone. When that connection is gone so is the lock, and with it
//! the lead; another replica takes it at its next try.

use std::error::Error;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::db::locks::Lock;
use crate::logs::archive;
use crate::state::AppState;
use crate::{admission, retention, sweeper, wake};

/// How often a replica tries to lead, and the leader makes sure that it still does.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long the leader waits for the answer by which it knows: a connection may go without a word.
const ANSWER: Duration = Duration::from_secs(5);

/// Starts this module's loops on `tracker`; they end with `shutdown`.
pub fn spawn(state: &AppState, tracker: &TaskTracker, shutdown: &CancellationToken) {
    tracker.spawn(wake::run(state.wake.clone(), state.db.clone(), shutdown.clone()));
    tracker.spawn(lead_for_ever(state.clone(), shutdown.clone()));
}

async fn lead_for_ever(state: AppState, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(TRY_AGAIN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        match Box::pin(try_lead(&state, &shutdown)).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "no lead: the database did not answer as it should"),
        }
    }
}

/// Leads until shutdown or an error, if nobody else does.
async fn try_lead(state: &AppState, shutdown: &CancellationToken) -> Result<(), sqlx::Error> {
    let mut lock = state.db.connection().await?;
    let leads: bool =
        sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(Lock::Leader.key()).fetch_one(&mut lock).await?;
    if !leads {
        return lock.close().await;
    }
    tracing::info!("this replica leads: admission and sweeper run here");
    let outcome = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        lost = keep(&mut lock) => Err(lost),
        () = admit_for_ever(state) => Ok(()),
        () = sweep_for_ever(state) => Ok(()),
        () = store_for_ever(state) => Ok(()),
    };
    // Closing ends the session, and with it the lock; a connection that is silent is dropped.
    let _ = tokio::time::timeout(ANSWER, lock.close()).await;
    outcome
}

/// Returns when the session that holds the lock is gone, or nobody can say whether it is.
async fn keep(lock: &mut PgConnection) -> sqlx::Error {
    loop {
        tokio::time::sleep(TRY_AGAIN).await;
        match tokio::time::timeout(ANSWER, lock.ping()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(silent) => return sqlx::Error::Io(silent.into()),
        }
    }
}

async fn admit_for_ever(state: &AppState) {
    let mut woken = state.wake.admission();
    loop {
        if let Err(error) = admission::pass(state).await {
            tracing::warn!(%error, "admission did not get through; it tries again");
        }
        woken.wait().await;
    }
}

async fn sweep_for_ever(state: &AppState) {
    let mut ticks = tokio::time::interval(sweeper::EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = sweeper::tick(state).await {
            tracing::warn!(%error, "the sweeper did not get through; it tries again");
        }
    }
}

/// One after the other, so that nothing is archived while it is removed.
async fn store_for_ever(state: &AppState) {
    let mut ticks = tokio::time::interval(archive::EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retained: Option<Instant> = None;
    loop {
        ticks.tick().await;
        if let Err(error) = archive::tick(state).await {
            tracing::warn!(%error, "the archive did not get through; it tries again");
        }
        if retained.is_none_or(|at| at.elapsed() >= retention::EVERY) {
            retained = Some(Instant::now());
            if let Err(error) = retention::tick(state).await {
                tracing::warn!(error = &error as &dyn Error, "retention did not get through; it tries again");
            }
            if let Err(error) = state.signing_keys.rotate(&state.db).await {
                tracing::warn!(error = &error as &dyn Error, "the signing keys were not looked after; it tries again");
            }
        }
    }
}
