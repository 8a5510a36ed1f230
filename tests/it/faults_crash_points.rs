//! Server, runner and worker die at every named place; the rest of ckrv makes good of what they leave.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use ckrv_client::Client;
use ckrv_tests::gate::Gate;
use ckrv_tests::repo::Repo;
use ckrv_tests::runners::ClassRunner;
use ckrv_tests::stack::{JOB, START, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::job::SubmitJob;
use ckrv_types::{Job, JobId, JobSpec, State};
use futures::future::join_all;

/// How long clients go on trying while a server is away.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn every_crash_point_has_a_test_that_visits_it() {
    let visited: Vec<&str> = server::VISITS.iter().map(|(name, _)| *name).collect();
    let known: BTreeSet<&str> = ckrv_server::crash::CRASH_POINTS.iter().copied().collect();
    assert_eq!(visited.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(visited.len(), known.len(), "one is visited twice");
    // Of these two, every place is visited that the worker lists.
    let found = [worker::PLACES, runner::PLACES].map(|prefix| places(prefix).len());
    assert!(found.iter().all(|count| *count > 0), "{found:?}");
    assert_eq!(found.iter().sum::<usize>(), ckrv_worker::crash::CRASH_POINTS.len());
}

/// The places of this part of the worker's program.
fn places(prefix: &str) -> Vec<&'static str> {
    ckrv_worker::crash::CRASH_POINTS.iter().copied().filter(|point| point.starts_with(prefix)).collect()
}

/// What one visit leaves: its job, which is over, and the home of its runner.
type Left = (JobId, PathBuf);

/// Visits all of these places at once, each by a runner of its own, and judges what they have left together.
async fn visit_all(prefix: &str, visit: impl AsyncFn(&Stack, &Repo, &str) -> Left) {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let visits = join_all(places(prefix).into_iter().map(|point| visit(&stack, &repo, point))).await;
    let (jobs, homes): (Vec<JobId>, Vec<PathBuf>) = visits.into_iter().unzip();
    let mut judged = stack.judged(&jobs);
    judged.homes = homes;
    stack.all_hold(&judged).await;
}

/// The class of the jobs, and the name of the runner, of one visit.
fn class_of(point: &str) -> String {
    point.replace('.', "-")
}

/// Waits until a runner has no work left: it clears up before it may go.
async fn cleared_up(runner: &ClassRunner) -> PathBuf {
    let work = runner.home().join("work");
    let is_empty = || std::fs::read_dir(&work).is_ok_and(|mut entries| entries.next().is_none());
    wait_for("the runner clears up", START, async || is_empty().then_some(())).await;
    runner.home()
}

/// A small job: it prints, and changes what is to be stored.
fn spec(repo: &Repo) -> JobSpec {
    let command = ["sh", "-c", "echo begun; echo made > made.txt; echo done"].map(str::to_owned).into();
    JobSpec { command, artifacts: vec!["made.txt".to_owned()], ..JobSpec::new(repo.url()) }
}

async fn submit(client: &Client, spec: JobSpec) -> JobId {
    client.submit(&SubmitJob { spec, project: None }).await.expect("the job is accepted").id
}

async fn ended(stack: &Stack, job: JobId) -> Job {
    let client = stack.client();
    wait_for(&format!("{job} is over"), JOB, async || {
        client.job(job).await.ok().filter(|job| job.finished_at.is_some())
    })
    .await
}

#[track_caller]
fn aborted(status: ExitStatus, point: &str) {
    const SIGABRT: i32 = 6;
    assert_eq!(status.signal(), Some(SIGABRT), "{point}: {status}; were the programs built with the whole workspace?");
}

mod runner;
mod server;
mod worker;
