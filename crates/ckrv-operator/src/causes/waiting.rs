//! A pod that has not begun, and whether what it waits for comes by itself.

use ckrv_types::Cause;
use k8s_openapi::api::core::v1::{ContainerStateWaiting, Pod};

use super::{AGENT, ORCHESTRATOR, Seen, condition, described, state, statuses};
use crate::config::Graces;

/// What holds an attempt up and may not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub kind: TroubleKind,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// No node has room, or fits.
    Unschedulable,
    /// An image cannot be pulled.
    Image,
    /// An image that will not be had however long it is waited for: no image's name, or not the class's.
    BadImage,
    /// A container cannot be started.
    Start,
    /// The namespace's quota has no room.
    Quota,
    /// The cluster does not take the pod.
    Refused,
    /// There is no such class.
    NoClass,
}

impl TroubleKind {
    /// As the reason of a condition and of an Event.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::Image => "ImagePullFailed",
            Self::BadImage => "ImageRefused",
            Self::Start => "ContainerStartFailed",
            Self::Quota => "QuotaExceeded",
            Self::Refused => "PodRefused",
            Self::NoClass => "ClassMissing",
        }
    }

    /// The cause of an attempt that does not get over it.
    pub const fn cause(self) -> Cause {
        match self {
            Self::Unschedulable | Self::NoClass => Cause::Unschedulable,
            Self::Image => Cause::Image,
            Self::BadImage => Cause::ImageRefused,
            Self::Start | Self::Refused => Cause::StartLimit,
            Self::Quota => Cause::ClusterQuota,
        }
    }

    /// How long it is borne, in seconds; none: not at all.
    pub const fn grace(self, graces: &Graces) -> Option<u64> {
        match self {
            Self::Unschedulable => Some(graces.unschedulable_grace),
            Self::Image | Self::Start | Self::Refused | Self::NoClass => Some(graces.image_grace),
            Self::Quota => Some(graces.quota_grace),
            Self::BadImage => None,
        }
    }

    /// Whether it is about where the pod goes, rather than about starting it there.
    pub const fn is_before_scheduling(self) -> bool {
        matches!(self, Self::Unschedulable | Self::Quota | Self::Refused | Self::NoClass)
    }
}

pub fn look(pod: &Pod) -> Option<Seen> {
    let unscheduled = condition(pod, "PodScheduled").filter(|found| found.status == "False");
    if let Some(found) = unscheduled {
        let told = found.message.as_deref().unwrap_or("no reason is given");
        let is_trouble = found.reason.as_deref() == Some("Unschedulable");
        let message = format!("no node can take the pod: {told}");
        let trouble = is_trouble.then(|| Trouble { kind: TroubleKind::Unschedulable, message: message.clone() });
        return Some(Seen::Waiting { message, trouble });
    }
    if let Some(trouble) = statuses(pod).find_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        trouble(&status.name, &status.image, waiting)
    }) {
        return Some(Seen::Waiting { message: trouble.message.clone(), trouble: Some(trouble) });
    }
    let has_begun =
        |container| state(pod, container).is_some_and(|state| state.running.is_some() || state.terminated.is_some());
    let message = if condition(pod, "PodScheduled").is_none() {
        "waiting for a node"
    } else if !has_begun(ORCHESTRATOR) {
        "the node pulls the worker's image and starts it"
    } else if !has_begun(AGENT) {
        "the node pulls the agent's image and starts it"
    } else {
        return None;
    };
    Some(Seen::Waiting { message: message.to_owned(), trouble: None })
}

fn trouble(container: &str, image: &str, waiting: &ContainerStateWaiting) -> Option<Trouble> {
    let reason = waiting.reason.as_deref()?;
    let told = waiting.message.as_deref().unwrap_or(reason);
    let (kind, message) = match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => {
            (TroubleKind::Image, format!("the image {image} of {} cannot be pulled: {told}", described(container)))
        }
        "InvalidImageName" => (TroubleKind::BadImage, format!("`{image}` is not the name of an image: {told}")),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "CrashLoopBackOff" => {
            (TroubleKind::Start, format!("{} cannot be started: {told}", described(container)))
        }
        _ => return None,
    };
    Some(Trouble { kind, message })
}
