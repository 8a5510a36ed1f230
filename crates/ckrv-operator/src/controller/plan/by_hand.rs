//! An object that somebody has made: its job is handed in once, runs as any other, and the object tells how it ended.
//!
//! 1. Over, which the status says: what is left of pods goes, and the object itself when its time is up.
//! 2. Without a job: handed in, or rejected with what to do about it. Nothing of that is repeated before something changes.
//! 3. With an attempt here: as every job.
//! 4. With none here: it waits at the control plane, which is asked, or it is over, which is told for good.

use std::time::Duration;

use ckrv_types::runner::JobStanding;
use ckrv_types::{AttemptId, Cause, State};
use k8s_openapi::jiff::Timestamp;

use super::super::status::{self, Facts, Over};
use super::{Action, ByHand, Note, Plan, View, attempted, delete_pod, judged, write_if_new};
use crate::control::desired::Answer;
use crate::control::handing::Handed;
use crate::crd::{JobPhase, JobWork};

pub fn plan(view: &View, hand: &ByHand, attempt: Option<AttemptId>) -> Plan {
    if let Some(at) = view.job.status.as_ref().and_then(|status| status.completion_time.as_ref()) {
        return kept(view, at.0);
    }
    match (attempt, &view.wanted) {
        (None, _) => without_job(view, hand),
        (Some(attempt), Answer::NotWanted) => elsewhere(view, hand, attempt),
        (Some(attempt), Answer::Wanted(_) | Answer::Unknown) => attempted(view, attempt),
    }
}

/// It is not taken, for now.
pub fn reject(view: &View, reason: &'static str, message: String) -> Plan {
    let facts = Facts {
        phase: Some(JobPhase::Rejected),
        message: Some(message.clone()),
        rejected: Some(reason),
        ..Facts::default()
    };
    told(view, &facts, true, reason, message)
}

fn without_job(view: &View, hand: &ByHand) -> Plan {
    if view.class.spec.is_none() {
        let name = &view.class.name;
        return reject(
            view,
            "ClassMissing",
            format!("there is no JobClass {name}; `kubectl get jobclasses` lists those there are"),
        );
    }
    match (&hand.handed, hand.is_allowed) {
        (Handed::Standing(standing), _) => {
            stands(view, standing, AttemptId { job: standing.job, number: standing.attempt })
        }
        (Handed::Refused(refusal), Some(true)) => reject(view, refusal.reason, refusal.message.clone()),
        (_, Some(true)) => Plan { actions: vec![Action::HandIn], look_again: None },
        (_, Some(false)) => {
            let namespace = view.job.metadata.namespace.as_deref().unwrap_or_default();
            let message = format!(
                "this cluster's runner may hand in no jobs of the namespace {namespace}; an owner of the organization \
                 allows it: `ckrv runner allow RUNNER {namespace}=PROJECT`"
            );
            reject(view, "NamespaceNotAllowed", message)
        }
        (_, None) => Plan::default(),
    }
}

/// The control plane has it, and this cluster has no attempt of it.
fn elsewhere(view: &View, hand: &ByHand, attempt: AttemptId) -> Plan {
    match &hand.handed {
        Handed::Standing(standing) if standing.job == attempt.job => stands(view, standing, attempt),
        Handed::Forgotten => {
            let text = format!("the control plane does not know {} any more", attempt.job);
            let over = Over { at: view.now, exit_code: None, work: None, reason: "Unknown" };
            let facts = Facts {
                phase: Some(JobPhase::Failed),
                message: Some(text.clone()),
                over: Some(over),
                ..judged::last_facts(view, attempt)
            };
            told(view, &facts, true, "Unknown", text)
        }
        _ => Plan { actions: vec![Action::Ask(attempt.job)], look_again: None },
    }
}

fn stands(view: &View, standing: &JobStanding, before: AttemptId) -> Plan {
    let attempt = AttemptId { job: standing.job, number: standing.attempt };
    let mut plan = match standing.finished_at {
        Some(at) => over(view, standing, attempt, at.unix_timestamp()),
        // What is asked may be older than what was seen here.
        None if attempt.number < before.number => Plan::default(),
        None => waits(view, standing, attempt),
    };
    if standing.finished_at.is_none() {
        plan.actions.push(Action::Ask(standing.job));
    }
    plan
}

fn waits(view: &View, standing: &JobStanding, attempt: AttemptId) -> Plan {
    let is_queued = standing.state == State::Queued;
    let why = standing.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    let message = match standing.cause {
        Some(cause) if attempt.number > 1 => {
            format!("attempt {} ended as {cause}{why}; attempt {} follows", attempt.number - 1, attempt.number)
        }
        _ if is_queued => format!("{} waits for a place; `ckrv explain {0}` says for which", attempt.job),
        _ => format!("{} is about to begin", attempt.job),
    };
    let phase = if is_queued { JobPhase::Queued } else { JobPhase::Pending };
    let facts = Facts { attempt: Some(attempt), phase: Some(phase), message: Some(message), ..Facts::default() };
    let was_known = view.attempt.is_some();
    let mut plan = write_if_new(view, &facts);
    if !was_known && !plan.actions.is_empty() {
        let text = format!("handed in as {}", attempt.job);
        plan.actions.push(Action::Publish(Note { is_warning: false, reason: "Submitted".to_owned(), text }));
    }
    plan
}

fn over(view: &View, standing: &JobStanding, attempt: AttemptId, at: i64) -> Plan {
    let at = Timestamp::from_second(at).unwrap_or(view.now);
    let work = standing.result.as_ref().map(JobWork::from);
    let (phase, reason) = match (standing.state, standing.cause) {
        (State::Succeeded, _) => (JobPhase::Succeeded, "Succeeded"),
        (State::TimedOut, _) => (JobPhase::TimedOut, "TimedOut"),
        (State::Cancelled, _) => (JobPhase::Cancelled, "Cancelled"),
        (_, cause) => (JobPhase::Failed, cause.map_or("Failed", status::cause_reason)),
    };
    let message = last_words(standing, work.as_ref());
    let over = Over { at, exit_code: standing.exit_code, work, reason };
    let facts = Facts {
        phase: Some(phase),
        cause: standing.cause,
        message: Some(message.clone()),
        over: Some(over),
        ..judged::last_facts(view, attempt)
    };
    told(view, &facts, phase != JobPhase::Succeeded, reason, message)
}

/// How it ended, and what to do next.
fn last_words(standing: &JobStanding, work: Option<&JobWork>) -> String {
    let JobStanding { job, cause, message, .. } = standing;
    let ended = match (cause, message) {
        (None, _) => "done".to_owned(),
        (Some(cause), None) => cause.to_string(),
        (Some(cause), Some(message)) => format!("{cause}: {message}"),
    };
    let fetch = match work {
        Some(work) if work.files_changed > 0 => {
            format!(
                "; `ckrv pull {job}` fetches its work, branch {} ({} files changed)",
                work.branch, work.files_changed
            )
        }
        _ => String::new(),
    };
    let hint = cause.map(Cause::hint).map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{ended}{fetch}; `ckrv logs {job}` shows its log{hint}")
}

/// It is over, and the status says so.
fn kept(view: &View, since: Timestamp) -> Plan {
    let pods = view.earlier_pods.iter().chain(&view.pod);
    let actions = pods.filter_map(|pod| delete_pod(Some(pod), None)).collect();
    let Some(ttl) = view.job.spec.ttl_seconds_after_finished else { return Plan { actions, look_again: None } };
    let ttl = Duration::from_secs(u64::try_from(ttl).unwrap_or_default());
    let left = ttl.saturating_sub(judged::elapsed(since, view.now));
    if left.is_zero() {
        return Plan { actions: vec![Action::DeleteJob], look_again: None };
    }
    Plan { actions, look_again: Some(left) }
}

/// The status, and an Event where it is a new one.
fn told(view: &View, facts: &Facts, is_warning: bool, reason: &str, text: String) -> Plan {
    let mut plan = write_if_new(view, facts);
    if !plan.actions.is_empty() {
        plan.actions.push(Action::Publish(Note { is_warning, reason: reason.to_owned(), text }));
    }
    plan
}
