//! The beat that keeps the attempt's lease, for as long as its worker lives. Whatever becomes of a beat, the agent works on:
//! only the control plane's own word stops it.
//!
//! The control plane holds its answers back until it has something to say, for up to the time between two beats; so a
//! cancellation is heard at once. Where such an answer does not come through, the next beat asks for one at once: then a
//! cancellation is heard with a beat.

use std::time::Duration;

use ckrv_client::Backoff;
use ckrv_client::worker::WorkerClient;
use ckrv_types::limits::HEARTBEAT_WAIT_SECONDS;
use ckrv_types::worker::WorkerHeartbeat;
use tokio::time::Instant;

use super::control::{Control, Stop};
use super::outcome::noted;
use super::vitals::Vitals;

/// Beats until it is dropped or the attempt is over.
pub async fn beat(client: WorkerClient, instance: String, every: Duration, vitals: Vitals, control: Control) {
    let every = every.min(Duration::from_secs(HEARTBEAT_WAIT_SECONDS));
    let mut changes = vitals.subscribe();
    let backoff = Backoff::new(Duration::from_millis(250), every / 2);
    let mut failing = backoff.clone();
    let mut is_failing = false;
    let mut told = None;
    let mut due = Instant::now();
    loop {
        if !is_failing {
            due = Instant::now() + every;
        }
        let state = changes.borrow_and_update().clone();
        // A phase counts once it is answered: only a beat that says nothing new may be held, and given up for the next.
        let is_news = told != Some(state.phase);
        let wait = if is_failing || is_news || control.reason().is_some() { Duration::ZERO } else { every };
        // A held answer is late when the next beat is; one that was to come at once, when a whole beat is over.
        let limit = if wait.is_zero() { every } else { every + every / 4 };
        let beat = WorkerHeartbeat { instance: instance.clone(), phase: state.phase, usage: state.usage };
        let answer = tokio::select! {
            answer = tokio::time::timeout(limit, client.heartbeat(&beat, wait)) => answer,
            // Told at once, not when the answer to the last phase is due.
            _ = changes.changed(), if !wait.is_zero() => continue,
        };
        let next = match answer {
            Ok(Ok(answer)) => {
                (failing, is_failing, told) = (backoff.clone(), false, Some(state.phase));
                if let Some(cause) = answer.noted {
                    control.note(noted(cause, answer.noted_message));
                }
                if answer.cancel {
                    control.stop(Stop::Cancel);
                } else if is_news {
                    continue;
                }
                due
            }
            Ok(Err(error)) if error.is_final() => {
                tracing::warn!(%error, "the control plane takes no more beats: the attempt is over");
                control.set_over();
                return;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a beat did not arrive");
                is_failing = true;
                Instant::now() + failing.pause(error.retry_after())
            }
            Err(_) => {
                is_failing = true;
                Instant::now() + failing.pause(None)
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(next) => (),
            // The sender lives as long as this task's `vitals`.
            _ = changes.changed() => (),
        }
    }
}
