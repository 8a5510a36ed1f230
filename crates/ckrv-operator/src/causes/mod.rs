//! What a pod's status means for its attempt: one pure function from a pod to what is seen, with messages for users that
//! name what to do. It knows no clock and no client.

mod ended;
mod waiting;

use ckrv_types::Cause;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;

pub use ended::{deleted, disruption, evicted, taken_away};
pub use waiting::{Trouble, TroubleKind};

use crate::pod::{AGENT, INSTALL, ORCHESTRATOR};

/// What is seen of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Not all of it runs yet.
    Waiting { message: String, trouble: Option<Trouble> },
    /// Both containers have started. `agent`: why the agent's is gone, where the worker sees but the loss of its shim.
    Running { agent: Option<End> },
    /// The worker ended with zero, which it does only after the control plane has acknowledged the attempt's end.
    Finished { at: Option<Timestamp> },
    /// Nothing of it will finish any more.
    Ended(End),
}

/// Why nothing of an attempt will finish any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub cause: Cause,
    pub message: String,
    pub exit_code: Option<i32>,
}

impl End {
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), exit_code: None }
    }
}

/// What `pod` shows.
pub fn look(pod: &Pod) -> Seen {
    if let Some(terminated) = state(pod, ORCHESTRATOR).and_then(|state| state.terminated.as_ref())
        && terminated.exit_code == 0
    {
        return Seen::Finished { at: terminated.finished_at.as_ref().map(|time| time.0) };
    }
    if let Some(end) = ended::look(pod) {
        return Seen::Ended(end);
    }
    if let Some(waiting) = waiting::look(pod) {
        return waiting;
    }
    Seen::Running { agent: ended::agent(pod) }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let regular = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().chain(regular).flatten()
}

fn state<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerState> {
    statuses(pod).find(|status| status.name == container)?.state.as_ref()
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or("?")
}

/// Who a container is, for users.
fn described(container: &str) -> &'static str {
    match container {
        ORCHESTRATOR => "the worker's container",
        AGENT => "the agent's container",
        INSTALL => "the container that copies the shim",
        _ => "a container that something has put into the pod",
    }
}

#[cfg(test)]
mod tests;
