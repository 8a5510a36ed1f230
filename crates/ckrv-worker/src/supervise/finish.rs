//! The last word: it is repeated until the control plane has taken it, or says that it will not.

use ckrv_client::ClientError;
use ckrv_client::worker::WorkerClient;
use ckrv_types::worker::{Finish, Finished};

use crate::crash::crash_point;
use ckrv_client::Backoff;

/// Says how the attempt ended, for as long as it takes to be heard.
pub async fn finish(client: &WorkerClient, finish: &Finish) -> Result<Finished, ClientError> {
    let mut backoff = Backoff::for_requests();
    crash_point("worker.before-finish");
    loop {
        let error = match client.finish(finish).await {
            Ok(finished) => {
                crash_point("worker.after-finish");
                return Ok(finished);
            }
            Err(error) => error,
        };
        if error.is_final() {
            return Err(error);
        }
        tracing::warn!(%error, "the attempt's end is not acknowledged yet");
        tokio::time::sleep(backoff.pause(error.retry_after())).await;
    }
}
