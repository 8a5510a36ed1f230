//! What keeps a pod from running, as the control plane and the user see it.

use std::time::Duration;

use ckrv_operator::crd::JobClass;
use ckrv_tests::replica::{spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::{Cause, JobSpec, State};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

use crate::cluster::{Installation, SOON};

#[tokio::test]
async fn a_quota_without_room_is_told_and_ends_the_attempt_after_its_grace() {
    let installation = Installation::new().await;
    let quotas: Api<ResourceQuota> = Api::namespaced(installation.jobs.client.clone(), &installation.jobs.namespace);
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    let quota = serde_json::from_value(quota).expect("a quota");
    quotas.create(&PostParams::default(), &quota).await.expect("the cluster takes it");
    wait_for("the quota counts", SOON, async || quotas.get("none").await.ok()?.status?.hard).await;
    let _operator = installation.operator("operator.log", &["--quota-grace", "8"]);
    let job = installation.submit().await;
    let client = installation.stack.client();
    let said = wait_for("the job says what it waits for", SOON, async || {
        client
            .explain(job.id)
            .await
            .ok()
            .map(|said| format!("{said:?}"))
            .filter(|said| said.contains("quota has no room"))
    })
    .await;
    assert!(said.contains("pods=0"), "{said}");
    let ended = installation.ended(job.id).await;
    assert_eq!((ended.state, ended.cause), (State::Failed, Some(Cause::ClusterQuota)), "{ended:?}");
    installation.jobs.gone(job.id).await;
}

#[tokio::test]
async fn no_fitting_node_is_told_within_seconds_and_ends_the_attempt_after_its_grace() {
    let installation = Installation::new().await;
    let classes: Api<JobClass> = Api::all(installation.jobs.client.clone());
    let name = installation.jobs.namespace.clone();
    let class = json!({
        "apiVersion": "ckrv.dev/v1alpha1", "kind": "JobClass", "metadata": {"name": name},
        "spec": {"nodeSelector": {"ckrv.dev/no-node": "has-this"}}
    });
    let class = serde_json::from_value(class).expect("a class");
    classes.create(&PostParams::default(), &class).await.expect("the cluster takes it");
    let _operator = installation.operator("operator.log", &["--unschedulable-grace", "8"]);
    let mut once = JobSpec { class: Some(name.clone()), ..spec() };
    once.retries.max_attempts = 1;
    let job = submit(&installation.stack.client(), once).await;
    let told = installation.jobs.job(job.id, "the object says what is wrong", |job| {
        job.status.as_ref()?.message.clone().filter(|message| message.contains("no node can take the pod"))
    });
    tokio::time::timeout(Duration::from_secs(15), told).await.expect("it is told soon");
    let ended = installation.ended(job.id).await;
    assert_eq!((ended.state, ended.cause), (State::Failed, Some(Cause::Unschedulable)), "{ended:?}");
    installation.jobs.gone(job.id).await;
    classes.delete(&name, &DeleteParams::default()).await.expect("it can be deleted");
}

#[tokio::test]
async fn a_pod_deleted_by_hand_ends_its_attempt_and_the_next_one_gets_another() {
    let installation = Installation::new().await;
    let _operator = installation.operator("operator.log", &[]);
    let mut twice = spec();
    twice.retries.max_attempts = 2;
    let job = submit(&installation.stack.client(), twice).await;
    let pods = installation.jobs.pods();
    installation.jobs.job(job.id, "the object names its pod", |job| job.status.as_ref()?.pod_name.clone()).await;
    pods.delete(&format!("{}-1", job.id), &DeleteParams::default().grace_period(0)).await.expect("it can be deleted");
    let second = format!("{}-2", job.id);
    wait_for("the next attempt has a pod", SOON, async || pods.get_opt(&second).await.ok().flatten()).await;
    let seen = installation.stack.client().job(job.id).await.expect("the job is there");
    assert_eq!(seen.attempts[0].cause, Some(Cause::Evicted), "{seen:?}");
    assert!(seen.attempts[0].message.as_deref().is_some_and(|message| message.contains("was deleted")), "{seen:?}");
}
