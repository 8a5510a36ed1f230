//! Does what a plan says. Every write may be repeated: names are deterministic, deletions and patches name the UID that they
//! mean, and what exists already is as good as made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ckrv_types::AttemptId;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::Context;
use super::plan::{Action, Note, Plan, View, refused};
use crate::causes::{Trouble, TroubleKind};
use crate::control::desired::Answer;
use crate::control::job_spec;
use crate::crd::{AgentJob, AgentJobStatus, GROUP, VERSION};
use crate::pod::{Blueprint, TOKEN_KEY};
use crate::{names, policy};

/// What could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct ApplyError {
    what: &'static str,
    #[source]
    source: kube::Error,
}

impl ApplyError {
    /// How long the API server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        let kube::Error::Api(status) = &self.source else { return None };
        let seconds = status.details.as_ref().map(|details| details.retry_after_seconds)?;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }
}

type Applied<T = ()> = Result<T, ApplyError>;

/// Does everything, in order; answers when to look again.
pub async fn apply(plan: Plan, view: &View, context: &Context) -> Applied<Option<Duration>> {
    forget_old(view, context);
    let mut look_again = plan.look_again;
    for action in plan.actions {
        if let Some(trouble) = apply_one(action, view, context).await?
            && let Some(attempt) = view.attempt
        {
            // It is not had now: what follows from that is another plan, which makes nothing.
            let instead = refused(view, attempt, &trouble);
            look_again = instead.look_again;
            for action in instead.actions {
                apply_one(action, view, context).await?;
            }
        }
    }
    Ok(look_again)
}

/// What the control plane has said of a job is old while an attempt of it runs here, and of no use when it is over.
fn forget_old(view: &View, context: &Context) {
    let is_over = view.job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
    let has_attempt = view.attempt.is_some() && matches!(view.wanted, Answer::Wanted(_));
    if view.by_hand.is_some() && (is_over || has_attempt) {
        context.handing.forget(&view.job.uid().unwrap_or_default());
    }
}

/// Answers trouble where the cluster does not have the pod.
async fn apply_one(action: Action, view: &View, context: &Context) -> Applied<Option<Trouble>> {
    match action {
        Action::CreatePod(attempt) => return create_pod(attempt, view, context).await,
        Action::SetAttempt(number) => set_attempt(number, view, context).await?,
        Action::DeletePod { name, uid, grace_seconds } => delete_pod(&name, uid, grace_seconds, context).await?,
        Action::WriteStatus(status) => write_status(&status, view, context).await?,
        Action::DeleteJob => delete_job(view, context).await?,
        Action::Publish(note) => context.events.publish(view.job.object_ref(&()), note),
        Action::Tell(observation) => context.reports.tell(observation),
        Action::HandIn => {
            if let Some(wish) = job_spec::hand_in(&view.job, &context.instance) {
                context.handing.hand_in(wish);
            }
        }
        Action::Ask(job) => context.handing.ask(&view.job.uid().unwrap_or_default(), &view.job.name_any(), job),
    }
    Ok(None)
}

async fn create_pod(attempt: AttemptId, view: &View, context: &Context) -> Applied<Option<Trouble>> {
    let (Answer::Wanted(wanted), Some(class)) = (&view.wanted, &view.class.spec) else { return Ok(None) };
    let _making = Making::new(&context.making);
    let config = &context.config;
    let blueprint = Blueprint {
        attempt,
        limits: view.job.spec.limits,
        image: view.job.spec.image.as_deref(),
        class_name: &view.class.name,
        class,
        owner: owner(&view.job),
        server: &config.server,
        allow_plain_http: config.allow_plain_http,
        config: &config.pod,
    };
    if let Some(message) = blueprint.refused_image() {
        return Ok(Some(Trouble { kind: TroubleKind::BadImage, message }));
    }
    ensure_policy(view, context).await?;
    if let Some(trouble) = create_secret(attempt, &wanted.assignment.bootstrap_token.0, view, context).await? {
        return Ok(Some(trouble));
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &config.namespace);
    context.metrics.wrote("pod", "create");
    match pods.create(&PostParams::default(), &blueprint.build()).await {
        Ok(_) => {
            context.metrics.made_pod();
            let text = format!("made pod {attempt} of class {}", view.class.name);
            let note = Note { is_warning: false, reason: "PodCreated".to_owned(), text };
            context.events.publish(view.job.object_ref(&()), note);
            Ok(None)
        }
        Err(error) => match pod_trouble(&error) {
            Some(trouble) => Ok(Some(trouble)),
            // Its predecessor of the same name is still going, or this view is older than the pod.
            None => Err(failed("make the pod")(error)),
        },
    }
}

/// Counted as long as it lives.
struct Making<'a>(&'a AtomicUsize);

impl<'a> Making<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The token's secret, for the orchestrator's container to mount. It goes with the AgentJob.
async fn create_secret(
    attempt: AttemptId,
    token: &ckrv_types::Secret,
    view: &View,
    context: &Context,
) -> Applied<Option<Trouble>> {
    let labels = [(names::MANAGED_BY, names::MANAGER.to_owned()), (names::ATTEMPT, attempt.to_string())];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(attempt.to_string()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            owner_references: Some(vec![owner(&view.job)]),
            ..ObjectMeta::default()
        },
        immutable: Some(true),
        data: Some([(TOKEN_KEY.to_owned(), ByteString(token.expose().as_bytes().to_vec()))].into()),
        ..Secret::default()
    };
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &context.config.namespace);
    context.metrics.wrote("secret", "create");
    let Err(error) = secrets.create(&PostParams::default(), &secret).await else { return Ok(None) };
    match pod_trouble(&error) {
        // Made before; an attempt's token never changes.
        None if is_conflict(&error) => Ok(None),
        None => Err(failed("make the token's secret")(error)),
        trouble => Ok(trouble),
    }
}

/// What the API server refuses for good, or until somebody makes room. Other errors are for another try.
fn pod_trouble(error: &kube::Error) -> Option<Trouble> {
    let kube::Error::Api(status) = error else { return None };
    let told = &status.message;
    match status.code {
        403 if told.contains("exceeded quota") => {
            let message = format!("the job namespace's quota has no room for the pod: {told}");
            Some(Trouble { kind: TroubleKind::Quota, message })
        }
        400 | 403 | 404 | 422 => {
            let message = format!("the cluster refuses the pod: {told}");
            Some(Trouble { kind: TroubleKind::Refused, message })
        }
        _ => None,
    }
}

/// A policy that somebody else has changed or deleted stands again before the first pod after this.
const APPLY_AGAIN: Duration = Duration::from_mins(1);

/// Before the first pod of a class, after each change of it, and again now and then.
async fn ensure_policy(view: &View, context: &Context) -> Applied {
    let class = &view.class;
    let known = context.memory.policy(&class.name);
    if known.is_some_and(|(version, at)| version == class.version && at.elapsed() < APPLY_AGAIN) {
        return Ok(());
    }
    let cidrs = class.spec.as_ref().map(|spec| spec.egress_cidrs.as_slice()).unwrap_or_default();
    let policy = policy::of_class(&class.name, cidrs, &context.config.network, &context.owner);
    let policies: Api<NetworkPolicy> = Api::namespaced(context.client.clone(), &context.config.namespace);
    context.metrics.wrote("networkpolicy", "apply");
    let applied = policies.patch(&policy::name(&class.name), &apply_params(), &Patch::Apply(&policy)).await;
    applied.map_err(failed("apply the class's network policy"))?;
    context.memory.applied_policy(&class.name, class.version.clone());
    Ok(())
}

async fn set_attempt(number: u32, view: &View, context: &Context) -> Applied {
    let annotations = json!({names::ATTEMPT: number.to_string()});
    let patch = json!({"metadata": {"uid": view.job.uid(), "annotations": annotations}});
    context.metrics.wrote("agentjob", "patch");
    let patched = jobs(context).patch(&view.job.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
    patched.map(drop).map_err(failed("write the attempt's number"))
}

async fn write_status(status: &AgentJobStatus, view: &View, context: &Context) -> Applied {
    let patch = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "AgentJob",
        "metadata": {"name": view.job.name_any(), "uid": view.job.uid()},
        "status": status,
    });
    context.metrics.wrote("agentjob", "status");
    let patched = jobs(context).patch_status(&view.job.name_any(), &apply_params(), &Patch::Apply(patch)).await;
    tolerate_gone(patched.map(drop)).map_err(failed("write the status"))
}

async fn delete_pod(name: &str, uid: String, grace_seconds: Option<u32>, context: &Context) -> Applied {
    if context.memory.is_going(&uid) {
        return Ok(());
    }
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &context.config.namespace);
    let params = DeleteParams { grace_period_seconds: grace_seconds, ..only(uid.clone()) };
    context.metrics.wrote("pod", "delete");
    tolerate_gone(pods.delete(name, &params).await.map(drop)).map_err(failed("delete the pod"))?;
    context.memory.goes(uid);
    Ok(())
}

async fn delete_job(view: &View, context: &Context) -> Applied {
    let Some(uid) = view.job.uid().filter(|uid| !context.memory.is_going(uid)) else { return Ok(()) };
    // First this, so that nobody takes the disappearance for a wish to cancel.
    context.memory.removed().insert(uid.clone());
    let params = DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..only(uid.clone()) };
    context.metrics.wrote("agentjob", "delete");
    let deleted = jobs(context).delete(&view.job.name_any(), &params).await.map(drop);
    tolerate_gone(deleted).map_err(failed("delete the AgentJob"))?;
    context.memory.goes(uid);
    Ok(())
}

fn jobs(context: &Context) -> Api<AgentJob> {
    Api::namespaced(context.client.clone(), &context.config.namespace)
}

fn apply_params() -> PatchParams {
    PatchParams::apply(names::MANAGER).force()
}

fn owner(job: &AgentJob) -> OwnerReference {
    // Blocking its deletion would want the right to set finalizers.
    OwnerReference { block_owner_deletion: None, ..job.controller_owner_ref(&()).unwrap_or_default() }
}

fn only(uid: String) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
        ..DeleteParams::default()
    }
}

fn failed(what: &'static str) -> impl FnOnce(kube::Error) -> ApplyError {
    move |source| ApplyError { what, source }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// What is gone, or is another object by now, needs no more of it.
fn tolerate_gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other,
    }
}
