//! Where the rows with real pods are measured: the chart's operator in the cluster, a control plane as production has it, and a
//! namespace for the floor.

use ckrv_operator::crd::JobClass;
use ckrv_types::job::SubmitJob;
use ckrv_types::{JobId, JobSpec};
use futures::StreamExt as _;
use kube::api::Api;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::cluster::Jobs;
use crate::raw::Raw;
use crate::release::{Release, Wanted};
use crate::site;

pub struct Real {
    pub release: Release,
    /// Where the floor is measured.
    pub beside: Jobs,
}

impl Real {
    /// With this many places.
    pub async fn new(capacity: usize) -> Self {
        let values = json!({ "operator": { "capacity": capacity } });
        let stack = site::control_plane_options();
        let release = Release::with(Wanted { values, stack, ..Wanted::default() }).await;
        let beside = Jobs::new(&release.jobs.client).await;
        Self { release, beside }
    }

    /// The floor, with pods as the operator makes them.
    pub async fn raw(&self) -> Raw<'_> {
        let classes: Api<JobClass> = Api::all(self.beside.client.clone());
        let class = classes.get(self.release.class()).await.unwrap();
        let server = self.release.stack.server_url();
        let images = [image("ckrv-orchestrator"), image("ckrv-agent-claude")];
        let raw = Raw::new(
            &self.beside,
            class,
            &["--server", &server, "--worker-image", &images[0], "--agent-image", &images[1]],
        );
        raw.create_passwd().await;
        raw
    }

    /// What an orchestrator's container does at least.
    pub fn clone_script(&self) -> String {
        format!("git clone --quiet {} /ckrv/work/clone", self.release.repo.url())
    }

    /// Hands in a job that is tried once.
    pub async fn submit(&self, command: &[&str]) -> JobId {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let mut spec = JobSpec { command, ..JobSpec::new(self.release.repo.url()) };
        spec.retries.max_attempts = 1;
        self.release.stack.client().submit(&SubmitJob { spec, project: None }).await.unwrap().id
    }

    /// The same, `count` times, by several clients at once.
    pub async fn submit_many(&self, count: usize, command: &[&str]) -> Vec<JobId> {
        futures::stream::iter((0..count).map(|_| self.submit(command))).buffer_unordered(8).collect().await
    }

    /// A number from the control plane's database.
    pub async fn count(&self, query: &'static str) -> usize {
        let superuser = self.release.stack.superuser_url();
        let mut connection = PgConnection::connect(superuser.expose()).await.unwrap();
        let count: i64 = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
        usize::try_from(count).unwrap()
    }
}

/// An image as `scripts/images` names it, or where it was pushed to.
pub fn image(name: &str) -> String {
    let images = crate::release::images();
    format!("{}/{name}:{}", images["registry"].as_str().unwrap(), images["tag"].as_str().unwrap())
}
