//! Ends what nobody else ends: attempts whose runner or worker is gone, or whose limits are past and unenforced.
//!
//! Silence counts only when it is theirs. If this loop, or the way in through which they beat, was down for longer than
//! one beat, everyone gets a whole lease to be heard again before anyone is judged. All clocks are the database's.
//!
//! 1. Beat.
//! 2. Find what is overdue.
//! 3. For each in a transaction of its own: lock the job, judge again, end the attempt. The job is retried or over by
//!    `transition()`, like everywhere.

mod verdict;
pub mod way_in;

use std::time::Duration;

use ckrv_types::limits;

use crate::crash_point;
use crate::db::reach::Reach;
use crate::db::transition::Transition;
use crate::db::{beats, idempotency, jobs};
use crate::state::AppState;
use verdict::{Overdue, Terms};

/// Between two passes.
pub const EVERY: Duration = Duration::from_secs(1);

const SWEEPER: &str = "sweeper";
const WAY_IN: &str = "way-in";
/// Attempts that one pass ends at most.
const BATCH: i64 = 500;

/// One pass.
pub async fn tick(state: &AppState) -> Result<(), sqlx::Error> {
    let terms = terms(state).await?;
    let mut tx = state.db.system().await?;
    let overdue = verdict::overdue(&mut tx, &terms, None, BATCH).await?;
    tx.commit().await?;
    for found in overdue {
        // One that cannot be ended keeps none of the others.
        if let Err(error) = end(state, &terms, &found).await {
            tracing::warn!(%error, attempt = %found.attempt, "an attempt was not ended; it is tried again");
        }
        crash_point!("server.sweeper.between");
    }
    while forget_old(state).await? == idempotency::FORGET {}
    Ok(())
}

async fn forget_old(state: &AppState) -> Result<u64, sqlx::Error> {
    let mut tx = state.db.system().await?;
    let forgotten = idempotency::forget_old(&mut tx, limits::IDEMPOTENCY_HOURS).await?;
    tx.commit().await?;
    Ok(forgotten)
}

/// Beats, and says by which terms to judge now.
async fn terms(state: &AppState) -> Result<Terms, sqlx::Error> {
    let (beat, lease) = beat_and_lease(state);
    let mut tx = state.db.system().await?;
    beats::beat(&mut tx, SWEEPER, beat, lease).await?;
    let silence_counts = beats::may_judge(&mut tx, &[SWEEPER, WAY_IN], beat).await?;
    tx.commit().await?;
    Ok(Terms {
        silence_counts,
        lease,
        slack: Duration::from_secs(limits::SLACK_SECONDS),
        finish: Duration::from_secs(limits::FINISH_SECONDS),
    })
}

async fn end(state: &AppState, terms: &Terms, found: &Overdue) -> Result<(), sqlx::Error> {
    let job = found.attempt.job;
    let mut tx = state.db.system().await?;
    if jobs::lock(&mut tx, job, &Reach::ALL).await?.is_none() {
        return Ok(());
    }
    // It may have been heard of since, or have ended.
    let Some(found) = verdict::overdue(&mut tx, terms, Some(found.attempt), 1).await?.pop() else { return Ok(()) };
    let (cause, message) = (found.cause(), found.message(terms));
    let end = Transition::end_of_job(&mut tx, found.attempt, cause, Some(&message)).await?;
    let Some(moved) = end.apply(&mut tx).await? else { return Ok(()) };
    tx.commit().await?;
    tracing::info!(attempt = %found.attempt, %cause, retried = moved.retried, "ended: {message}");
    state.metrics.swept(cause);
    moved.announce(job, &state.wake);
    Ok(())
}

/// The gap in our own beats that counts as an outage, and the lease. A pass that is a little late is none.
fn beat_and_lease(state: &AppState) -> (Duration, Duration) {
    let beat = Duration::from_secs(state.config.beat_seconds).max(3 * EVERY);
    (beat, Duration::from_secs(state.config.lease_seconds))
}
