//! The chart, installed by `helm` as an admin does, with an operator for a control plane outside of the cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use ckrv_tests::cli::Said;
use ckrv_tests::relay::Relay;
use ckrv_tests::repo::{Repo, git};
use ckrv_tests::stack::{Options, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::{Job, JobId};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::cluster::{Jobs, SOON, cluster};
use crate::git_host::GitHost;

pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/ckrv");

/// Resources of which many fit on a small node.
pub fn little() -> Value {
    json!({ "requests": { "cpu": "5m", "memory": "16Mi" }, "limits": { "memory": "512Mi" } })
}

/// Where images are, and under which tag: as `scripts/images` names them, or as they were pushed to a registry of yours.
pub fn images() -> Value {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    json!({ "registry": setting("CKRV_E2E_REGISTRY", "localhost"), "tag": setting("CKRV_E2E_TAG", "dev") })
}

/// This machine's address as the cluster's pods reach it: the one that it talks to the API server from.
pub async fn own_address() -> IpAddr {
    if let Ok(address) = std::env::var("CKRV_E2E_ADDRESS") {
        return address.parse().expect("CKRV_E2E_ADDRESS is an address");
    }
    let config = kube::Config::infer().await.expect("KUBECONFIG names a cluster");
    let host = config.cluster_url.host().expect("an API server has a host").to_owned();
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent: connecting only chooses the way.
    socket.connect((host.trim_matches(['[', ']']), 443)).expect("there is a way to the API server");
    socket.local_addr().expect("a connected socket has an address").ip()
}

/// A repository that pods can clone.
pub struct Hosted {
    pub repo: Repo,
    pub host: GitHost,
    relay: Relay,
}

impl Hosted {
    /// `login`: as [`GitHost::start`] takes it.
    pub async fn new(login: &str) -> Self {
        let repo = Repo::new();
        let host = GitHost::start(repo.path(), login).await;
        let url: url::Url = host.url(".git").as_str().parse().expect("it has a URL");
        let behind = SocketAddr::from((Ipv4Addr::LOCALHOST, url.port().expect("it has a port")));
        let relay = Relay::start(own_address().await, behind).await;
        Self { repo, host, relay }
    }

    pub fn url(&self) -> String {
        format!("http://{}/.git", self.relay.address())
    }

    /// A piece of shell that ends once [`Hosted::open`] was called with the same name: a pod sees no file of the test's.
    pub fn until(&self, gate: &str) -> String {
        format!("until git ls-remote --exit-code {} refs/heads/{gate} >/dev/null 2>&1; do sleep 0.2; done", self.url())
    }

    pub fn open(&self, gate: &str) {
        git(self.repo.path(), &["branch", gate]);
    }
}

/// A control plane outside of the cluster, and within it an operator for it, installed with the chart.
pub struct Release {
    pub stack: Stack,
    pub jobs: Jobs,
    pub repo: Hosted,
}

/// What a test wants other than usual.
#[derive(Default)]
pub struct Wanted {
    /// Values of the chart, over the usual ones.
    pub values: Value,
    /// The default class's specification, over the usual one.
    pub class: Value,
    pub stack: Options,
    /// Further addresses that jobs may connect to, whatever their class.
    pub reachable: Vec<SocketAddr>,
}

impl Release {
    pub async fn new() -> Self {
        Self::with(Wanted::default()).await
    }

    pub async fn with(wanted: Wanted) -> Self {
        let client = cluster().await;
        let jobs = Jobs::new(&client).await;
        let at = own_address().await;
        let stack = Stack::with(Options { slots: 0, at: Some(at), ..wanted.stack }).await;
        let release = Self { stack, jobs, repo: Hosted::new("").await };
        release.secret("ckrv-runner", &[("token", release.stack.keys.runner_token.expose())]).await;
        let mut values = release.values(at, &wanted.class, &wanted.reachable);
        merge(&mut values, wanted.values);
        release.helm("install", &values).await;
        release
    }

    fn values(&self, at: IpAddr, class: &Value, reachable: &[SocketAddr]) -> Value {
        let relays = self.stack.relays();
        let egress = |address: &SocketAddr| format!("{}/32:{}", address.ip(), address.port());
        // For classes that open no range: a range has no ports.
        let stores = [&[relays.s3.address(), self.repo.relay.address()], reachable].concat();
        let little = little();
        let mut spec =
            json!({ "egressCIDRs": [format!("{at}/32")], "resources": little, "orchestratorResources": little });
        merge(&mut spec, class.clone());
        json!({
            "images": images(),
            "server": { "enabled": false, "allowPrivateRepos": true },
            "operator": {
                "replicas": 1,
                "server": format!("http://{}", relays.server.address()),
                "defaultClass": self.class(),
                "resources": little,
                "egress": {
                    "server": [egress(&relays.server.address())],
                    "s3": stores.iter().map(egress).collect::<Vec<_>>(),
                },
            },
            "classes": { self.class(): spec },
        })
    }

    /// The class of jobs that name none. Classes belong to the cluster: each test has its own.
    pub fn class(&self) -> &str {
        &self.jobs.namespace
    }

    /// Installs or upgrades, and waits until the operator is ready.
    pub async fn helm(&self, verb: &str, values: &Value) {
        let file = self.stack.home.path().join("values.json");
        std::fs::write(&file, values.to_string()).expect("the values can be written");
        let values = file.display().to_string();
        self.ran(&[verb, "ckrv", CHART, "--values", &values, "--wait", "--timeout", "2m"]).await;
    }

    async fn ran(&self, arguments: &[&str]) {
        let own = [&["--namespace", &self.jobs.namespace], arguments].concat();
        let output = Command::new("helm").args(own).output().await.expect("helm is in PATH");
        assert!(
            output.status.success(),
            "helm {arguments:?}\n{}{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.story().await
        );
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> Said {
        kubectl(&self.jobs.namespace, arguments).await
    }

    /// For a test that fails: what is there, and what the operator says.
    pub async fn story(&self) -> String {
        let objects = self.kubectl(&["get", "aj,pods,events", "--output", "wide"]).await;
        let operator = self.kubectl(&["logs", "deployment/ckrv-operator", "--tail", "50"]).await;
        format!("{objects}\n{operator}\n{}", self.stack.log("server.log"))
    }

    pub async fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let secret = Secret { metadata, string_data: Some(data), ..Secret::default() };
        let api: Api<Secret> = Api::namespaced(self.jobs.client.clone(), &self.jobs.namespace);
        api.create(&PostParams::default(), &secret).await.expect("the cluster takes the secret");
    }

    /// Pods of the operator.
    pub async fn operators(&self) -> Vec<Pod> {
        let params = ListParams::default().labels("app.kubernetes.io/name=ckrv-operator");
        self.jobs.pods().list(&params).await.expect("pods can be listed").items
    }

    /// Runs a shell script as a job to its end, as a developer does; what the CLI said, with the code 0.
    pub async fn runs(&self, options: &[&str], script: &str) -> Said {
        self.stack.wait(&self.repo.url(), options, script).await
    }

    /// Waits until nothing is left but what was installed.
    pub async fn clean(&self) {
        let (jobs, pods) = (self.jobs.jobs(), self.jobs.pods());
        let secrets: Api<Secret> = Api::namespaced(self.jobs.client.clone(), &self.jobs.namespace);
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=ckrv-operator");
        wait_for("nothing is left of jobs", SOON, async || {
            let left = jobs.list(&ListParams::default()).await.ok()?.items.len()
                + pods.list(&ours).await.ok()?.items.len()
                + secrets.list(&ours).await.ok()?.items.len();
            (left == 0).then_some(())
        })
        .await;
    }

    /// Waits until the job is at its attempt `number`.
    pub async fn next_attempt(&self, job: JobId, number: u32) -> Job {
        let client = self.stack.client();
        wait_for("the job is tried again", SOON, async || {
            client.job(job).await.ok().filter(|job| job.attempt >= number)
        })
        .await
    }

    /// The name of the operator's pod that leads.
    pub async fn leader(&self) -> String {
        let leases: Api<Lease> = Api::namespaced(self.jobs.client.clone(), &self.jobs.namespace);
        wait_for("somebody leads", SOON, async || leases.get("ckrv-operator").await.ok()?.spec?.holder_identity).await
    }
}

/// What `kubectl` says in a namespace.
pub async fn kubectl(namespace: &str, arguments: &[&str]) -> Said {
    let own = [&["--namespace", namespace], arguments].concat();
    let output = Command::new("kubectl").args(&own).output().await.expect("kubectl is in PATH");
    Said::by("kubectl", &own, output)
}

/// Lays one tree of values over another.
fn merge(into: &mut Value, over: Value) {
    match (into, over) {
        (_, Value::Null) => (),
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over,
    }
}
