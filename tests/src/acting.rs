//! Playing the parts of a runner's worker against a real server: take an assignment, beat, finish.

use std::time::Duration;

use ckrv_client::ClientError;
use ckrv_client::runner::RunnerClient;
use ckrv_client::worker::WorkerClient;
use ckrv_types::artifact::Summary;
use ckrv_types::runner::Assignment;
use ckrv_types::worker::{
    Finish, Finished, Outcome, Start, Started, WorkerHeartbeat, WorkerHeartbeatAnswer, WorkerPhase,
};
use ckrv_types::{AttemptId, Cause, JobId, ProblemCode};

use crate::replica::Replica;
use crate::wait::wait_for;

/// Longer than any test's server takes to do what it was asked.
pub const SOON: Duration = Duration::from_secs(20);

/// A worker that holds an attempt.
pub struct Worker {
    pub client: WorkerClient,
    pub started: Started,
    pub instance: String,
}

/// Waits until `runner` has been given an attempt of `job`.
pub async fn assignment_of(runner: &RunnerClient, job: JobId) -> Assignment {
    wait_for("the job is assigned", SOON, async || {
        let list = runner.assignments(Duration::ZERO, None).await.expect("the runner may list");
        list.items.into_iter().find(|item| item.attempt.job == job)
    })
    .await
}

/// An instance of its own for each `number`.
pub fn instance(number: u8) -> String {
    format!("{number:02x}").repeat(16)
}

/// One call of `start`.
pub async fn start(replica: &Replica, assignment: &Assignment, number: u8) -> Result<Worker, ClientError> {
    start_as(replica.worker(&assignment.bootstrap_token.0), number).await
}

/// The same by a worker that has its bootstrap token.
pub async fn start_as(boot: WorkerClient, number: u8) -> Result<Worker, ClientError> {
    let instance = instance(number);
    let start = Start { instance: instance.clone(), version: "0.0.0".into(), node: Some("test-node".into()) };
    let started = boot.start(&start).await?;
    let client = boot.with_token(&started.attempt_token.0).expect("the token can be sent");
    Ok(Worker { client, started, instance })
}

/// Waits for the job's assignment to `runner` and starts its worker.
pub async fn work_on(replica: &Replica, runner: &RunnerClient, job: JobId) -> Worker {
    let assignment = assignment_of(runner, job).await;
    start(replica, &assignment, 1).await.expect("the worker can start")
}

impl Worker {
    pub fn attempt(&self) -> AttemptId {
        self.started.attempt
    }

    pub async fn beat(&self, phase: WorkerPhase) -> Result<WorkerHeartbeatAnswer, ClientError> {
        self.attend(phase, Duration::ZERO).await
    }

    /// A beat whose answer may be held back for `wait`.
    pub async fn attend(&self, phase: WorkerPhase, wait: Duration) -> Result<WorkerHeartbeatAnswer, ClientError> {
        self.client.heartbeat(&WorkerHeartbeat { instance: self.instance.clone(), phase, usage: None }, wait).await
    }

    /// Ends the attempt: `None` for success.
    pub async fn finish(&self, cause: Option<Cause>) -> Result<Finished, ClientError> {
        self.client.finish(&self.last_word(cause)).await
    }

    pub fn last_word(&self, cause: Option<Cause>) -> Finish {
        Finish {
            instance: self.instance.clone(),
            outcome: Outcome { cause, message: cause.map(|cause| format!("said by a test: {cause}")), exit_code: None },
            last_seq: 0,
            artifacts: Vec::new(),
            summary: Some(summary(self.attempt().job)),
            usage: None,
        }
    }
}

fn summary(job: JobId) -> Summary {
    Summary {
        branch: format!("ckrv/{job}"),
        base_commit: "a".repeat(40),
        head_commit: "b".repeat(40),
        agent_commits: 1,
        tree_commit: false,
        files_changed: 1,
        insertions: 2,
        deletions: 3,
        warnings: Vec::new(),
    }
}

/// The code of the problem that the server answered with.
pub fn refused<T>(answer: Result<T, ClientError>) -> ProblemCode {
    match answer {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.problem_code().unwrap_or_else(|| panic!("not a problem: {error}")),
    }
}
