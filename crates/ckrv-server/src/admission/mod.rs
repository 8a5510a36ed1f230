//! Gives queued attempts to runners: organizations in turn, each one's by priority and then age; within what each
//! organization may run at once and each runner can take.
//!
//! One replica at a time, under the leader's lock (see [`crate::background`]), and as long as two take themselves for the
//! leader one after the other. Woken by whoever makes work or room, and looking each second by itself.

mod capacity;
mod statement;

use std::time::Duration;

use ckrv_types::RunnerId;
use sqlx::types::Uuid;

pub use capacity::{Capacity, busy, capacity};

use crate::crash_point;
use crate::db::Tx;
use crate::db::locks::Lock;
use crate::state::AppState;

/// Attempts that one transaction gives to one runner at most: their jobs' rows are locked until it commits.
const BATCH: i64 = 200;

/// Gives out all that can be given out now.
pub async fn pass(state: &AppState) -> Result<(), sqlx::Error> {
    let lease = Duration::from_secs(state.config.lease_seconds);
    for runner in runners_with_room(state, lease).await? {
        while admit(state, runner).await? == BATCH.unsigned_abs() {}
    }
    Ok(())
}

/// Living runners with room, the emptiest first; none when nothing is waiting.
async fn runners_with_room(state: &AppState, lease: Duration) -> Result<Vec<RunnerId>, sqlx::Error> {
    // By itself: it is asked at every submission.
    let ids: Vec<Uuid> = sqlx::query_scalar(statement::RUNNERS_WITH_ROOM)
        .bind(lease.as_secs_f64())
        .fetch_all(state.db.system_pool())
        .await?;
    Ok(ids.into_iter().map(RunnerId::from_uuid).collect())
}

/// Gives the next attempts to `runner`; how many.
async fn admit(state: &AppState, runner: RunnerId) -> Result<u64, sqlx::Error> {
    let mut tx = state.db.system().await?;
    // A statement of its own: the next one has to see what the holder before has given out.
    sqlx::query("select pg_advisory_xact_lock($1)").bind(Lock::Admission.key()).execute(&mut *tx).await?;
    let admitted = assign(&mut tx, runner).await?;
    if admitted.is_empty() {
        return Ok(0);
    }
    tx.commit().await?;
    crash_point!("server.admission.committed");

    state.wake.notify_runner(runner);
    for (job, waited) in &admitted {
        state.metrics.admission_wait(*waited);
        state.wake.notify_job(ckrv_types::JobId::from_uuid(*job));
    }
    Ok(admitted.len() as u64)
}

/// The jobs whose attempts were assigned, and the seconds that each had waited since it could have been.
async fn assign(tx: &mut Tx, runner: RunnerId) -> Result<Vec<(Uuid, f64)>, sqlx::Error> {
    sqlx::query_as(statement::ASSIGN).bind(runner.uuid()).bind(BATCH).fetch_all(&mut **tx).await
}
