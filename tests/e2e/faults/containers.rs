//! What happens to the containers of a job's pod.

use ckrv_types::{Cause, JobId, State};
use serde_json::json;

use super::{Fault, LONG, TOLD};
use crate::own::Own;
use crate::release::{Release, Wanted};

/// Fills the memory that all containers of a pod have at /dev/shm: it counts for the container that wrote it.
const FILL: &str = "head -c 200000000 /dev/zero > /dev/shm/filling";

async fn with_little_memory(container: &str) -> Release {
    let limits = json!({ "requests": { "cpu": "5m", "memory": "16Mi" }, "limits": { "memory": "56Mi" } });
    Release::with(Wanted { class: json!({ container: limits }), ..Wanted::default() }).await
}

/// A job whose agent has begun, and goes on until it is stopped.
async fn busy(release: &Release, options: &[&str]) -> JobId {
    let script = "echo $$ > /tmp/pid; echo so far > work.txt; echo ready; while :; do sleep 0.2; done";
    let job = release.stack.submit(&release.repo.url(), options, script).await;
    release.stack.until_printed(job, "ready").await;
    job
}

#[tokio::test]
async fn an_agent_that_uses_up_its_memory_is_told_of_as_such() {
    let release = with_little_memory("resources").await;
    let gate = release.repo.until("go");
    let script = format!("echo so far > work.txt; echo ready; {gate}; head -c 300000000 /dev/zero | tail");
    let job = release.stack.submit(&release.repo.url(), &[], &script).await;
    release.stack.until_printed(job, "ready").await;
    let fault = Fault::begins("agent out of memory");
    release.repo.open("go");
    fault.ends_as(&release.stack, job, Cause::AgentOom, TOLD * 2, &["memory"]).await;
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    assert_eq!(pulled.file("work.txt"), "so far");
    release.clean().await;
}

#[tokio::test]
async fn an_agents_container_that_uses_up_its_memory_is_told_of_as_such() {
    let release = with_little_memory("resources").await;
    let job = busy(&release, &[]).await;
    let fault = Fault::begins("agent's container out of memory");
    release.kubectl(&["exec", &format!("{job}-1"), "--container", "agent", "--", "sh", "-c", FILL]).await;
    fault.ends_as(&release.stack, job, Cause::AgentOom, TOLD * 2, &["used up its memory limit"]).await;
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    assert_eq!(pulled.file("work.txt"), "so far");
    release.clean().await;
}

#[tokio::test]
async fn a_worker_that_uses_up_its_memory_is_told_of_as_such() {
    let release = with_little_memory("orchestratorResources").await;
    let job = busy(&release, &["--max-attempts", "1"]).await;
    let fault = Fault::begins("worker out of memory");
    release.kubectl(&["exec", &format!("{job}-1"), "--container", "orchestrator", "--", "sh", "-c", FILL]).await;
    fault.ends_as(&release.stack, job, Cause::WorkerOom, TOLD, &["orchestratorResources"]).await;
    release.clean().await;
}

#[tokio::test]
async fn a_worker_that_is_killed_is_told_of_at_once_and_its_job_is_tried_again() {
    let Some(own) = Own::here() else { return };
    let release = Release::new().await;
    let again = release.repo.until("again");
    let script = format!("echo ready; {again}; echo done > work.txt");
    let job = release.stack.submit(&release.repo.url(), &[], &script).await;
    release.stack.until_printed(job, "ready").await;
    let fault = Fault::begins("worker killed");
    own.kill_container(&release.jobs, &format!("{job}-1"), "orchestrator").await;
    let retried = release.next_attempt(job, 2).await;
    fault.took("next attempt queued", TOLD);
    let ended = &retried.attempts[0];
    assert_eq!(ended.cause, Some(Cause::WorkerLost), "{ended:?}");
    let message = ended.message.as_deref().unwrap_or_default();
    assert!(message.contains("ended before the job did (signal 9)"), "{message}");
    release.repo.open("again");
    let done = fault.ends(&release.stack, job, LONG).await;
    assert_eq!(done.state, State::Succeeded, "{done:?}");
    release.stack.says(&["explain", &job.to_string()]).await.exits(0).prints(&["attempt 1 ended failed", "(signal 9)"]);
    release.clean().await;
}

#[tokio::test]
async fn an_agent_that_is_killed_is_told_of_at_once_with_its_work_so_far() {
    let release = Release::new().await;
    let job = busy(&release, &[]).await;
    let fault = Fault::begins("agent killed");
    let kill = "kill -9 $(cat /tmp/pid)";
    release.kubectl(&["exec", &format!("{job}-1"), "--container", "agent", "--", "sh", "-c", kill]).await;
    fault.ends_as(&release.stack, job, Cause::AgentExit, TOLD, &["signal 9 (SIGKILL)"]).await;
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    assert_eq!(pulled.file("work.txt"), "so far");
    release.clean().await;
}

#[tokio::test]
async fn an_agents_container_that_is_killed_is_told_of_with_its_work_so_far() {
    let Some(own) = Own::here() else { return };
    let release = Release::new().await;
    let job = busy(&release, &["--max-attempts", "1"]).await;
    let fault = Fault::begins("agent's container killed");
    own.kill_container(&release.jobs, &format!("{job}-1"), "agent").await;
    fault.ends_as(&release.stack, job, Cause::WorkerLost, TOLD * 2, &["was killed from outside (signal 9)"]).await;
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    assert_eq!(pulled.file("work.txt"), "so far");
    release.clean().await;
}
