//! From what is seen to an AgentJob's status: all conditions together, their times kept where nothing changed.

use ckrv_types::{AttemptId, Cause};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::plan::View;
use crate::causes::{End, TroubleKind};
use crate::crd::{AgentJobStatus, JobPhase, JobWork};

/// What is seen of an attempt, to be told in its AgentJob's status.
#[derive(Default)]
pub struct Facts {
    pub attempt: Option<AttemptId>,
    pub phase: Option<JobPhase>,
    pub pod_name: Option<String>,
    pub node: Option<String>,
    pub cause: Option<Cause>,
    pub message: Option<String>,
    pub trouble: Option<TroubleKind>,
    pub disruption: Option<End>,
    /// Why the object is not accepted; none: it is.
    pub rejected: Option<&'static str>,
    /// The job is over, of an object that tells so.
    pub over: Option<Over>,
}

/// How a job ended.
pub struct Over {
    pub at: Timestamp,
    pub exit_code: Option<i32>,
    pub work: Option<JobWork>,
    /// As the reason of a condition.
    pub reason: &'static str,
}

const TRUE: &str = "True";
const FALSE: &str = "False";
const STARTED: &str = "Started";
const DISRUPTED: &str = "Disrupted";

/// The status that tells `facts`, as against what `view` has told before.
pub fn of(view: &View, facts: &Facts) -> AgentJobStatus {
    let before = view.job.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let was_started = view.job.status.as_ref().is_some_and(|status| {
        let is_current = status.attempt == facts.attempt.map(|attempt| attempt.number.into());
        is_current && status.conditions.iter().any(|told| told.type_ == STARTED && told.status == TRUE)
    });
    let conditions = conditions(view, facts, was_started).into_iter().map(|told| Condition {
        last_transition_time: since(before, &told).unwrap_or(Time(to_seconds(view.now))),
        message: told.message,
        observed_generation: view.job.metadata.generation,
        reason: told.reason.to_owned(),
        status: told.status.to_owned(),
        type_: told.kind.to_owned(),
    });
    AgentJobStatus {
        observed_generation: view.job.metadata.generation,
        job_id: facts.attempt.map(|attempt| attempt.job.to_string()),
        phase: phase(view, facts),
        attempt: facts.attempt.map(|attempt| attempt.number.into()),
        pod_name: facts.pod_name.clone(),
        node: facts.node.clone(),
        cause: facts.cause.map(|cause| cause.as_str().to_owned()),
        message: facts.message.clone(),
        exit_code: facts.over.as_ref().and_then(|over| over.exit_code),
        result: facts.over.as_ref().and_then(|over| over.work.clone()),
        completion_time: facts.over.as_ref().map(|over| Time(to_seconds(over.at))),
        conditions: conditions.collect(),
    }
}

/// An object that is kept tells of its job's end: another attempt may follow one that has failed.
fn phase(view: &View, facts: &Facts) -> Option<JobPhase> {
    match facts.phase {
        Some(JobPhase::Failed) if may_go_on(view, facts) => Some(JobPhase::Pending),
        phase => phase,
    }
}

fn may_go_on(view: &View, facts: &Facts) -> bool {
    view.by_hand.is_some() && facts.over.is_none()
}

/// Since when an attempt has had this trouble.
pub fn trouble_since(status: &AgentJobStatus, attempt: AttemptId, kind: TroubleKind) -> Option<Timestamp> {
    let is_current = status.attempt == Some(i64::from(attempt.number));
    let told = status.conditions.iter().find(|told| told.status == FALSE && told.reason == kind.reason());
    told.filter(|_| is_current).map(|told| told.last_transition_time.0)
}

/// Why the pod was being taken away when it was last seen.
pub fn disrupted(status: &AgentJobStatus) -> Option<End> {
    let told = status.conditions.iter().find(|told| told.type_ == DISRUPTED && told.status == TRUE)?;
    let cause = Cause::ALL.iter().find(|cause| cause_reason(**cause) == told.reason)?;
    Some(End::new(*cause, told.message.clone()))
}

struct Told {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn conditions(view: &View, facts: &Facts, was_started: bool) -> Vec<Told> {
    let told = |kind, is_so: bool, reason| Told {
        kind,
        status: if is_so { TRUE } else { FALSE },
        reason,
        message: String::new(),
    };
    let message = facts.message.clone().unwrap_or_default();
    if let Some(reason) = facts.rejected {
        return vec![Told { message, ..told("Accepted", false, reason) }];
    }
    let runs = matches!(facts.phase, Some(JobPhase::Running | JobPhase::Completed | JobPhase::Succeeded));
    let has_run = was_started || runs;
    let unscheduled = facts.trouble.filter(|kind| kind.is_before_scheduling());
    let unstarted = facts.trouble.filter(|kind| !kind.is_before_scheduling());
    let is_scheduled = facts.node.is_some();
    let mut all = vec![told("Accepted", true, if view.by_hand.is_some() { "Submitted" } else { "Assigned" })];
    all.push(match unscheduled {
        Some(kind) => Told { message: message.clone(), ..told("Scheduled", false, kind.reason()) },
        None if is_scheduled => told("Scheduled", true, "Scheduled"),
        None => told("Scheduled", false, "Waiting"),
    });
    all.push(match (unstarted, facts.cause) {
        (Some(kind), _) => Told { message: message.clone(), ..told(STARTED, false, kind.reason()) },
        _ if has_run => told(STARTED, true, "ContainersStarted"),
        (None, Some(_)) => told(STARTED, false, "Failed"),
        (None, None) => told(STARTED, false, "Waiting"),
    });
    all.push(match (facts.phase, facts.cause) {
        _ if let Some(over) = &facts.over => Told { message, ..told("Completed", true, over.reason) },
        (_, Some(cause)) if may_go_on(view, facts) => Told { message, ..told("Completed", false, cause_reason(cause)) },
        _ if may_go_on(view, facts) => told("Completed", false, "NotEnded"),
        (Some(JobPhase::Completed), _) => told("Completed", true, "WorkerFinished"),
        (_, Some(cause)) => Told { message, ..told("Completed", true, cause_reason(cause)) },
        _ => told("Completed", false, "NotEnded"),
    });
    // The worker ends with zero only when the control plane has sealed its log.
    all.push(match facts.phase {
        _ if facts.over.is_some() => told("LogSealed", true, "Sealed"),
        Some(JobPhase::Completed) => told("LogSealed", true, "WorkerFinished"),
        _ => told("LogSealed", false, "NotEnded"),
    });
    if let Some(end) = &facts.disruption {
        all.push(Told { message: end.message.clone(), ..told(DISRUPTED, true, cause_reason(end.cause)) });
    }
    all
}

/// When what is told now was told first.
fn since(before: &[Condition], told: &Told) -> Option<Time> {
    let same =
        before.iter().find(|old| old.type_ == told.kind && old.status == told.status && old.reason == told.reason);
    same.map(|old| old.last_transition_time.clone())
}

/// Kubernetes keeps whole seconds; what is read back is to be equal.
fn to_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A cause as a condition's reason: `infrastructure:node-lost` is `NodeLost`.
pub fn cause_reason(cause: Cause) -> &'static str {
    match cause {
        Cause::StartLimit => "NotStarted",
        Cause::Image => "Image",
        Cause::Unschedulable => "Unschedulable",
        Cause::ClusterQuota => "Quota",
        Cause::NodeLost => "NodeLost",
        Cause::Evicted => "Evicted",
        Cause::WorkerLost => "WorkerLost",
        Cause::WorkerOom => "WorkerOutOfMemory",
        Cause::ImageRefused => "ImageRefused",
        Cause::AgentMissing => "AgentMissing",
        Cause::AgentOom => "AgentOutOfMemory",
        Cause::CancelledByUser | Cause::CancelledByRunner => "Cancelled",
        _ => "Failed",
    }
}
