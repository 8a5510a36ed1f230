//! The cluster that tests run on, namespaces of their own in it, and operators for them.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use ckrv_operator::crd::{self, AgentJob, JobClass};
use ckrv_tests::replica::{spec, submit};
use ckrv_tests::stack::{Options, Stack, free_address, program};
use ckrv_tests::wait::wait_for;
use ckrv_types::{Job, JobId};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

/// Longer than anything here takes that has no time of its own.
pub const SOON: Duration = Duration::from_mins(1);

/// A client of the cluster, in which ckrv's definitions are installed.
pub async fn cluster() -> Client {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    assert!(std::env::var_os("KUBECONFIG").is_some(), "KUBECONFIG names no cluster: `make cluster-up` prints one");
    ckrv_client::install_crypto_provider();
    let client = Client::try_default().await.expect("KUBECONFIG names a cluster");
    INSTALLED.get_or_init(async || install(&client).await).await;
    client
}

async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (_, definition) in crd::all() {
        let name = definition.name_any();
        let params = PatchParams::apply("ckrv-tests").force();
        api.patch(&name, &params, &Patch::Apply(&definition)).await.expect("the cluster takes the definition");
        wait_for("the definition is served", SOON, async || {
            let status = api.get(&name).await.ok()?.status?;
            let served =
                |kind: &str| status.conditions.iter().flatten().any(|told| told.type_ == kind && told.status == "True");
            (served("Established") && served("NamesAccepted")).then_some(())
        })
        .await;
    }
}

/// A namespace that lets in only what Pod Security's `restricted` does. It goes when it is dropped.
pub struct Jobs {
    pub client: Client,
    pub namespace: String,
}

impl Jobs {
    pub async fn new(client: &Client) -> Self {
        let namespace = format!("ckrv-test-{:08x}", rand::random::<u32>());
        let labels = [("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned())];
        let metadata =
            ObjectMeta { name: Some(namespace.clone()), labels: Some(labels.into()), ..ObjectMeta::default() };
        let api: Api<Namespace> = Api::all(client.clone());
        let made = Namespace { metadata, ..Namespace::default() };
        api.create(&PostParams::default(), &made).await.expect("the cluster takes the namespace");
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        wait_for("the namespace has its service account", SOON, async || accounts.get("default").await.ok()).await;
        Self { client: client.clone(), namespace }
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn jobs(&self) -> Api<AgentJob> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the job's AgentJob is as `wanted` says.
    pub async fn job<T>(&self, job: JobId, what: &str, wanted: impl Fn(&AgentJob) -> Option<T>) -> T {
        let (api, name) = (self.jobs(), job.to_string());
        wait_for(what, SOON, async || api.get_opt(&name).await.ok().flatten().as_ref().and_then(&wanted)).await
    }

    /// Waits until there is no AgentJob of this name.
    pub async fn gone_object(&self, name: &str) {
        let jobs = self.jobs();
        let gone = async || jobs.get_opt(name).await.ok()?.is_none().then_some(());
        wait_for("the object is gone", SOON, gone).await;
    }

    /// Makes a class. Classes are no namespace's: [`Jobs::no_class`] removes it.
    pub async fn class(&self, name: &str, spec: &Value) {
        let class =
            json!({"apiVersion": "ckrv.dev/v1alpha1", "kind": "JobClass", "metadata": {"name": name}, "spec": spec});
        let class = serde_json::from_value(class).expect("a class");
        self.classes().create(&PostParams::default(), &class).await.expect("the cluster takes it");
    }

    pub async fn no_class(&self, name: &str) {
        self.classes().delete(name, &DeleteParams::default()).await.expect("it can be deleted");
    }

    fn classes(&self) -> Api<JobClass> {
        Api::all(self.client.clone())
    }

    /// Waits until nothing is left of the job.
    pub async fn gone(&self, job: JobId) {
        let (jobs, pods, name) = (self.jobs(), self.pods(), job.to_string());
        wait_for("nothing is left of the job", SOON, async || {
            let job = jobs.get_opt(&name).await.ok()?;
            let pods = pods.list(&ListParams::default()).await.ok()?;
            let is_left = job.is_some() || pods.items.iter().any(|pod| pod.name_any().starts_with(&name));
            (!is_left).then_some(())
        })
        .await;
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let namespace = self.namespace.clone();
        // A runtime and connections of its own: those of the test may be ending.
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let config = kube::Config::infer().await.map_err(std::io::Error::other)?;
                let client = Client::try_from(config).map_err(std::io::Error::other)?;
                forget(&client, &namespace).await.map_err(std::io::Error::other)
            })
        });
        let deleted = deleting.join();
        if !std::thread::panicking() {
            deleted.expect("nothing panics there").expect("the namespace can be deleted");
        }
    }
}

/// Deletes a namespace and what the cluster has for it, by the names that the chart and the tests give.
async fn forget(client: &Client, namespace: &str) -> kube::Result<()> {
    async fn delete<K>(client: &Client, name: &str) -> kube::Result<()>
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        match Api::<K>::all(client.clone()).delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            answer => answer.map(drop),
        }
    }
    let role = format!("{namespace}-ckrv-operator");
    delete::<JobClass>(client, namespace).await?;
    delete::<ClusterRoleBinding>(client, &role).await?;
    delete::<ClusterRole>(client, &role).await?;
    delete::<Namespace>(client, namespace).await
}

/// A control plane outside of the cluster, and a namespace for its jobs.
pub struct Installation {
    pub stack: Stack,
    pub jobs: Jobs,
}

impl Installation {
    pub async fn new() -> Self {
        let client = cluster().await;
        let jobs = Jobs::new(&client).await;
        let stack = Stack::with(Options { slots: 0, ..Options::default() }).await;
        Self { stack, jobs }
    }

    /// An operator, as a process. `log`: the name of its log.
    pub fn operator(&self, log: &str, arguments: &[&str]) -> Operator {
        self.operator_with(log, arguments, "")
    }

    /// One that dies at a named place.
    pub fn operator_with(&self, log: &str, arguments: &[&str], failpoints: &str) -> Operator {
        let listen = free_address();
        let mut command = Command::new(program("ckrv-operator"));
        let namespace =
            if arguments.contains(&"--namespace") { &[][..] } else { &["--namespace", &self.jobs.namespace] };
        command
            .args(["run", "--server", &self.stack.server_url()])
            .args(namespace)
            .args(["--worker-image", "ckrv.invalid/worker:1", "--agent-image", "ckrv.invalid/agent:1"])
            .args(["--listen", &listen.to_string(), "--identity", log])
            .arg("--token-file")
            .arg(self.token_file())
            .args(arguments)
            .env("FAILPOINTS", failpoints);
        Operator { child: self.stack.spawn(command, log), listen: listen.to_string() }
    }

    fn token_file(&self) -> PathBuf {
        self.stack.home.path().join("runner-token")
    }

    /// Hands in a job that is tried once.
    pub async fn submit(&self) -> Job {
        let mut once = spec();
        once.retries.max_attempts = 1;
        submit(&self.stack.client(), once).await
    }

    /// Waits until the job is over.
    pub async fn ended(&self, job: JobId) -> Job {
        let client = self.stack.client();
        wait_for("the job is over", SOON, async || client.job(job).await.ok().filter(|job| job.state.is_terminal()))
            .await
    }
}

/// A running operator.
pub struct Operator {
    pub child: Child,
    listen: String,
}

impl Operator {
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the operator can be killed");
    }

    /// Waits for its end.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        ended.expect("the operator ends").expect("it is our child")
    }

    /// The value of a metric, 0 where there is none of these labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = reqwest::get(format!("http://{}/metrics", self.listen)).await.ok()?.text().await.ok()?;
        let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        Some(line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or(0.0))
    }

    pub async fn leads(&self) {
        wait_for("the operator leads", SOON, async || {
            self.metric("ckrv_operator_leader").await.filter(|leads| *leads > 0.0)
        })
        .await;
    }
}
