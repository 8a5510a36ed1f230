//! The pod of an attempt, built from nothing but the operator's settings, the admin's class and what the assignment names.
//! There is no way for a user to patch it.
//!
//! Two regular containers: the *orchestrator* (the worker: tokens, clone, uploads) and the *agent* (any image, under the
//! worker's shim, with no secret). A sidecar would be stopped as soon as the agent ends, before the uploads. It satisfies
//! Pod Security's `restricted`.

mod containers;
mod volumes;

pub use volumes::TOKEN_KEY;

use ckrv_types::{AttemptId, limits};
use k8s_openapi::api::core::v1::{LocalObjectReference, Pod, PodSecurityContext, PodSpec, SeccompProfile};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use url::Url;

use crate::config::PodConfig;
use crate::crd::{JobClassSpec, JobLimits};
use crate::names;

/// Names of the containers, by which their ends are told apart.
pub const ORCHESTRATOR: &str = "orchestrator";
pub const AGENT: &str = "agent";
/// Copies the shim into a foreign image's pod.
pub const INSTALL: &str = "install";

/// Users of the two containers, and the group of the files that they share. Any numbers do that are neither 0 nor in use
/// by an image for something of its own.
const ORCHESTRATOR_UID: i64 = 64_001;
const AGENT_UID: i64 = 64_002;
const SHARED_GROUP: i64 = 64_000;

/// Name of the ConfigMap with [`passwd`]; git, ssh and node refuse to run as a user without a name.
pub const PASSWD_CONFIG_MAP: &str = "ckrv-passwd";

/// `/etc/passwd` of both containers.
pub fn passwd() -> String {
    format!(
        "root:x:0:0:root:/root:/sbin/nologin\n\
         ckrv:x:{ORCHESTRATOR_UID}:{ORCHESTRATOR_UID}:ckrv:{home}:/sbin/nologin\n\
         agent:x:{AGENT_UID}:{AGENT_UID}:agent:{home}:/bin/sh\n",
        home = volumes::HOME
    )
}

/// What one pod is made of.
pub struct Blueprint<'a> {
    pub attempt: AttemptId,
    pub limits: JobLimits,
    /// The agent's image, if the job names one.
    pub image: Option<&'a str>,
    pub class_name: &'a str,
    pub class: &'a JobClassSpec,
    pub owner: OwnerReference,
    pub server: &'a Url,
    pub allow_plain_http: bool,
    pub config: &'a PodConfig,
}

impl Blueprint<'_> {
    /// The image that the agent runs in.
    pub fn agent_image(&self) -> &str {
        self.image.or(self.class.image.as_deref()).unwrap_or(&self.config.agent_image)
    }

    /// Why the class does not have it; none if it may be run.
    pub fn refused_image(&self) -> Option<String> {
        let image = self.image?;
        let allowed = self.class.allowed_images.as_ref()?;
        let fits = self.class.image.as_deref() == Some(image) || allowed.iter().any(|pattern| matches(pattern, image));
        (!fits).then(|| {
            format!("class {} does not allow the image {image}; it allows: {}", self.class_name, allowed.join(", "))
        })
    }

    /// Whether the image has the shim itself.
    fn carries_shim(&self) -> bool {
        let image = self.agent_image();
        image == self.config.agent_image || self.config.shim_images.iter().any(|pattern| matches(pattern, image))
    }

    /// The pod. Its name is the attempt's id, so that a second one of the same attempt cannot be.
    pub fn build(&self) -> Pod {
        let secrets = &self.class.image_pull_secrets;
        let pull = secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect::<Vec<_>>();
        Pod {
            metadata: self.metadata(),
            spec: Some(PodSpec {
                restart_policy: Some("Never".to_owned()),
                init_containers: (!self.carries_shim()).then(|| vec![containers::install(self)]),
                containers: vec![containers::orchestrator(self), containers::agent(self)],
                volumes: Some(volumes::all(self)),
                security_context: Some(pod_security()),
                service_account_name: Some(self.config.service_account.clone()),
                automount_service_account_token: Some(false),
                enable_service_links: Some(false),
                termination_grace_period_seconds: Some(self.grace()),
                active_deadline_seconds: Some(self.deadline()),
                image_pull_secrets: (!pull.is_empty()).then_some(pull),
                runtime_class_name: self.class.runtime_class_name.clone(),
                node_selector: (!self.class.node_selector.is_empty()).then(|| self.class.node_selector.clone()),
                tolerations: (!self.class.tolerations.is_empty()).then(|| self.class.tolerations.clone()),
                ..PodSpec::default()
            }),
            status: None,
        }
    }

    fn metadata(&self) -> ObjectMeta {
        let labels = [
            (names::MANAGED_BY, names::MANAGER.to_owned()),
            (names::NAME, names::JOB_APP.to_owned()),
            (names::ATTEMPT, self.attempt.to_string()),
            (names::CLASS, self.class_name.to_owned()),
        ];
        ObjectMeta {
            name: Some(self.attempt.to_string()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            // Eviction for the sake of a smaller cluster would cost the agent's work.
            annotations: Some(
                [("cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(), "false".to_owned())].into(),
            ),
            owner_references: Some(vec![self.owner.clone()]),
            ..ObjectMeta::default()
        }
    }

    /// The agent's grace, then collecting and storing what it did.
    fn grace(&self) -> i64 {
        self.limits.grace_seconds + seconds(self.config.upload_limit)
    }

    /// Only behind all that the worker and the control plane keep themselves.
    fn deadline(&self) -> i64 {
        let JobLimits { start_seconds, run_seconds, grace_seconds, .. } = self.limits;
        2 * start_seconds
            + run_seconds
            + grace_seconds
            + seconds(limits::FINISH_SECONDS)
            + seconds(limits::SLACK_SECONDS)
    }
}

fn seconds(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX / 4)
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        fs_group: Some(SHARED_GROUP),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// Whether `text` is as `pattern` says, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests;
