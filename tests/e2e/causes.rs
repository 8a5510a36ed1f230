//! What keeps a pod from running, as the control plane and the user see it.

use std::time::Duration;

use ckrv_operator::crd::JobClass;
use ckrv_tests::replica::{spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::{Cause, JobId, JobSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Node, ResourceQuota};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::{Installation, SOON};
use crate::faults::{Fault, TOLD};

/// The cluster looks each 20 s for pods whose node is not there, and looks again after 40 s before it collects them: what
/// it missed by a moment both times takes 80 s.
const COLLECTED: Duration = Duration::from_secs(95);
/// The graces that these tests set.
const GRACE: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_quota_without_room_is_told_and_ends_the_attempt_after_its_grace() {
    let installation = Installation::new().await;
    let quotas: Api<ResourceQuota> = Api::namespaced(installation.jobs.client.clone(), &installation.jobs.namespace);
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    let quota = serde_json::from_value(quota).expect("a quota");
    quotas.create(&PostParams::default(), &quota).await.expect("the cluster takes it");
    wait_for("the quota counts", SOON, async || quotas.get("none").await.ok()?.status?.hard).await;
    let operator = installation.operator("operator.log", &["--quota-grace", "8"]);
    operator.leads().await;
    let fault = Fault::begins("no room in the quota");
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
    fault.took("told", TOLD);
    assert!(said.contains("pods=0") && said.contains(Cause::ClusterQuota.hint()), "{said}");
    let stack = &installation.stack;
    fault.ends_as(stack, job.id, Cause::ClusterQuota, GRACE + TOLD, &["pods=0", "attempt 1 ended failed"]).await;
    installation.jobs.gone(job.id).await;
}

#[tokio::test]
async fn no_fitting_node_is_told_within_seconds_and_ends_the_attempt_after_its_grace() {
    let installation = Installation::new().await;
    let class = class(&installation, json!({"nodeSelector": {"ckrv.dev/no-node": "has-this"}})).await;
    let operator = installation.operator("operator.log", &["--unschedulable-grace", "8"]);
    operator.leads().await;
    let mut once = JobSpec { class: Some(class.clone()), ..spec() };
    once.retries.max_attempts = 1;
    let fault = Fault::begins("no fitting node");
    let job = submit(&installation.stack.client(), once).await;
    let told = installation.jobs.job(job.id, "the object says what is wrong", |job| {
        job.status.as_ref()?.message.clone().filter(|message| message.contains("no node can take the pod"))
    });
    told.await;
    fault.took("told", TOLD);
    let stack = &installation.stack;
    fault.ends_as(stack, job.id, Cause::Unschedulable, GRACE + TOLD, &["no node can take the pod"]).await;
    installation.jobs.gone(job.id).await;
    forget(&installation, &class).await;
}

/// A class with the name of the namespace: they belong to the cluster.
async fn class(installation: &Installation, spec: serde_json::Value) -> String {
    let classes: Api<JobClass> = Api::all(installation.jobs.client.clone());
    let name = installation.jobs.namespace.clone();
    let class =
        json!({"apiVersion": "ckrv.dev/v1alpha1", "kind": "JobClass", "metadata": {"name": name}, "spec": spec});
    let class = serde_json::from_value(class).expect("a class");
    classes.create(&PostParams::default(), &class).await.expect("the cluster takes it");
    name
}

async fn forget(installation: &Installation, class: &str) {
    let classes: Api<JobClass> = Api::all(installation.jobs.client.clone());
    classes.delete(class, &DeleteParams::default()).await.expect("it can be deleted");
}

#[tokio::test]
async fn an_image_that_will_never_be_had_ends_its_job_at_once_and_is_not_tried_again() {
    let installation = Installation::new().await;
    let only = json!({"allowedImages": ["ckrv.invalid/agents/*", "Not/A/Name"], "image": "ckrv.invalid/agents/one:1"});
    let class = class(&installation, only).await;
    let operator = installation.operator("operator.log", &["--shim-images", "*"]);
    operator.leads().await;
    for (name, image, told) in [
        ("image not allowed by the class", "ckrv.invalid/other:1", "it allows: ckrv.invalid/agents/*"),
        ("image that is no image's name", "Not/A/Name", "is not the name of an image"),
    ] {
        let refused = JobSpec { class: Some(class.clone()), image: Some(image.to_owned()), ..spec() };
        assert!(refused.retries.max_attempts > 1);
        let fault = Fault::begins(name);
        let job = submit(&installation.stack.client(), refused).await;
        let ended = fault.ends_as(&installation.stack, job.id, Cause::ImageRefused, TOLD, &[told]).await;
        assert_eq!(ended.attempts.len(), 1, "{ended:?}");
        installation.jobs.gone(job.id).await;
    }
    forget(&installation, &class).await;
}

#[tokio::test]
async fn what_keeps_a_node_from_starting_the_pod_is_told_in_the_nodes_words() {
    let installation = Installation::new().await;
    let operator = installation.operator("operator.log", &[]);
    operator.leads().await;
    let maps: Api<ConfigMap> = Api::namespaced(installation.jobs.client.clone(), &installation.jobs.namespace);
    // The operator makes it once it leads.
    wait_for("it is there, and deleted", SOON, async || {
        maps.delete("ckrv-passwd", &DeleteParams::default()).await.ok()
    })
    .await;
    let fault = Fault::begins("pod that its node cannot start");
    let job = installation.submit().await;
    installation
        .jobs
        .job(job.id, "the object says what is wrong", |job| {
            let message = job.status.as_ref()?.message.clone()?;
            (message.contains("the node cannot start the pod") && message.contains("ckrv-passwd")).then_some(())
        })
        .await;
    fault.took("told", TOLD);
    installation.stack.client().cancel(job.id).await.expect("it can be cancelled");
    installation.jobs.gone(job.id).await;
}

/// A node without a kubelet: pods are given to it, and nothing of them ever runs.
async fn empty_node(installation: &Installation) -> Api<Node> {
    let nodes: Api<Node> = Api::all(installation.jobs.client.clone());
    let name = &installation.jobs.namespace;
    let amount = json!({"cpu": "1", "memory": "1Gi", "pods": "10", "ephemeral-storage": "10Gi"});
    let node = json!({
        "metadata": {"name": name, "labels": {"ckrv.dev/test": name}},
        "spec": {"taints": [{"key": "ckrv.dev/test", "effect": "NoSchedule"}]},
    });
    let node = serde_json::from_value(node).expect("a node");
    nodes.create(&PostParams::default(), &node).await.expect("the cluster takes it");
    let ready = json!({"type": "Ready", "status": "True", "lastHeartbeatTime": Timestamp::now().to_string()});
    let status = json!({"status": {"capacity": amount, "allocatable": amount, "conditions": [ready]}});
    let patched = nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
    patched.expect("the cluster takes its status");
    nodes
}

/// A job whose pod was given to such a node.
async fn bound(installation: &Installation) -> (String, JobId) {
    let name = installation.jobs.namespace.clone();
    let there = json!({"nodeSelector": {"ckrv.dev/test": name}, "tolerations": [
        {"key": "ckrv.dev/test", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"},
    ]});
    let class = class(installation, there).await;
    let mut once = JobSpec { class: Some(class.clone()), ..spec() };
    once.retries.max_attempts = 1;
    let job = submit(&installation.stack.client(), once).await;
    installation.jobs.job(job.id, "its pod has a node", |job| job.status.as_ref()?.node.clone()).await;
    (class, job.id)
}

#[tokio::test]
async fn a_job_whose_node_is_given_up_before_its_worker_began_says_so_at_once() {
    let installation = Installation::new().await;
    let nodes = empty_node(&installation).await;
    let operator = installation.operator("operator.log", &[]);
    operator.leads().await;
    let (class, job) = bound(&installation).await;
    let taint = json!({"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"});
    let taints = json!({"spec": {"taints": [taint]}});
    let fault = Fault::begins("node given up");
    nodes.patch(&class, &PatchParams::default(), &Patch::Merge(taints)).await.expect("it can be tainted");
    fault.ends_as(&installation.stack, job, Cause::NodeLost, TOLD, &["stopped answering or was tainted"]).await;
    nodes.delete(&class, &DeleteParams::default()).await.expect("it can be deleted");
    forget(&installation, &class).await;
}

#[tokio::test]
async fn a_job_whose_node_is_deleted_says_so() {
    let installation = Installation::new().await;
    let nodes = empty_node(&installation).await;
    let operator = installation.operator("operator.log", &[]);
    operator.leads().await;
    let (class, job) = bound(&installation).await;
    let fault = Fault::begins("node deleted");
    nodes.delete(&class, &DeleteParams::default()).await.expect("it can be deleted");
    fault.ends_as(&installation.stack, job, Cause::NodeLost, COLLECTED, &["its node is gone"]).await;
    forget(&installation, &class).await;
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
