//! A pod that will not finish any more, or that is being taken away.

use ckrv_types::Cause;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod, PodCondition};

use super::{AGENT, End, INSTALL, ORCHESTRATOR, condition, name, phase, state};

/// Set by who is about to end a pod: the eviction API, the scheduler, the taint manager, the kubelet.
const DISRUPTION: &str = "DisruptionTarget";
const OOM: &str = "OOMKilled";
/// The exit code of a container whose program was ended by SIGKILL, which none does to itself.
const KILLED: i32 = 128 + 9;
/// A container whose program could not be run at all.
const START_FAILURES: [&str; 2] = ["StartError", "ContainerCannotRun"];

pub fn look(pod: &Pod) -> Option<End> {
    let is_over = matches!(phase(pod), "Failed" | "Succeeded");
    if is_over && let Some(end) = by_pod(pod) {
        return Some(end);
    }
    if let Some(terminated) = terminated(pod, ORCHESTRATOR) {
        // Taken away rather than died: who did so knows why.
        return Some(disruption(pod).map_or_else(
            || orchestrator(pod, terminated),
            |end| End { exit_code: Some(terminated.exit_code), ..end },
        ));
    }
    if let Some(terminated) = terminated(pod, INSTALL).filter(|terminated| terminated.exit_code != 0) {
        let why = if failed_to_start(terminated) { told(terminated).to_owned() } else { how(terminated) };
        let message = format!("the shim could not be copied into the agent's container: {why}");
        return Some(End::new(Cause::StartLimit, message));
    }
    if let Some(terminated) = terminated(pod, AGENT).filter(|terminated| failed_to_start(terminated)) {
        let message = format!("the agent's container could not be started in pod {}: {}", name(pod), told(terminated));
        return Some(End::new(Cause::AgentMissing, message));
    }
    is_over.then(|| End::new(Cause::WorkerLost, format!("pod {} ended, and its worker had not finished", name(pod))))
}

/// Why a pod is being taken away; none if it is not.
pub fn disruption(pod: &Pod) -> Option<End> {
    taken_away(pod).or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|_| deleted(name(pod))))
}

/// Why the cluster itself takes a pod away; none if it does not, or somebody deletes it.
pub fn taken_away(pod: &Pod) -> Option<End> {
    let found = condition(pod, DISRUPTION).filter(|found| found.status == "True")?;
    let told = found.message.as_deref().unwrap_or_default();
    let (cause, what) = match found.reason.as_deref().unwrap_or_default() {
        "DeletionByTaintManager" => (Cause::NodeLost, "its node stopped answering or was tainted"),
        "DeletionByPodGC" => (Cause::NodeLost, "its node is gone"),
        "PreemptionByScheduler" => (Cause::Evicted, "a pod of higher priority took its place"),
        "EvictionByEvictionAPI" => (Cause::Evicted, "its node was drained"),
        "TerminationByKubelet" => (Cause::Evicted, "its node evicted it"),
        _ => (Cause::Evicted, "it was taken away"),
    };
    Some(End::new(cause, format!("pod {}: {what}: {told}", name(pod))))
}

/// The pod with what its kubelet will have written when all of it has ended: that it evicts it, and `why`.
pub fn evicted(pod: &Pod, why: String) -> Pod {
    let mut pod = pod.clone();
    if condition(&pod, DISRUPTION).is_none() {
        let found = PodCondition {
            type_: DISRUPTION.to_owned(),
            status: "True".to_owned(),
            reason: Some("TerminationByKubelet".to_owned()),
            message: Some(why),
            ..PodCondition::default()
        };
        pod.status.get_or_insert_default().conditions.get_or_insert_default().push(found);
    }
    pod
}

/// Of a pod that somebody deleted.
pub fn deleted(name: &str) -> End {
    End::new(Cause::Evicted, format!("pod {name} was deleted, not by ckrv; the cluster's audit log says by whom"))
}

/// What the agent's container met with that the worker sees only as the loss of its shim; none if it ended by itself.
pub fn agent(pod: &Pod) -> Option<End> {
    let terminated = terminated(pod, AGENT)?;
    let of = name(pod);
    if terminated.reason.as_deref() == Some(OOM) {
        let advice = "pick a class with more, or have an admin raise resources.limits of this one";
        let message = format!("the agent's container in pod {of} used up its memory limit and was ended; {advice}");
        return Some(End::new(Cause::AgentOom, message));
    }
    let is_killed = terminated.exit_code == KILLED;
    is_killed.then(|| {
        let message =
            format!("the agent's container in pod {of} was killed from outside ({}), not for memory", how(terminated));
        End::new(Cause::WorkerLost, message)
    })
}

/// By what the kubelet or a controller says of the pod as a whole.
fn by_pod(pod: &Pod) -> Option<End> {
    let status = pod.status.as_ref()?;
    let told = status.message.as_deref().unwrap_or_default();
    let of = name(pod);
    let end = match status.reason.as_deref()? {
        "Evicted" => End::new(Cause::Evicted, format!("pod {of} was evicted: {told}")),
        "Preempting" => End::new(Cause::Evicted, format!("pod {of} made room for one of higher priority: {told}")),
        "NodeLost" => End::new(Cause::NodeLost, format!("pod {of}: its node stopped answering: {told}")),
        "NodeShutdown" | "Terminated" | "Shutdown" => {
            End::new(Cause::NodeLost, format!("pod {of}: its node was shut down: {told}"))
        }
        "DeadlineExceeded" => {
            End::new(Cause::WorkerLost, format!("pod {of} was still there after all of its limits, and was ended"))
        }
        // The kubelet did not take it: its picture of the node was newer than the scheduler's.
        reason if reason.starts_with("OutOf") || matches!(reason, "NodeAffinity" | "UnexpectedAdmissionError") => {
            End::new(Cause::Unschedulable, format!("pod {of} was refused by its node ({reason}): {told}"))
        }
        _ => return None,
    };
    Some(end)
}

fn orchestrator(pod: &Pod, terminated: &ContainerStateTerminated) -> End {
    let of = name(pod);
    let (cause, message) = if failed_to_start(terminated) {
        (Cause::StartLimit, format!("the worker could not be started in pod {of}: {}", told(terminated)))
    } else if terminated.reason.as_deref() == Some(OOM) {
        let advice = "raise orchestratorResources of the job's class";
        (Cause::WorkerOom, format!("the worker in pod {of} used up its container's memory limit; {advice}"))
    } else {
        (Cause::WorkerLost, format!("the worker in pod {of} ended before the job did ({})", how(terminated)))
    };
    End { cause, message, exit_code: Some(terminated.exit_code) }
}

fn terminated<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStateTerminated> {
    state(pod, container)?.terminated.as_ref()
}

fn failed_to_start(terminated: &ContainerStateTerminated) -> bool {
    terminated.reason.as_deref().is_some_and(|reason| START_FAILURES.contains(&reason))
}

fn told(terminated: &ContainerStateTerminated) -> &str {
    terminated.message.as_deref().or(terminated.reason.as_deref()).unwrap_or("no reason is given")
}

fn how(terminated: &ContainerStateTerminated) -> String {
    match terminated.exit_code {
        // What a shell would say of a process that a signal ended.
        code @ 129..=159 => format!("signal {}", code - 128),
        code => format!("exit code {code}"),
    }
}
