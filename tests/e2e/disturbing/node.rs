//! A node that is not heard of, with its containers or without.

use std::time::Duration;

use ckrv_tests::wait::wait_for;
use ckrv_types::{Cause, State};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};

use crate::faults::{Fault, LONG, SILENT};
use crate::own::Own;
use crate::release::Release;

/// The node controller waits 50 s for a kubelet.
const GIVEN_UP: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_job_on_a_node_whose_kubelet_is_gone_goes_on_and_succeeds() {
    let Some(own) = Own::here() else { return };
    let release = Release::new().await;
    let script = format!("echo ready; {}; echo done > work.txt", release.repo.until("go"));
    let job = release.stack.submit(&release.repo.url(), &["--max-attempts", "1"], &script).await;
    release.stack.until_printed(job, "ready").await;
    let fault = Fault::begins("kubelet stopped");
    let stopped = own.stop("kubelet").await;
    let nodes: Api<Node> = Api::all(release.jobs.client.clone());
    wait_for("the cluster takes the node for lost", GIVEN_UP, async || {
        let nodes = nodes.list(&ListParams::default()).await.ok()?;
        let mut conditions = nodes.items.into_iter().filter_map(|node| node.status?.conditions).flatten();
        conditions.any(|told| told.type_ == "Ready" && told.status == "Unknown").then_some(())
    })
    .await;
    fault.took("node not ready", GIVEN_UP);
    release.repo.open("go");
    let ended = fault.ends(&release.stack, job, LONG).await;
    assert_eq!((ended.state, ended.attempt), (State::Succeeded, 1), "{ended:?}\n{}", release.story().await);
    drop(stopped);
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    assert_eq!(pulled.file("work.txt"), "done");
    release.clean().await;
}

#[tokio::test]
async fn a_job_on_a_node_that_is_gone_is_tried_again_within_its_time() {
    let Some(own) = Own::here() else { return };
    let release = Release::new().await;
    let script = format!("echo ready; {}", release.repo.until("go"));
    let job = release.stack.submit(&release.repo.url(), &["--max-attempts", "2"], &script).await;
    release.stack.until_printed(job, "ready").await;
    let (kubelet, runtime) = (own.stop("kubelet").await, own.stop("containerd").await);
    let fault = Fault::begins("node gone");
    own.kill_pod(&release.jobs, &format!("{job}-1")).await;
    let retried = release.next_attempt(job, 2).await;
    fault.took("next attempt queued", SILENT);
    let ended = &retried.attempts[0];
    assert_eq!(ended.cause, Some(Cause::WorkerLost), "{ended:?}");
    let message = ended.message.as_deref().unwrap_or_default();
    println!("failure: node gone | {message}");
    assert!(message.contains("or its node or the way from there did"), "{message}");
    assert!(message.contains(" on node "), "{message}");
    release.repo.open("go");
    drop(runtime);
    drop(kubelet);
    let done = fault.ends(&release.stack, job, LONG).await;
    assert_eq!(done.state, State::Succeeded, "{done:?}\n{}", release.story().await);
    release.clean().await;
}
