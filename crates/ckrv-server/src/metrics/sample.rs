//! What is not counted as it happens but looked at now and then; and forgetting the addresses that nobody calls from.

use std::time::Duration;

use ckrv_types::State;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::StateLabel;
use crate::db::{live, rate_limits};
use crate::state::AppState;

const EVERY: Duration = Duration::from_secs(15);

/// Samples until `shutdown`.
pub async fn run(state: AppState, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        state.addresses.forget_idle();
        state.gates.forget_idle();
        if let Err(error) = sample(&state).await {
            tracing::debug!(%error, "could not look at the queue");
        }
    }
}

async fn sample(state: &AppState) -> Result<(), sqlx::Error> {
    rate_limits::forget_idle(&state.db).await?;
    let live = live::look(&state.db).await?;
    for known in State::ALL.into_iter().filter(|known| !known.is_terminal()) {
        let count = live.by_state.iter().find(|(found, _)| *found == known).map_or(0, |(_, count)| *count);
        state.metrics.attempts.get_or_create(&StateLabel { state: known.as_str() }).set(count);
    }
    state.metrics.queue_age.set(live.oldest_queued);
    Ok(())
}
