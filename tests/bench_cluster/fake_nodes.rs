//! Nodes that are nothing but objects: kwok says that they live and that what is scheduled on them runs. Only pods of their
//! own class come there, and kwok touches no other node.

use std::process::Stdio;

use ckrv_operator::crd::JobClass;
use ckrv_tests::stack::Stack;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::process::{Child, Command};

use crate::cluster::SOON;
use ckrv_tests::wait::wait_for;

const LABEL: &str = "ckrv.dev/fake-pool";
/// What a node of theirs takes; as many as a real one does would make the scheduler look at fifty.
const PODS_PER_NODE: usize = 1000;

/// Fake nodes, and the class of the same name whose pods they take. They go when this is dropped.
pub struct FakeNodes {
    pool: String,
    _kwok: Child,
}

impl FakeNodes {
    /// Room for `pods` pods.
    pub async fn start(stack: &Stack, client: &Client, pool: &str, pods: usize) -> Self {
        let kwok = kwok(stack, pool);
        let (nodes, classes): (Api<Node>, Api<JobClass>) = (Api::all(client.clone()), Api::all(client.clone()));
        let this = Self { pool: pool.to_owned(), _kwok: kwok };
        classes.create(&PostParams::default(), &class(pool)).await.unwrap();
        for number in 0..pods.div_ceil(PODS_PER_NODE) {
            let name = format!("{pool}-{number}");
            nodes.create(&PostParams::default(), &node(pool, &name)).await.unwrap();
            wait_for("the fake node takes pods", SOON, async || {
                let node = nodes.get(&name).await.ok()?;
                let is_ready =
                    node.status?.conditions?.iter().any(|told| told.type_ == "Ready" && told.status == "True");
                // The cluster takes its own taint off a new node when it is ready.
                let is_open = node.spec?.taints?.iter().all(|taint| taint.key == LABEL);
                (is_ready && is_open).then_some(())
            })
            .await;
        }
        this
    }
}

impl Drop for FakeNodes {
    fn drop(&mut self) {
        let selector = format!("{LABEL}={}", self.pool);
        let deleted = std::process::Command::new("kubectl")
            .args(["delete", "nodes,jobclasses", "--wait=false", "--selector", &selector])
            .stdout(Stdio::null())
            .status();
        if !std::thread::panicking() {
            assert!(deleted.unwrap().success(), "the fake nodes {selector} are still there");
        }
    }
}

fn kwok(stack: &Stack, pool: &str) -> Child {
    let mut command = Command::new("kwok");
    command
        .arg("--kubeconfig")
        .arg(std::env::var_os("KUBECONFIG").unwrap())
        .args(["--manage-all-nodes=false", &format!("--manage-nodes-with-label-selector={LABEL}={pool}")])
        .args(["--node-lease-duration-seconds=40", "--server-address=127.0.0.1:0", "-v=ERROR"])
        .env("HOME", stack.home.path());
    stack.spawn(command, "kwok.log")
}

fn node(pool: &str, name: &str) -> Node {
    let room = json!({"cpu": "2000", "memory": "8Ti", "ephemeral-storage": "100Ti", "pods": PODS_PER_NODE.to_string()});
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {LABEL: pool}},
        "spec": {"taints": [{"key": LABEL, "value": pool, "effect": "NoSchedule"}]},
        "status": {"capacity": room, "allocatable": room}
    }))
    .unwrap()
}

fn class(pool: &str) -> JobClass {
    serde_json::from_value(json!({
        "apiVersion": "ckrv.dev/v1alpha1", "kind": "JobClass",
        "metadata": {"name": pool, "labels": {LABEL: pool}},
        "spec": {
            "nodeSelector": {LABEL: pool},
            "tolerations": [{"key": LABEL, "operator": "Equal", "value": pool, "effect": "NoSchedule"}]
        }
    }))
    .unwrap()
}
