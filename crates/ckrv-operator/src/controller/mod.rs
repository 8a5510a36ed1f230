//! One AgentJob at a time: observe → plan (a pure function) → apply → status.
//!
//! Level-triggered: whatever woke it, it compares what is wanted with what is. Nothing here speaks with the control plane
//! but by the list that was heard last and by reports that somebody else sends.

mod apply;
mod memory;
mod observe;
pub mod plan;
pub mod status;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::runtime::controller::{Action, Config as Concurrency, Error as ControllerError, applier};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
pub use memory::Memory;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::control::desired::Desired;
use crate::control::handing::Handing;
use crate::control::reports::Reports;
use crate::crd::AgentJob;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::stores::Stores;
use crate::triggers::Look;

/// AgentJobs looked at at once.
const CONCURRENCY: u16 = 32;
/// So many pods being made at once are more than come now and then.
const RUSH: usize = 8;

/// What every reconciliation works with.
pub struct Context {
    pub client: Client,
    pub config: Arc<Config>,
    /// Of what stands for no longer than the installation.
    pub owner: OwnerReference,
    pub stores: Stores,
    pub desired: Desired,
    pub reports: Reports,
    pub handing: Handing,
    /// The cluster's id, to which the runner's token is bound.
    pub instance: String,
    pub events: Events,
    pub metrics: Arc<Metrics>,
    /// Pods that are being made right now.
    pub making: AtomicUsize,
    pub memory: Memory,
}

impl Context {
    /// Whether more pods are being made at once than come now and then.
    pub fn is_rush(&self) -> bool {
        self.making.load(Ordering::Relaxed) >= RUSH
    }
}

/// Looks at AgentJobs whenever it is told to, for ever.
pub async fn run(context: Arc<Context>, looks: mpsc::UnboundedReceiver<Look>) {
    let queue = queue(context.clone(), looks).map(Ok::<_, Infallible>);
    let concurrency = Concurrency::default().concurrency(CONCURRENCY);
    let reconcile = |job, context| Box::pin(reconcile(job, context));
    let jobs = context.stores.jobs.clone();
    applier(reconcile, on_error, context, jobs, queue, concurrency)
        .for_each(async |result| match result {
            // Its object went in between.
            Ok(_) | Err(ControllerError::ObjectNotFound(_)) => (),
            Err(error) => tracing::warn!(error = %chain(&error), "an AgentJob could not be reconciled yet"),
        })
        .await;
}

fn queue(context: Arc<Context>, looks: mpsc::UnboundedReceiver<Look>) -> impl Stream<Item = ObjectRef<AgentJob>> {
    let looks = futures::stream::unfold(looks, async |mut looks| Some((looks.recv().await?, looks)));
    looks.flat_map(move |look| {
        let named = look.map_or_else(
            || context.stores.jobs.state().iter().map(|job| ObjectRef::from_obj(&**job)).collect(),
            |one| vec![one],
        );
        futures::stream::iter(named)
    })
}

async fn reconcile(job: Arc<AgentJob>, context: Arc<Context>) -> Result<Action, apply::ApplyError> {
    let began = Instant::now();
    let view = observe::observe(&job, &context);
    let plan = plan::plan(&view);
    let result = apply::apply(plan, &view, &context).await;
    context.metrics.reconciled(began.elapsed(), result.is_ok());
    let again = result?;
    context.memory.succeeded(&job.name_any());
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

#[expect(clippy::needless_pass_by_value, reason = "the controller's signature")]
fn on_error(job: Arc<AgentJob>, error: &apply::ApplyError, context: Arc<Context>) -> Action {
    let is_there = |name: &str| context.stores.jobs.find(|kept| kept.name_any() == name).is_some();
    Action::requeue(context.memory.failed(&job.name_any(), error.retry_after(), is_there))
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
