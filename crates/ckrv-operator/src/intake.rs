//! Makes an AgentJob for each assignment that has none, and hears it as a wish to cancel when somebody removes one.
//!
//! 1. Wanted, no object, and none seen before: made.
//! 2. Wanted, and its object has gone that was there, not by this operator: the attempt is cancelled by the runner's side.
//! 3. Wanted and begun, and no object though all were read: removed while no operator looked. The same.
//!
//! An object stands for its whole job: the second rule is also that of the next attempt, where the worker was the first to
//! tell what the removal did to it.
//!
//! What is kept in memory may be old: before 2 and 3 are believed, the API server is asked.
//!
//! An assignment that was handed in for an object has its object already, and no other is made: where it is gone, the attempt
//! is cancelled, also while it waits at the control plane.
//!
//! What is left of pods whose AgentJob is gone gets little time: their attempts are over.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ckrv_types::runner::Assignment;
use ckrv_types::{AttemptId, JobId};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::runtime::reflector::ObjectRef;

use crate::control::handing::Followed;
use crate::controller::Context;
use crate::controller::plan::{cancelled, living};
use crate::crd::{AgentJob, AgentJobSpec};
use crate::names;
use crate::triggers::Triggers;

/// Looked again without being told to.
const LOOK: Duration = Duration::from_secs(1);
/// Objects made at once.
const CONCURRENCY: usize = 32;
/// An object that was made is in memory by then, unless it is gone again or the watch is late.
const SETTLE: Duration = Duration::from_secs(2);
/// A pod whose AgentJob is gone ends by itself within this, and is made to within [`LEFTOVER_GRACE_SECONDS`] more.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(15);
const LEFTOVER_GRACE_SECONDS: u32 = 5;
/// For so long the removal of an object is remembered while its job waits to be tried again.
const BETWEEN_ATTEMPTS: Duration = Duration::from_hours(1);

/// What is remembered between looks. A restart loses it, and only the third rule is left.
#[derive(Default)]
struct Memory {
    /// Jobs whose object was there while they were wanted.
    seen: HashMap<JobId, Seen>,
    /// Wanted attempts whose object is gone for certain.
    cancelled: BTreeSet<AttemptId>,
    /// Pods without an AgentJob.
    leftovers: HashMap<String, Leftover>,
}

/// An object that was there.
struct Seen {
    uid: String,
    /// When the job was last wanted with its object there.
    at: Instant,
    /// When it was made here, until the watch has brought it.
    made: Option<Instant>,
}

/// A pod without an AgentJob.
struct Leftover {
    since: Instant,
    /// It has been told to go: once is enough.
    is_ended: bool,
}

/// What one look has found.
#[derive(Default)]
struct Found {
    /// To make objects for.
    missing: Vec<Arc<Assignment>>,
    /// Whose object seems to be gone.
    vanished: Vec<Vanished>,
}

/// An object that seems to be gone.
struct Vanished {
    attempt: AttemptId,
    name: String,
    /// None: any object of this name will do.
    uid: Option<String>,
}

/// For ever.
pub async fn run(context: Arc<Context>, triggers: Triggers) {
    let mut memory = Memory::default();
    loop {
        tokio::select! {
            () = triggers.new_ones() => (),
            () = tokio::time::sleep(LOOK) => (),
        }
        let found = memory.look(&context);
        memory.make(found.missing, &context).await;
        memory.ask_for(found.vanished, &context).await;
        memory.end_leftovers(&context).await;
        context.reports.retain(|attempt| context.desired.has(attempt));
        context.handing.retain(|name, uid| stands(&context, name, uid));
        context.memory.tidy(&context.stores);
    }
}

impl Leftover {
    fn new() -> Self {
        Self { since: Instant::now(), is_ended: false }
    }
}

impl Memory {
    fn look(&mut self, context: &Context) -> Found {
        let wanted = context.desired.all();
        let jobs: BTreeSet<JobId> = wanted.iter().map(|assignment| assignment.attempt.job).collect();
        self.seen.retain(|job, seen| jobs.contains(job) || seen.at.elapsed() < BETWEEN_ATTEMPTS);
        self.cancelled.retain(|attempt| context.desired.has(*attempt));
        let mut removed = context.memory.removed();
        // What this operator has deleted is not missed, and once it is really gone needs no memory.
        self.seen.retain(|_, seen| !removed.contains(&seen.uid));
        if !removed.is_empty() {
            let there = context.stores.jobs.state();
            let there: HashSet<_> = there.iter().filter_map(|job| job.metadata.uid.as_deref()).collect();
            removed.retain(|uid| there.contains(uid.as_str()));
        }
        let mut found = Found::default();
        for assignment in wanted {
            let (attempt, name) = (assignment.attempt, names::object_of(&assignment));
            let object = context.stores.jobs.get(&reference(context, &name));
            let vanished = |uid| Vanished { attempt, name: name.clone(), uid };
            match (object.and_then(|object| object.uid()), self.seen.get(&attempt.job)) {
                _ if self.cancelled.contains(&attempt) => context.reports.tell(cancelled(attempt, &name)),
                _ if let Some(origin) = &assignment.origin => {
                    if !stands(context, &origin.name, &origin.uid) {
                        found.vanished.push(vanished(Some(origin.uid.clone())));
                    }
                }
                // It is about to go; then a new one is made for the attempt that has come meanwhile.
                (Some(uid), _) if removed.contains(&uid) => (),
                (Some(uid), _) => {
                    self.seen.insert(attempt.job, Seen { uid, at: Instant::now(), made: None });
                }
                (None, Some(Seen { made: Some(at), .. })) if at.elapsed() < SETTLE => (),
                (None, Some(_)) => found.vanished.push(vanished(None)),
                (None, None) if assignment.started => found.vanished.push(vanished(None)),
                (None, None) => found.missing.push(assignment),
            }
        }
        let waiting = context.handing.followed().into_iter();
        let waiting = waiting.filter(|waiting| !stands(context, &waiting.name, &waiting.uid));
        found.vanished.extend(waiting.map(|Followed { uid, name, attempt }| Vanished {
            attempt,
            name,
            uid: Some(uid),
        }));
        found
    }

    async fn make(&mut self, missing: Vec<Arc<Assignment>>, context: &Context) {
        let making = missing.into_iter().map(|assignment| async move {
            let uid = create(&assignment, context).await?;
            let now = Instant::now();
            Some((assignment.attempt.job, Seen { uid, at: now, made: Some(now) }))
        });
        let made: Vec<_> = futures::stream::iter(making).buffer_unordered(CONCURRENCY).collect().await;
        self.seen.extend(made.into_iter().flatten());
    }

    /// Tells of the attempts whose object the API server does not have either.
    async fn ask_for(&mut self, vanished: Vec<Vanished>, context: &Context) {
        let jobs: Api<AgentJob> = Api::namespaced(context.client.clone(), &context.config.namespace);
        for Vanished { attempt, name, uid } in vanished {
            match jobs.get_metadata_opt(&name).await {
                // The watch is late.
                Ok(Some(object)) if uid.is_none() || (object.uid() == uid && !is_ending(&object.metadata)) => (),
                Ok(_) => {
                    tracing::info!(%attempt, object = name, "its AgentJob was deleted: cancelled");
                    self.cancelled.insert(attempt);
                    context.reports.tell(cancelled(attempt, &name));
                    context.handing.forget(&uid.unwrap_or_default());
                }
                Err(error) => tracing::warn!(%attempt, %error, "its AgentJob could not be looked for"),
            }
        }
    }

    async fn end_leftovers(&mut self, context: &Context) {
        let pods = context.stores.pods.state_filter(|pod| is_leftover(pod, context));
        self.leftovers.retain(|uid, _| pods.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid)));
        let api: Api<Pod> = Api::namespaced(context.client.clone(), &context.config.namespace);
        for pod in pods {
            let Some(uid) = pod.uid() else { continue };
            let leftover = self.leftovers.entry(uid.clone()).or_insert_with(Leftover::new);
            if leftover.is_ended || leftover.since.elapsed() < LEFTOVER_PATIENCE {
                continue;
            }
            let params = DeleteParams {
                grace_period_seconds: Some(LEFTOVER_GRACE_SECONDS),
                preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
                ..DeleteParams::default()
            };
            context.metrics.wrote("pod", "delete");
            match api.delete(&pod.name_any(), &params).await {
                Ok(_) => {
                    leftover.is_ended = true;
                    tracing::info!(pod = pod.name_any(), "ended a pod whose attempt is over");
                }
                Err(error) => {
                    leftover.since = Instant::now();
                    tracing::warn!(pod = pod.name_any(), %error, "a pod whose attempt is over stays");
                }
            }
        }
    }
}

/// Whether its AgentJob is gone, and the cluster does not take it away soon without being asked: it may still run, or was
/// left to nobody.
fn is_leftover(pod: &Pod, context: &Context) -> bool {
    let Some(owner) = names::owner_of(&pod.metadata) else { return names::attempt_of(&pod.metadata).is_some() };
    if living(Some(pod)).is_none() {
        return false;
    }
    let object = context.stores.jobs.get(&reference(context, &owner.name));
    object.and_then(|object| object.uid()).as_ref() != Some(&owner.uid)
}

/// Whether the object that was made by hand is there, as far as is known, and to stay.
fn stands(context: &Context, name: &str, uid: &str) -> bool {
    let object = context.stores.jobs.get(&reference(context, name));
    object.is_some_and(|object| object.metadata.uid.as_deref() == Some(uid) && !is_ending(&object.metadata))
}

fn is_ending(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// The UID of the object that was made.
async fn create(assignment: &Assignment, context: &Context) -> Option<String> {
    let Assignment { attempt, agent, image, class, limits, .. } = assignment;
    let name = attempt.job.to_string();
    let job = AgentJob {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some([(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned())].into()),
            annotations: Some([(names::ATTEMPT.to_owned(), attempt.number.to_string())].into()),
            owner_references: Some(vec![context.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: AgentJobSpec {
            job_id: Some(name),
            agent: agent.clone(),
            image: image.clone(),
            class_name: class.clone(),
            limits: (*limits).into(),
            ..AgentJobSpec::default()
        },
        status: None,
    };
    let jobs: Api<AgentJob> = Api::namespaced(context.client.clone(), &context.config.namespace);
    context.metrics.wrote("agentjob", "create");
    match jobs.create(&PostParams::default(), &job).await {
        Ok(made) => {
            tracing::info!(%attempt, "took an attempt");
            return made.uid();
        }
        // Made before, and not seen yet.
        Err(kube::Error::Api(status)) if status.code == 409 => (),
        Err(error) => tracing::warn!(%attempt, %error, "its AgentJob could not be made yet"),
    }
    None
}

fn reference(context: &Context, name: &str) -> ObjectRef<AgentJob> {
    ObjectRef::new(name).within(&context.config.namespace)
}
