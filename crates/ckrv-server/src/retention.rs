//! Removing what is kept no longer: what people sign in and let programs in by, once it is over; log and artifacts some days after a job's
//! end, its row later. Of jobs:
//!
//! 1. Mark: the jobs and their artifacts are said to be gone. From now on readers are told so.
//! 2. Delete the objects from the store.
//! 3. Delete the rows that named them, so that nothing is left to do for these jobs.
//! 4. Delete the rows of jobs that are older still, of which nothing is left in the store.
//!
//! Dying in between, or the store being away, leaves rows that the next pass finds. One replica does this, after the
//! archive's pass and never at the same time, so that no log is archived while it is removed.

use std::time::Duration;

use crate::crash_point;
use crate::db::retention;
use crate::s3::S3Error;
use crate::state::AppState;

/// How often a pass is made.
pub const EVERY: Duration = Duration::from_mins(10);

#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Storage(#[from] S3Error),
}

/// One pass over everything that is due.
pub async fn tick(state: &AppState) -> Result<(), RetentionError> {
    // First, because it needs no object store.
    while forget_credentials(state).await? > 0 {}
    while mark(state).await? > 0 {}
    crash_point!("server.retention.marked");
    while remove(state).await? > 0 {}
    while forget(state).await? > 0 {}
    Ok(())
}

async fn forget_credentials(state: &AppState) -> Result<u64, RetentionError> {
    let mut tx = state.db.system().await?;
    let deleted = retention::delete_credentials(&mut tx).await?;
    tx.commit().await?;
    Ok(deleted)
}

async fn mark(state: &AppState) -> Result<u64, RetentionError> {
    let mut tx = state.db.system().await?;
    let marked = retention::mark(&mut tx, state.config.retention_days).await?;
    tx.commit().await?;
    if marked > 0 {
        tracing::info!(jobs = marked, "logs and artifacts are past their retention time");
    }
    Ok(marked)
}

async fn remove(state: &AppState) -> Result<usize, RetentionError> {
    let mut tx = state.db.system().await?;
    let jobs = retention::marked(&mut tx).await?;
    let keys = retention::objects(&mut tx, &jobs).await?;
    tx.commit().await?;
    state.s3.delete_many(&keys).await?;
    crash_point!("server.retention.objects-deleted");
    let mut tx = state.db.system().await?;
    retention::clear(&mut tx, &jobs).await?;
    tx.commit().await?;
    Ok(jobs.len())
}

async fn forget(state: &AppState) -> Result<u64, RetentionError> {
    let mut tx = state.db.system().await?;
    let deleted = retention::delete_jobs(&mut tx, state.config.row_retention_days).await?;
    tx.commit().await?;
    if deleted > 0 {
        tracing::info!(jobs = deleted, "rows of jobs are past their retention time");
    }
    Ok(deleted)
}
