//! An attempt that has a pod, or is refused one.

use std::time::Duration;

use ckrv_types::runner::{Observation, Phase};
use ckrv_types::{AttemptId, Cause};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::super::status::{self, Facts};
use super::{Action, Note, Plan, STOP_GRACE, TELL_AGAIN, View, delete_pod, ended, living, observation, stopped};
use crate::causes::{self, End, Seen, Trouble};
use crate::control::desired::Answer;
use crate::crd::JobPhase;

/// A start that goes well is told only when it is done, unless it takes longer than this.
const QUIET_START: Duration = Duration::from_secs(5);
/// While many are being started, nothing is told for this long of those with which all is well: every write would delay others'.
const QUIET_RUSH: Duration = Duration::from_secs(30);
/// Whether it is still so is looked at this often.
const RUSH_LOOK: Duration = Duration::from_secs(2);
/// An image or place that was not to be had is looked for again after this, at the latest.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A worker that ended well has told the control plane, which takes the attempt off its list; else something is wrong.
const FINISH_GRACE: Duration = Duration::from_secs(15);

pub fn plan(view: &View, attempt: AttemptId, pod: &Pod, stop: bool) -> Plan {
    if let Some(end) = lost_before_it_began(view, pod).filter(|_| !stop) {
        return fail(view, attempt, &end);
    }
    let mut plan = match causes::look(pod) {
        Seen::Ended(_) if stop => return fail(view, attempt, &stopped()),
        Seen::Ended(end) => return fail(view, attempt, &end),
        Seen::Finished { at } => return finished(view, attempt, pod, at),
        Seen::Waiting { trouble: Some(trouble), .. } => troubled(view, attempt, &trouble, Some(pod)),
        Seen::Waiting { message, trouble: None } => starting(view, attempt, pod, &message),
        Seen::Running { agent } => {
            let disruption = causes::disruption(pod).filter(|_| !stop);
            running(view, attempt, pod, agent, disruption)
        }
    };
    if stop {
        plan.actions.extend(delete_pod(Some(pod), Some(STOP_GRACE)));
    }
    plan
}

/// Of a pod whose node is lost, nobody tells that it has ended; and no lease runs out where no worker has begun.
fn lost_before_it_began(view: &View, pod: &Pod) -> Option<End> {
    let Answer::Wanted(wanted) = &view.wanted else { return None };
    let end = causes::disruption(pod).filter(|end| end.cause == Cause::NodeLost)?;
    (!wanted.assignment.started).then_some(end)
}

/// The cluster does not have the pod.
pub fn refused(view: &View, attempt: AttemptId, trouble: &Trouble) -> Plan {
    troubled(view, attempt, trouble, None)
}

/// Nothing of the attempt will finish any more: recorded first, then told, then what is left goes.
pub fn fail(view: &View, attempt: AttemptId, end: &End) -> Plan {
    let facts = Facts {
        phase: Some(JobPhase::Failed),
        cause: Some(end.cause),
        message: Some(end.message.clone()),
        ..last_facts(view, attempt)
    };
    let mut actions = write(view, &facts);
    actions.push(Action::Publish(warning(reason(end.cause), &end.message)));
    actions.push(Action::Tell(Observation { node: facts.node, ..ended(attempt, end) }));
    actions.extend(delete_pod(living(view.pod.as_deref()), Some(STOP_GRACE)));
    Plan { actions, look_again: Some(TELL_AGAIN) }
}

fn finished(view: &View, attempt: AttemptId, pod: &Pod, at: Option<Timestamp>) -> Plan {
    let since = at.map_or(Duration::ZERO, |at| elapsed(at, view.now));
    if since >= FINISH_GRACE {
        let message = format!("the worker in pod {attempt} ended without having told the control plane how it went");
        return fail(view, attempt, &End::new(Cause::WorkerLost, message));
    }
    let facts = Facts { phase: Some(JobPhase::Completed), ..facts(attempt, Some(pod)) };
    Plan { actions: write(view, &facts), look_again: Some(FINISH_GRACE.saturating_sub(since)) }
}

fn starting(view: &View, attempt: AttemptId, pod: &Pod, message: &str) -> Plan {
    let age = age(view, pod);
    let hindered = view.hindrance.as_ref().map(|why| format!("the node cannot start the pod yet: {why}"));
    if age < QUIET_START && hindered.is_none() {
        return Plan { actions: Vec::new(), look_again: Some(QUIET_START.saturating_sub(age)) };
    }
    if view.is_rush && age < QUIET_RUSH && hindered.is_none() {
        return Plan { actions: Vec::new(), look_again: Some(RUSH_LOOK) };
    }
    let message = hindered.unwrap_or_else(|| message.to_owned());
    let facts = Facts { phase: Some(JobPhase::Pending), message: Some(message), ..facts(attempt, Some(pod)) };
    let mut actions = write(view, &facts);
    actions.push(tell_waiting(attempt, &facts, None));
    Plan { actions, look_again: None }
}

fn troubled(view: &View, attempt: AttemptId, trouble: &Trouble, pod: Option<&Pod>) -> Plan {
    let Some(grace) = trouble.kind.grace(&view.graces) else {
        return fail(view, attempt, &End::new(trouble.kind.cause(), &trouble.message));
    };
    let earlier = view.job.status.as_ref().and_then(|status| status::trouble_since(status, attempt, trouble.kind));
    let grace = Duration::from_secs(grace);
    let borne = earlier.map_or(Duration::ZERO, |since| elapsed(since, view.now));
    if borne >= grace {
        let message = format!("{} (for {} s)", trouble.message, borne.as_secs());
        return fail(view, attempt, &End::new(trouble.kind.cause(), message));
    }
    // The words for the same trouble change from try to try; the first ones stay.
    let told = view.job.status.as_ref().and_then(|status| status.message.clone()).filter(|_| earlier.is_some());
    let message = told.unwrap_or_else(|| trouble.message.clone());
    let facts = Facts {
        phase: Some(JobPhase::Pending),
        trouble: Some(trouble.kind),
        message: Some(message.clone()),
        ..facts(attempt, pod)
    };
    let mut actions = write(view, &facts);
    if earlier.is_none() {
        actions.push(Action::Publish(warning(trouble.kind.reason(), &message)));
    }
    actions.push(tell_waiting(attempt, &facts, Some(trouble.kind.cause())));
    let left = grace.saturating_sub(borne);
    Plan { actions, look_again: Some(if pod.is_none() { left.min(LOOK_AGAIN) } else { left }) }
}

/// `agent`: what befell the agent's container; `disruption`: why the pod is being taken away.
fn running(view: &View, attempt: AttemptId, pod: &Pod, agent: Option<End>, disruption: Option<End>) -> Plan {
    // Containers of a pod that goes are killed in the end.
    let is_oom = agent.as_ref().is_some_and(|end| end.cause == Cause::AgentOom);
    let wrong = if is_oom { agent } else { disruption.clone().or(agent) };
    if view.is_rush && age(view, pod) < QUIET_RUSH && wrong.is_none() {
        return Plan { actions: Vec::new(), look_again: Some(RUSH_LOOK) };
    }
    let message = wrong.as_ref().map(|end| end.message.clone());
    let facts =
        Facts { phase: Some(JobPhase::Running), message: message.clone(), disruption, ..facts(attempt, Some(pod)) };
    let was_running = view.job.status.as_ref().is_some_and(|status| {
        status.phase == Some(JobPhase::Running) && status.attempt == Some(i64::from(attempt.number))
    });
    let mut actions = write(view, &facts);
    if !was_running {
        let node = facts.node.as_deref().unwrap_or("its node");
        let text = format!("attempt {} runs on {node}", attempt.number);
        actions.push(Action::Publish(Note { is_warning: false, reason: "Started".to_owned(), text }));
    } else if !actions.is_empty()
        && let Some(end) = &facts.disruption
    {
        actions.push(Action::Publish(warning("Disrupted", &end.message)));
    }
    let cause = wrong.map(|end| end.cause);
    actions.push(Action::Tell(Observation {
        cause,
        message,
        node: facts.node,
        ..observation(attempt, Phase::Launched)
    }));
    Plan { actions, look_again: None }
}

fn age(view: &View, pod: &Pod) -> Duration {
    pod.metadata.creation_timestamp.as_ref().map_or(Duration::ZERO, |made| elapsed(made.0, view.now))
}

fn facts(attempt: AttemptId, pod: Option<&Pod>) -> Facts {
    Facts {
        attempt: Some(attempt),
        pod_name: pod.and_then(|pod| pod.metadata.name.clone()),
        node: pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()),
        ..Facts::default()
    }
}

/// The same of a pod that may be gone: where it was is in the status.
pub fn last_facts(view: &View, attempt: AttemptId) -> Facts {
    let now = facts(attempt, view.pod.as_deref());
    let before = view.job.status.as_ref().filter(|status| status.attempt == Some(i64::from(attempt.number)));
    Facts {
        pod_name: now.pod_name.or_else(|| before?.pod_name.clone()),
        node: now.node.or_else(|| before?.node.clone()),
        ..now
    }
}

fn write(view: &View, facts: &Facts) -> Vec<Action> {
    super::write_if_new(view, facts).actions
}

fn tell_waiting(attempt: AttemptId, facts: &Facts, cause: Option<Cause>) -> Action {
    let (message, node) = (facts.message.clone(), facts.node.clone());
    Action::Tell(Observation { cause, message, node, ..observation(attempt, Phase::Waiting) })
}

fn warning(reason: &str, text: &str) -> Note {
    Note { is_warning: true, reason: reason.to_owned(), text: text.to_owned() }
}

/// `infrastructure:node-lost` as the reason of an Event.
fn reason(cause: Cause) -> &'static str {
    status::cause_reason(cause)
}

/// Never negative, whatever the clocks of others say.
pub fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
