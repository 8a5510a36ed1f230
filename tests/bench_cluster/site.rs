//! Where the rows with fake nodes are measured: a control plane as production has it, a namespace, fake nodes, and as many
//! operators and workers as a row wants.

use std::time::Duration;

use ckrv_operator::crd::{AgentJob, JobClass};
use ckrv_tests::replica::{spec, submit};
use ckrv_tests::stack::{Options, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DeleteParams, ListParams};

use crate::cluster::{Installation, Jobs, Operator, cluster};
use crate::fake_nodes::FakeNodes;
use crate::raw::Raw;

/// Longer than even thousands of pods take to come or go.
pub const LONG: Duration = Duration::from_mins(20);

pub struct Site {
    pub installation: Installation,
    /// Where the floor is measured.
    pub beside: Jobs,
    _nodes: FakeNodes,
}

impl Site {
    /// With room for `pods` pods on fake nodes.
    pub async fn new(pods: usize) -> Self {
        let client = cluster().await;
        let (jobs, beside) = (Jobs::new(&client).await, Jobs::new(&client).await);
        let stack = Stack::with(control_plane_options()).await;
        let nodes = FakeNodes::start(&stack, &client, &jobs.namespace, pods).await;
        Self { installation: Installation { stack, jobs }, beside, _nodes: nodes }
    }

    /// An operator with this many places, once it leads.
    pub async fn operator(&self, capacity: usize) -> Operator {
        let (capacity, class) = (capacity.to_string(), &self.installation.jobs.namespace);
        let operator = self
            .installation
            .operator("operator.log", &["--capacity", &capacity, "--default-class", class, "--log", "warn"]);
        operator.leads().await;
        operator
    }

    /// The floor, with pods as the operator makes them.
    pub async fn raw(&self) -> Raw<'_> {
        let classes: Api<JobClass> = Api::all(self.beside.client.clone());
        let class = classes.get(&self.installation.jobs.namespace).await.unwrap();
        let server = self.installation.stack.server_url();
        let worker = ["--worker-image", "ckrv.invalid/worker:1", "--agent-image", "ckrv.invalid/agent:1"];
        Raw::new(&self.beside, class, &[&["--server", &server][..], &worker].concat())
    }

    /// Hands in a job that is tried once.
    pub async fn submit(&self) -> Job {
        submit(&self.installation.stack.client(), once()).await
    }

    /// Hands in `count` jobs by several clients at once.
    pub async fn submit_many(&self, count: usize) {
        use futures::StreamExt as _;
        let client = self.installation.stack.client();
        let submitting = futures::stream::iter((0..count).map(|_| submit(&client, once())));
        submitting.buffer_unordered(8).collect::<Vec<_>>().await;
    }

    /// Waits until nothing is left of jobs in the operator's namespace.
    pub async fn is_empty(&self) {
        empty(&self.installation.jobs).await;
    }
}

/// Removes everything that stands for jobs in a namespace.
pub async fn clear(jobs: &Jobs) {
    let (delete, all) = (DeleteParams::background(), ListParams::default());
    let secrets: Api<Secret> = Api::namespaced(jobs.client.clone(), &jobs.namespace);
    jobs.jobs().delete_collection(&delete, &all).await.unwrap();
    jobs.pods().delete_collection(&delete, &all).await.unwrap();
    secrets.delete_collection(&delete, &all).await.unwrap();
    empty(jobs).await;
}

async fn empty(jobs: &Jobs) {
    let one = ListParams::default().limit(1);
    let (agent_jobs, pods): (Api<AgentJob>, Api<Pod>) = (jobs.jobs(), jobs.pods());
    wait_for("nothing is left of the jobs", LONG, async || {
        let is_left = !agent_jobs.list_metadata(&one).await.ok()?.items.is_empty()
            || !pods.list_metadata(&one).await.ok()?.items.is_empty();
        (!is_left).then_some(())
    })
    .await;
}

fn once() -> JobSpec {
    let mut once = spec();
    once.retries.max_attempts = 1;
    once
}

/// A database that survives power cuts, no limit on requests in the way.
pub fn control_plane_options() -> Options {
    let unlimited = |name| (name, "100000000".to_owned());
    Options {
        slots: 0,
        server: vec![
            unlimited("CKRV_RATE_PER_ADDRESS"),
            unlimited("CKRV_RATE_PER_KEY"),
            ("CKRV_LOG", "warn".to_owned()),
        ],
        own_postgres: true,
        durable: true,
        ..Options::default()
    }
}
