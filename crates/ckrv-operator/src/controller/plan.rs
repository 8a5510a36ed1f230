//! What is to be done about an AgentJob: a pure function of what is seen, whose plan leaves nothing to decide.
//!
//! 1. Not ours, or being deleted: say so.
//! 2. Not wanted (any more): remove it; its pod and secret go with it.
//! 3. Made by hand: handed in first, and kept after its job's end ([`by_hand`]).
//! 4. Wanted: the pod of the wanted attempt is made, watched, and judged by [`crate::causes`]. Trouble that may pass is borne
//!    for its grace, counted from when the status first told of it, so that a restart forgets nothing.

mod by_hand;
mod judged;

use std::sync::Arc;
use std::time::Duration;

use ckrv_types::runner::{Observation, Phase};
use ckrv_types::{AttemptId, Cause, JobId};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

pub use self::judged::refused;
use super::status::{self, Facts};
use crate::causes::{self, End, Trouble, TroubleKind};
use crate::config::Graces;
use crate::control::desired::{Answer, Wanted};
use crate::control::handing::Handed;
use crate::crd::{AgentJob, AgentJobStatus, JobClassSpec};

/// A pod that was told to go has this long, in seconds, where its worker does not obey.
const STOP_GRACE: u32 = 10;
/// An end that the control plane may not have taken is told again after this.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// Everything that a plan depends on.
pub struct View {
    pub job: Arc<AgentJob>,
    /// None: the object stands for no job, or none yet.
    pub attempt: Option<AttemptId>,
    pub wanted: Answer,
    /// Of an object that somebody has made.
    pub by_hand: Option<ByHand>,
    /// Of the attempt that the object stands for.
    pub pod: Option<Arc<Pod>>,
    /// Why the cluster took the pod away, which is gone.
    pub taken_away: Option<End>,
    /// What kept its node from starting it at some try, in the node's words.
    pub hindrance: Option<String>,
    pub earlier_pods: Vec<Arc<Pod>>,
    pub class: Class,
    pub graces: Graces,
    /// Many pods are being made: what says that all is well waits for them.
    pub is_rush: bool,
    pub now: Timestamp,
}

/// What is known at the control plane of an object that somebody has made.
pub struct ByHand {
    pub handed: Handed,
    /// Whether jobs of this namespace may be handed in; none: that was not heard yet.
    pub is_allowed: Option<bool>,
}

/// The job's class as it is now.
pub struct Class {
    pub name: String,
    /// Resource version of the JobClass; none: the operator's defaults.
    pub version: Option<String>,
    /// None: there is no such class.
    pub spec: Option<JobClassSpec>,
}

/// What to do, in order, and when to look again if nothing happens.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub look_again: Option<Duration>,
}

#[derive(Debug, PartialEq)]
pub enum Action {
    /// The object stands for this attempt from now on.
    SetAttempt(u32),
    /// The class's policy, the token's secret, then the pod.
    CreatePod(AttemptId),
    DeletePod {
        name: String,
        uid: String,
        grace_seconds: Option<u32>,
    },
    WriteStatus(Box<AgentJobStatus>),
    Publish(Note),
    Tell(Observation),
    /// To the control plane: a new job.
    HandIn,
    /// To the control plane: where this job stands.
    Ask(JobId),
    /// With its pods and secrets.
    DeleteJob,
}

/// An Event on the AgentJob, for `kubectl describe`.
#[derive(Debug, PartialEq, Eq)]
pub struct Note {
    pub is_warning: bool,
    pub reason: String,
    pub text: String,
}

/// What is to be done.
pub fn plan(view: &View) -> Plan {
    match (&view.by_hand, view.attempt, &view.wanted) {
        (_, Some(attempt), _) if view.job.metadata.deletion_timestamp.is_some() => deleted(view, attempt),
        (_, None, _) if view.job.metadata.deletion_timestamp.is_some() => Plan::default(),
        (Some(hand), attempt, _) => by_hand::plan(view, hand, attempt),
        (None, None, _) => foreign(view),
        (None, Some(_), Answer::NotWanted) => Plan { actions: vec![Action::DeleteJob], look_again: None },
        (None, Some(attempt), _) => attempted(view, attempt),
    }
}

/// It has an attempt, or may have one.
fn attempted(view: &View, attempt: AttemptId) -> Plan {
    let wanted = match &view.wanted {
        Answer::Wanted(wanted) => Some(wanted),
        Answer::Unknown | Answer::NotWanted => None,
    };
    if let Some(wanted) = wanted {
        let number = wanted.assignment.attempt.number;
        if number > attempt.number {
            return next_attempt(view, number);
        }
        if number < attempt.number {
            // An older list than the one that this object was made by. A newer one is on its way.
            return Plan::default();
        }
    }
    if let Some(end) = recorded_end(view, attempt) {
        return still_ended(view, attempt, &end);
    }
    match (&view.pod, wanted) {
        (Some(pod), wanted) => {
            and_no_earlier(view, judged::plan(view, attempt, pod, wanted.is_some_and(|wanted| wanted.stop)))
        }
        (None, Some(wanted)) => and_no_earlier(view, without_pod(view, attempt, wanted)),
        (None, None) => Plan::default(),
    }
}

/// Pods of earlier attempts that still run go: their attempts are over.
fn and_no_earlier(view: &View, mut plan: Plan) -> Plan {
    let earlier = view.earlier_pods.iter();
    plan.actions.extend(earlier.filter_map(|pod| delete_pod(living(Some(pod)), Some(STOP_GRACE))));
    plan
}

/// Somebody made it by hand, and as if he were the operator.
fn foreign(view: &View) -> Plan {
    by_hand::reject(view, "NotAssigned", NOT_ASSIGNED.to_owned())
}

const NOT_ASSIGNED: &str = "no job of the control plane was assigned as this object: spec.jobID is the operator's alone; to make a job, say spec.repo";

/// Somebody deletes it, and waits for what belongs to it to go first.
fn deleted(view: &View, attempt: AttemptId) -> Plan {
    let is_wanted = matches!(&view.wanted, Answer::Wanted(wanted) if wanted.assignment.attempt == attempt);
    let name = view.job.metadata.name.as_deref().unwrap_or_default();
    let actions = is_wanted.then(|| Action::Tell(cancelled(attempt, name))).into_iter().collect();
    Plan { actions, look_again: is_wanted.then_some(TELL_AGAIN) }
}

/// What is told of an attempt whose object was deleted.
pub fn cancelled(attempt: AttemptId, object: &str) -> Observation {
    let message = format!("AgentJob {object} was deleted in the cluster");
    ended(attempt, &End::new(Cause::CancelledByRunner, message))
}

fn next_attempt(view: &View, number: u32) -> Plan {
    let mut actions: Vec<Action> = delete_pod(view.pod.as_deref(), None).into_iter().collect();
    actions.push(Action::SetAttempt(number));
    Plan { actions, look_again: None }
}

/// That the attempt has failed is in the status, so that it is not tried again after a restart.
fn recorded_end(view: &View, attempt: AttemptId) -> Option<End> {
    let status = view.job.status.as_ref()?;
    let cause = status.cause.as_ref()?.parse().ok()?;
    let is_current = status.attempt == Some(i64::from(attempt.number));
    is_current.then(|| End::new(cause, status.message.clone().unwrap_or_default()))
}

fn still_ended(view: &View, attempt: AttemptId, end: &End) -> Plan {
    let mut actions: Vec<Action> = delete_pod(living(view.pod.as_deref()), Some(STOP_GRACE)).into_iter().collect();
    actions.push(Action::Tell(ended(attempt, end)));
    Plan { actions, look_again: Some(TELL_AGAIN) }
}

fn without_pod(view: &View, attempt: AttemptId, wanted: &Wanted) -> Plan {
    if wanted.stop {
        return judged::fail(view, attempt, &stopped());
    }
    let status = view.job.status.as_ref().filter(|status| status.attempt == Some(i64::from(attempt.number)));
    let recorded = status.and_then(|status| status.pod_name.as_deref());
    if recorded.is_some() || wanted.assignment.started {
        let disrupted = view.job.status.as_ref().and_then(status::disrupted).or_else(|| view.taken_away.clone());
        let end = disrupted.unwrap_or_else(|| causes::deleted(&attempt.to_string()));
        return judged::fail(view, attempt, &end);
    }
    if view.class.spec.is_none() {
        let message =
            format!("there is no JobClass {}; `kubectl get jobclasses` lists those there are", view.class.name);
        return refused(view, attempt, &Trouble { kind: TroubleKind::NoClass, message });
    }
    Plan { actions: vec![Action::CreatePod(attempt)], look_again: None }
}

/// Of an attempt that was to be stopped: only a request to cancel asks for that.
fn stopped() -> End {
    End::new(Cause::CancelledByUser, "its pod was stopped, as was asked for")
}

fn write_if_new(view: &View, facts: &Facts) -> Plan {
    let status = status::of(view, facts);
    let is_new = view.job.status.as_ref() != Some(&status);
    Plan { actions: is_new.then(|| Action::WriteStatus(Box::new(status))).into_iter().collect(), look_again: None }
}

fn delete_pod(pod: Option<&Pod>, grace_seconds: Option<u32>) -> Option<Action> {
    let meta = &pod?.metadata;
    let (name, uid) = (meta.name.clone()?, meta.uid.clone()?);
    meta.deletion_timestamp.is_none().then_some(Action::DeletePod { name, uid, grace_seconds })
}

/// The pod, if a container of it may still run.
pub fn living(pod: Option<&Pod>) -> Option<&Pod> {
    pod.filter(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        !matches!(phase, Some("Succeeded" | "Failed"))
    })
}

fn ended(attempt: AttemptId, end: &End) -> Observation {
    Observation {
        cause: Some(end.cause),
        exit_code: end.exit_code,
        message: Some(end.message.clone()),
        ..observation(attempt, Phase::Ended)
    }
}

fn observation(attempt: AttemptId, phase: Phase) -> Observation {
    Observation { attempt, phase, cause: None, exit_code: None, message: None, node: None }
}

#[cfg(test)]
mod tests;
