//! What is kept in memory of the cluster: its AgentJobs, their pods and the classes, without what is never read of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Event as PodEvent, ObjectReference, Pod, PodSpec};
use kube::api::{Api, ObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{Lookup, ObjectRef, Store, store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::causes::{self, End};
use crate::crd::{AgentJob, JobClass};
use crate::names;
use crate::triggers::Triggers;

/// Selects such Events.
const WARNINGS: &str = "type=Warning,involvedObject.kind=Pod";
/// A kubelet evicts a pod; in its status it stands when all of it has ended.
const EVICTED: &str = "Evicted";
/// A node does not get as far as starting containers; their status says no more than that they are being made.
const HINDRANCES: [&str; 4] = ["FailedCreatePodSandBox", "FailedMount", "FailedAttachVolume", "NetworkNotReady"];

/// Readers of what is kept. Clones are the same.
#[derive(Clone)]
pub struct Stores {
    pub jobs: Store<AgentJob>,
    pub pods: Store<Pod>,
    pub classes: Store<JobClass>,
    /// What the cluster's own parts warn of about pods: some of it never stands in a pod's status, some of it late.
    warnings: Store<PodEvent>,
    /// Pods that the cluster took away and that are gone, by name: that may be all within one look.
    taken: Taken,
}

/// Whose each was, and why.
type Taken = Arc<Mutex<HashMap<String, (String, End)>>>;

/// The watches behind them did not begin.
#[derive(Debug, thiserror::Error)]
#[error("a watch ended before its first list")]
pub struct NotFilled;

impl Stores {
    /// Follows `namespace` from now on, as long as `tasks` run.
    pub fn follow(client: &Client, namespace: &str, triggers: &Triggers, tasks: &mut JoinSet<()>) -> Self {
        let jobs = {
            let triggers = triggers.clone();
            reflect(
                Api::<AgentJob>::namespaced(client.clone(), namespace),
                watcher::Config::default(),
                tasks,
                |_| true,
                trim_job,
                move |event| match event {
                    Event::Apply(job) => triggers.look_at_named(name(job)),
                    Event::Delete(_) => triggers.look_for_new(),
                    Event::InitDone => {
                        triggers.look_at_all();
                        triggers.look_for_new();
                    }
                    Event::Init | Event::InitApply(_) => (),
                },
            )
        };
        let taken = Taken::default();
        let pods = {
            let taken = Arc::clone(&taken);
            let (triggers, config) = (triggers.clone(), watcher::Config::default().labels(names::POD_SELECTOR));
            reflect(
                Api::<Pod>::namespaced(client.clone(), namespace),
                config,
                tasks,
                |_| true,
                trim_pod,
                move |event| match event {
                    Event::Apply(pod) | Event::Delete(pod) => {
                        if let Some(owner) = names::owner_of(&pod.metadata) {
                            if matches!(event, Event::Delete(_))
                                && let Some(end) = causes::taken_away(pod)
                            {
                                lock(&taken).insert(name(pod).to_owned(), (owner.name.clone(), end));
                            }
                            triggers.look_at_named(&owner.name);
                        }
                    }
                    Event::InitDone => triggers.look_at_all(),
                    Event::Init | Event::InitApply(_) => (),
                },
            )
        };
        let classes = {
            let triggers = triggers.clone();
            reflect(
                Api::<JobClass>::all(client.clone()),
                watcher::Config::default(),
                tasks,
                |_| true,
                trim_class,
                move |event| {
                    if matches!(event, Event::Apply(_) | Event::InitDone) {
                        triggers.look_at_all();
                    }
                },
            )
        };
        let warnings = {
            let (triggers, pods) = (triggers.clone(), pods.clone());
            let config = watcher::Config::default().fields(WARNINGS);
            reflect(
                Api::<PodEvent>::namespaced(client.clone(), namespace),
                config,
                tasks,
                is_telling,
                trim_event,
                move |event| {
                    let Event::Apply(said) = event else { return };
                    let about = &said.involved_object;
                    let pod = ObjectRef::new(about.name.as_deref().unwrap_or_default())
                        .within(about.namespace.as_deref().unwrap_or_default());
                    if let Some(owner) = pods.get(&pod).and_then(|pod| names::owner_of(&pod.metadata).cloned()) {
                        triggers.look_at_named(&owner.name);
                    }
                },
            )
        };
        Self { jobs, pods, classes, warnings, taken }
    }

    /// Why the cluster took a pod away that is gone; none if it did not, or nobody saw it.
    pub fn taken_away(&self, pod: &str) -> Option<End> {
        lock(&self.taken).get(pod).map(|(_, end)| end.clone())
    }

    /// Forgets the pods of AgentJobs that are gone.
    pub fn forget_taken(&self) {
        let is_there = |job: &String| self.jobs.find(|known| name(known) == job).is_some();
        lock(&self.taken).retain(|_, (job, _)| is_there(job));
    }

    /// Why its kubelet evicts a pod; none if it does not.
    pub fn eviction(&self, pod: &Pod) -> Option<String> {
        self.warning(pod, &[EVICTED])
    }

    /// What kept its node from starting a pod's containers, at one try at least.
    pub fn hindrance(&self, pod: &Pod) -> Option<String> {
        self.warning(pod, &HINDRANCES)
    }

    fn warning(&self, pod: &Pod, reasons: &[&str]) -> Option<String> {
        let uid = pod.metadata.uid.as_ref()?;
        let is_it = |said: &PodEvent| {
            said.involved_object.uid.as_ref() == Some(uid)
                && said.reason.as_deref().is_some_and(|reason| reasons.contains(&reason))
        };
        self.warnings.find(is_it)?.message.clone()
    }

    /// Ends when everything that was there before has been read.
    pub async fn filled(&self) -> Result<(), NotFilled> {
        self.jobs.wait_until_ready().await.map_err(|_| NotFilled)?;
        self.pods.wait_until_ready().await.map_err(|_| NotFilled)?;
        self.classes.wait_until_ready().await.map_err(|_| NotFilled)
    }
}

fn reflect<K>(
    api: Api<K>,
    config: watcher::Config,
    tasks: &mut JoinSet<()>,
    is_kept: impl Fn(&K) -> bool + Send + 'static,
    trim: impl FnMut(&mut K) + Send + 'static,
    on_event: impl Fn(&Event<K>) + Send + 'static,
) -> Store<K>
where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (reader, mut writer) = store();
    // Nothing is missed for longer than this where a connection dies silently.
    let config = config.timeout(60);
    let events = watcher(api, config).modify(trim).default_backoff();
    tasks.spawn(async move {
        let mut events = events.into_stream().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) if !is_kept(&object) => (),
                Ok(event) => {
                    // First the store, so that who is told to look sees it.
                    writer.apply_watcher_event(&event);
                    on_event(&event);
                }
                Err(error) => tracing::warn!(%error, kind = %<K as Resource>::kind(&()), "a watch was interrupted"),
            }
        }
    });
    reader
}

fn lock(taken: &Taken) -> MutexGuard<'_, HashMap<String, (String, End)>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name<K: Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// What a job is to do is not read any more once the control plane has it.
fn trim_job(job: &mut AgentJob) {
    job.metadata.managed_fields = None;
    if job.status.as_ref().is_some_and(|status| status.job_id.is_some()) {
        // Among them what `kubectl apply` keeps of the whole object.
        job.metadata.annotations.iter_mut().for_each(|all| all.retain(|key, _| key == names::ATTEMPT));
        (job.spec.prompt, job.spec.command, job.spec.env) = Default::default();
    }
}

fn is_telling(event: &PodEvent) -> bool {
    event.reason.as_deref().is_some_and(|reason| reason == EVICTED || HINDRANCES.contains(&reason))
}

/// Of an Event only whom it is about, its reason and its words are read.
fn trim_event(event: &mut PodEvent) {
    let (metadata, about) = (std::mem::take(&mut event.metadata), std::mem::take(&mut event.involved_object));
    let (reason, message) = (event.reason.take(), event.message.take());
    *event = PodEvent {
        metadata: ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            name: about.name,
            namespace: about.namespace,
            uid: about.uid,
            ..ObjectReference::default()
        },
        reason,
        message,
        ..PodEvent::default()
    };
}

fn trim_class(class: &mut JobClass) {
    class.metadata.managed_fields = None;
}

/// Of a pod's spec only its node is read.
fn trim_pod(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    let node_name = pod.spec.take().and_then(|spec| spec.node_name);
    pod.spec = Some(PodSpec { node_name, ..PodSpec::default() });
}

/// How long the first lists may take before the operator says that something is wrong.
pub const FILL_LIMIT: Duration = Duration::from_secs(30);
