//! Server, runner and worker die at every named place; the rest of ckrv makes good of what they leave.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use ckrv_client::Client;
use ckrv_tests::gate::Gate;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{JOB, START, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::job::SubmitJob;
use ckrv_types::{Job, JobId, JobSpec, State};

/// How long clients go on trying while a server is away.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn every_crash_point_has_a_test_that_visits_it() {
    let visited = server::VISITS.iter().map(|(name, _)| *name);
    let visited: Vec<&str> = visited.chain(worker::VISITS.to_vec()).chain(runner::VISITS.to_vec()).collect();
    let known = ckrv_server::crash::CRASH_POINTS.iter().chain(ckrv_worker::crash::CRASH_POINTS);
    assert_eq!(visited.iter().collect::<BTreeSet<_>>(), known.collect::<BTreeSet<_>>());
    assert_eq!(visited.len(), visited.iter().collect::<BTreeSet<_>>().len(), "one is visited twice");
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
