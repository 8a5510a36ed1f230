//! Parts of the control plane go away while jobs run: what the user sees of it is at most a delay.
//!
//! Where silence is judged, beats and leases are a fifth of the usual ones, and outages are as much shorter.

use std::path::PathBuf;
use std::time::Duration;

use ckrv_tests::cutter::Cutter;
use ckrv_tests::gate::{Gate, assert_counted, count};
use ckrv_tests::random::Random;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{JOB, Options, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::artifact::{ArtifactStatus, BUNDLE};
use ckrv_types::limits::{BEAT_SECONDS, LEASE_SECONDS};
use ckrv_types::{AttemptId, Cause, Job, JobId, State};

/// How much shorter than usual beats and leases are where silence is judged.
const SCALE: u64 = 5;
const LEASE: Duration = Duration::from_secs(LEASE_SECONDS / SCALE);

fn quick_leases() -> Vec<(&'static str, String)> {
    let seconds = |usual: u64| (usual / SCALE).to_string();
    vec![("CKRV_BEAT_SECONDS", seconds(BEAT_SECONDS)), ("CKRV_LEASE_SECONDS", seconds(LEASE_SECONDS))]
}

/// Time that passes on purpose: an outage has to last.
async fn lasts(outage: Duration) {
    tokio::time::sleep(outage).await;
}

fn first(job: JobId) -> AttemptId {
    AttemptId { job, number: 1 }
}

fn work_folder(stack: &Stack, attempt: AttemptId) -> PathBuf {
    stack.runner_home().join("work").join(attempt.to_string())
}

/// The process that supervises an attempt, by the file that it holds.
async fn supervisor(stack: &Stack, attempt: AttemptId) -> i32 {
    let alive = work_folder(stack, attempt).join("alive");
    wait_for("the supervisor says who it is", JOB, async || std::fs::read_to_string(&alive).ok()?.trim().parse().ok())
        .await
}

/// Waits until the job's latest attempt, this one, is in `state`.
async fn until(stack: &Stack, attempt: AttemptId, state: State) -> Job {
    let client = stack.client();
    wait_for(&format!("{attempt} is {state}"), JOB, async || {
        let job = client.job(attempt.job).await.ok()?;
        (job.attempt == attempt.number && job.state == state).then_some(job)
    })
    .await
}

/// It went well, at the first try.
#[track_caller]
fn succeeded_at_once(job: &Job) {
    let shown = (job.state, job.cause, job.attempt);
    assert_eq!(shown, (State::Succeeded, None, 1), "{:?}", job.message);
}

mod database;
mod processes;
mod storage;
mod stream;
mod worker;
