//! Several operators, and what is left of them.

use std::time::{Duration, Instant};

use ckrv_tests::wait::wait_for;

use crate::cluster::{Installation, SOON};

#[tokio::test]
async fn a_standby_takes_over_within_seconds_and_goes_on_from_what_is_there() {
    let installation = Installation::new().await;
    let mut first = installation.operator("first.log", &[]);
    first.leads().await;
    let second = installation.operator("second.log", &[]);
    let job = installation.submit().await;
    let pods = installation.jobs.pods();
    let name = format!("{}-1", job.id);
    let pod = wait_for("the job has a pod", SOON, async || pods.get_opt(&name).await.ok().flatten()).await;
    assert_eq!(second.metric("ckrv_operator_leader").await, Some(0.0));
    let killed = Instant::now();
    first.kill().await;
    second.leads().await;
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(15), "it took {took:?}");
    // The pod of before is the pod of now, and a new job gets one.
    let next = installation.submit().await;
    let next_name = format!("{}-1", next.id);
    wait_for("the next job has a pod", SOON, async || pods.get_opt(&next_name).await.ok().flatten()).await;
    let same = pods.get(&name).await.expect("the pod is still there");
    assert_eq!(same.metadata.uid, pod.metadata.uid);
}
