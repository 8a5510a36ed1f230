//! The floor: the objects that a job is in a cluster, made by nobody but a loop. They are what the operator itself would make,
//! to the byte but for their names and the token.

use std::time::{Duration, Instant};

use ckrv_operator::config::{Cli, Command, Config};
use ckrv_operator::crd::{AgentJob, JobClass};
use ckrv_operator::names;
use ckrv_operator::pod::{Blueprint, TOKEN_KEY};
use ckrv_types::token::{self, TokenKind};
use ckrv_types::{AttemptId, JobId};
use clap::Parser as _;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Resource as _;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::cluster::Jobs;
use crate::seen::Seen;

/// As many clients at once as the operator is.
const CONCURRENCY: usize = 32;
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
        let (client, namespace) = (self.jobs.client.clone(), &self.jobs.namespace);
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
        let boot = token::compose(TokenKind::Bootstrap, &attempt.to_string(), &[7; token::SECRET_BYTES]);
        let secret = json!({
            "metadata": {"name": attempt.to_string(), "labels": {names::MANAGED_BY: names::MANAGER, names::ATTEMPT: attempt.to_string()}, "ownerReferences": [owner]},
            "immutable": true,
            "stringData": {TOKEN_KEY: boot}
        });
        let secret: Secret = serde_json::from_value(secret).unwrap();
        Api::<Secret>::namespaced(client, namespace).create(&PostParams::default(), &secret).await.unwrap();
        let blueprint = Blueprint {
            attempt,
            limits: job.spec.limits,
            image: None,
            class_name: self.class.metadata.name.as_deref().unwrap(),
            class: &self.class.spec,
            owner,
            server: &self.config.server,
            allow_plain_http: true,
            config: &self.config.pod,
        };
        let pods: Api<Pod> = self.jobs.pods();
        pods.create(&PostParams::default(), &blueprint.build()).await.unwrap();
        attempt.to_string()
    }
}
