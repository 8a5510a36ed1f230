//! What happens to a job's pod as a whole, by hand and by the cluster.

use std::time::Duration;

use ckrv_tests::wait::wait_for;
use ckrv_types::{Cause, JobId, State};
use kube::api::{DeleteParams, EvictParams};
use serde_json::json;

use super::{Fault, LONG, TOLD};
use crate::cluster::SOON;
use crate::own::Own;
use crate::release::{Release, Wanted};

const ONCE: &[&str] = &["--max-attempts", "1"];
/// The kubelet looks at volumes each minute, and judges every 10 s.
const KUBELET: Duration = Duration::from_mins(2);

/// A job whose agent has begun, and goes on until it is stopped.
async fn busy(release: &Release, script: &str) -> JobId {
    let script = format!("echo so far > work.txt; echo ready; {script}; while :; do sleep 0.2; done");
    let job = release.stack.submit(&release.repo.url(), ONCE, &script).await;
    release.stack.until_printed(job, "ready").await;
    job
}

#[tokio::test]
async fn a_pod_whose_volume_is_over_its_limit_is_evicted() {
    let values = json!({ "operator": { "volumes": { "scratch": "8Mi" } } });
    let release = Release::with(Wanted { values, ..Wanted::default() }).await;
    let fault = Fault::begins("volume over its limit");
    let job = busy(&release, "head -c 30000000 /dev/urandom > /tmp/large").await;
    fault.ends_as(&release.stack, job, Cause::Evicted, KUBELET, &["its node evicted it", "exceeds the limit"]).await;
    release.clean().await;
}

#[tokio::test]
async fn an_evicted_pod_says_why_and_its_work_so_far_is_kept() {
    let release = Release::new().await;
    let job = busy(&release, "true").await;
    let fault = Fault::begins("eviction");
    let evicted = release.jobs.pods().evict(&format!("{job}-1"), &EvictParams::default()).await;
    evicted.expect("it can be evicted");
    fault.ends_as(&release.stack, job, Cause::Evicted, TOLD, &["its node was drained"]).await;
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    assert_eq!(pulled.file("work.txt"), "so far");
    release.clean().await;
}

#[tokio::test]
async fn a_running_pod_that_is_deleted_by_hand_says_so_and_its_work_so_far_is_kept() {
    let release = Release::new().await;
    let job = busy(&release, "true").await;
    let fault = Fault::begins("pod deleted by hand");
    release.jobs.pods().delete(&format!("{job}-1"), &DeleteParams::default()).await.expect("it can be deleted");
    fault.ends_as(&release.stack, job, Cause::Evicted, TOLD, &["was deleted, not by ckrv"]).await;
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    assert_eq!(pulled.file("work.txt"), "so far");
    release.clean().await;
}

#[tokio::test]
async fn a_running_job_whose_object_is_deleted_by_hand_is_cancelled_and_its_agent_stopped() {
    let release = Release::new().await;
    let job = busy(&release, "true").await;
    let fault = Fault::begins("AgentJob deleted by hand");
    release.jobs.jobs().delete(&job.to_string(), &DeleteParams::default()).await.expect("it can be deleted");
    fault.ends_as(&release.stack, job, Cause::CancelledByRunner, TOLD, &["was deleted in the cluster"]).await;
    release.clean().await;
    fault.took("pod gone", SOON);
}

#[tokio::test]
async fn an_operator_that_is_killed_costs_a_running_job_nothing_and_the_next_one_little() {
    let Some(own) = Own::here() else { return };
    let values = json!({ "operator": { "replicas": 2 } });
    let release = Release::with(Wanted { values, ..Wanted::default() }).await;
    let gate = release.repo.until("go");
    let script = format!("echo ready; {gate}");
    let running = release.stack.submit(&release.repo.url(), ONCE, &script).await;
    release.stack.until_printed(running, "ready").await;
    let fault = Fault::begins("operator killed");
    own.kill_container(&release.jobs, &release.leader().await, "operator").await;
    let next = release.stack.submit(&release.repo.url(), ONCE, "true").await;
    let pods = release.jobs.pods();
    let name = format!("{next}-1");
    wait_for("the next job has a pod", SOON, async || pods.get_opt(&name).await.ok().flatten()).await;
    fault.took("next job has a pod", Duration::from_secs(15));
    release.repo.open("go");
    for job in [running, next] {
        let ended = fault.ends(&release.stack, job, LONG).await;
        assert_eq!((ended.state, ended.attempt), (State::Succeeded, 1), "{ended:?}");
    }
    release.clean().await;
}
