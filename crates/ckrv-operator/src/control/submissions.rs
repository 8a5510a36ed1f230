//! Hands in jobs that were made here by hand, and asks where they stand: what [`Handing`] says.
//!
//! It knows nothing of the cluster. A lost answer costs another request: one object makes one job.

use std::time::Duration;

use ckrv_client::runner::RunnerClient;
use ckrv_types::JobId;
use ckrv_types::limits::STANDINGS;
use futures::StreamExt;

use super::handing::Handing;
use crate::crash::crash_point;

/// Jobs handed in at once.
const CONCURRENCY: usize = 8;
/// Looked again without being told to.
const LOOK: Duration = Duration::from_secs(1);

/// For ever.
pub async fn run(client: RunnerClient, handing: Handing) {
    loop {
        tokio::select! {
            () = handing.woken() => (),
            () = tokio::time::sleep(LOOK) => (),
        }
        hand_in(&client, &handing).await;
        ask(&client, &handing).await;
    }
}

async fn hand_in(client: &RunnerClient, handing: &Handing) {
    let sending = handing.wishes().into_iter().map(|wish| async move {
        match client.hand_in(&wish).await {
            Ok(standing) => {
                crash_point("operator.handed-in");
                tracing::info!(object = wish.origin.name, job = %standing.job, "handed in a job");
                handing.taken(&wish, standing);
            }
            Err(error) => handing.not_taken(&wish, &error),
        }
    });
    futures::stream::iter(sending).buffer_unordered(CONCURRENCY).collect::<()>().await;
}

async fn ask(client: &RunnerClient, handing: &Handing) {
    for asked in handing.questions().chunks(STANDINGS) {
        let jobs: Vec<JobId> = asked.iter().map(|(_, job)| *job).collect();
        match client.standings(&jobs).await {
            Ok(answer) => {
                for (uid, job) in asked {
                    handing.stands(uid, answer.items.iter().find(|standing| standing.job == *job).cloned());
                }
            }
            // Asked again at the next look.
            Err(error) => tracing::warn!(%error, "nobody says where jobs stand"),
        }
    }
}
