//! The beat that keeps the attempt's lease, for as long as its worker lives. Whatever becomes of a beat, the agent works on:
//! only the control plane's own word stops it.

use std::time::Duration;

use ckrv_client::worker::WorkerClient;
use ckrv_types::worker::WorkerHeartbeat;

use super::control::{Control, Stop};
use super::vitals::Vitals;
use ckrv_client::Backoff;

/// Beats until it is dropped or the attempt is over.
pub async fn beat(client: WorkerClient, instance: String, every: Duration, vitals: Vitals, control: Control) {
    let mut changes = vitals.subscribe();
    let backoff = Backoff::new(Duration::from_millis(250), every);
    let mut failing = backoff.clone();
    loop {
        let state = changes.borrow_and_update().clone();
        let beat = WorkerHeartbeat { instance: instance.clone(), phase: state.phase, usage: state.usage };
        let pause = match tokio::time::timeout(every, client.heartbeat(&beat)).await {
            Ok(Ok(answer)) => {
                failing = backoff.clone();
                if answer.cancel {
                    control.stop(Stop::Cancel);
                }
                every
            }
            Ok(Err(error)) if error.is_final() => {
                tracing::warn!(%error, "the control plane takes no more beats: the attempt is over");
                control.set_over();
                return;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a beat did not arrive");
                failing.pause(error.retry_after())
            }
            Err(_) => failing.pause(None),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => (),
            // The sender lives as long as this task's `vitals`.
            _ = changes.changed() => (),
        }
    }
}
