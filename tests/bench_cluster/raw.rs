//! The floor: the objects that a job is in a cluster, made by nobody but a loop. They are what the operator itself would make,
//! to the byte but for their names and the token.

use std::time::{Duration, Instant};

use ckrv_operator::config::{Cli, Command, Config};
use ckrv_operator::crd::{AgentJob, JobClass};
use ckrv_operator::names;
use ckrv_operator::pod::{self, Blueprint, TOKEN_KEY};
use ckrv_types::spec::Limits;
use ckrv_types::token::{self, TokenKind};
use ckrv_types::{AttemptId, JobId};
use clap::Parser as _;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::cluster::Jobs;
use crate::seen::Seen;

/// As many clients at once as the operator is.
pub const CONCURRENCY: usize = 32;
const LIMIT: Duration = Duration::from_mins(5);

/// A namespace in which no operator looks.
pub struct Raw<'a> {
    jobs: &'a Jobs,
    class: JobClass,
    config: Config,
}

impl<'a> Raw<'a> {
    /// `jobs`: where to. Pods are of `class`.
    pub fn new(jobs: &'a Jobs, class: JobClass, arguments: &[&str]) -> Self {
        let words = ["ckrv-operator", "run", "--token-file=t", "--namespace", &jobs.namespace];
        let Command::Run(config) = Cli::parse_from(words.iter().chain(arguments)).command else { unreachable!() };
        Self { jobs, class, config: *config }
    }

    /// Pods a second, of `count` jobs.
    pub async fn rate(&self, count: usize) -> f64 {
        let seen = Seen::start(self.jobs).await;
        let begun = Instant::now();
        let making = futures::stream::iter((0..count).map(|_| self.make()));
        making.buffer_unordered(CONCURRENCY).collect::<Vec<_>>().await;
        let last = seen.count(count, LIMIT).await;
        #[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
        let count = count as f64;
        count / (last - begun).as_secs_f64()
    }

    /// Milliseconds to each pod of `count` jobs, one after the other.
    pub async fn latencies(&self, count: usize) -> Vec<f64> {
        let (seen, mut latencies) = (Seen::start(self.jobs).await, Vec::new());
        for _ in 0..count {
            let begun = Instant::now();
            let pod = self.make().await;
            latencies.push((seen.pod(&pod, LIMIT).await - begun).as_secs_f64() * 1e3);
        }
        latencies
    }

    /// One job's objects; the pod's name.
    async fn make(&self) -> String {
        let id = JobId::new();
        let attempt = AttemptId { job: id, number: 1 };
        let job = json!({
            "apiVersion": "ckrv.dev/v1alpha1", "kind": "AgentJob",
            "metadata": {
                "name": id.to_string(),
                "labels": {names::MANAGED_BY: names::MANAGER},
                "annotations": {names::ATTEMPT: "1"}
            },
            "spec": {"jobID": id.to_string(), "agent": "command"}
        });
        let job: AgentJob = serde_json::from_value(job).unwrap();
        let job = self.jobs.jobs().create(&PostParams::default(), &job).await.unwrap();
        let owner = job.controller_owner_ref(&()).unwrap();
        self.create_secret(attempt, Some(&owner)).await;
        self.jobs.pods().create(&PostParams::default(), &self.pod(attempt, owner)).await.unwrap();
        attempt.to_string()
    }

    /// A pod that works, without an AgentJob: its containers do what their scripts say. Its name.
    pub async fn make_working(&self, orchestrator: &str, agent: &str) -> String {
        let attempt = AttemptId { job: JobId::new(), number: 1 };
        let mut pod = self.pod(attempt, OwnerReference::default());
        pod.metadata.owner_references = None;
        let scripts = [orchestrator, agent];
        for (container, script) in pod.spec.as_mut().unwrap().containers.iter_mut().zip(scripts) {
            container.command = Some(["sh", "-ec", script].map(str::to_owned).into());
        }
        self.create_secret(attempt, None).await;
        self.jobs.pods().create(&PostParams::default(), &pod).await.unwrap();
        attempt.to_string()
    }

    /// What working pods need beside their secret.
    pub async fn create_passwd(&self) {
        let map = json!({"metadata": {"name": pod::PASSWD_CONFIG_MAP}, "data": {"passwd": pod::passwd()}});
        let map: ConfigMap = serde_json::from_value(map).unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(self.jobs.client.clone(), &self.jobs.namespace);
        maps.create(&PostParams::default(), &map).await.unwrap();
    }

    async fn create_secret(&self, attempt: AttemptId, owner: Option<&OwnerReference>) {
        let boot = token::compose(TokenKind::Bootstrap, &attempt.to_string(), &[7; token::SECRET_BYTES]);
        let labels = json!({names::MANAGED_BY: names::MANAGER, names::ATTEMPT: attempt.to_string()});
        let owners: Vec<_> = owner.into_iter().collect();
        let secret = json!({
            "metadata": {"name": attempt.to_string(), "labels": labels, "ownerReferences": owners},
            "immutable": true,
            "stringData": {TOKEN_KEY: boot}
        });
        let secret: Secret = serde_json::from_value(secret).unwrap();
        let secrets: Api<Secret> = Api::namespaced(self.jobs.client.clone(), &self.jobs.namespace);
        secrets.create(&PostParams::default(), &secret).await.unwrap();
    }

    fn pod(&self, attempt: AttemptId, owner: OwnerReference) -> Pod {
        let blueprint = Blueprint {
            attempt,
            limits: Limits::default().into(),
            image: None,
            class_name: self.class.metadata.name.as_deref().unwrap(),
            class: &self.class.spec,
            owner,
            server: &self.config.server,
            allow_plain_http: true,
            config: &self.config.pod,
        };
        blueprint.build()
    }
}
