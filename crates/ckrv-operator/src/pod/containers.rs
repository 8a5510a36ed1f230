//! The containers of a pod. Their programs are always ours; the agent's own command goes from the control plane to the
//! worker, and from it to the shim.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceRequirements, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{AGENT, AGENT_UID, Blueprint, INSTALL, ORCHESTRATOR, ORCHESTRATOR_UID, volumes};

const PROGRAM: &str = "ckrv-worker";

pub fn orchestrator(of: &Blueprint) -> Container {
    let mut command = vec![format!("{}/{PROGRAM}", volumes::BIN), "supervise".to_owned()];
    let mut flag = |name: &str, value: String| command.push(format!("--{name}={value}"));
    flag("server", of.server.to_string());
    flag("token-file", format!("{}/{}", volumes::TOKEN, volumes::TOKEN_KEY));
    flag("private", volumes::PRIVATE.to_owned());
    flag("work", volumes::WORK.to_owned());
    flag("shim-socket", socket());
    flag("shim-uid", AGENT_UID.to_string());
    flag("node", "$(NODE_NAME)".to_owned());
    flag("upload-limit", of.config.upload_limit.to_string());
    if let Some(quota) = volumes::disk_quota(of) {
        flag("disk-quota", quota.to_string());
    }
    flag("log", of.config.worker_log.clone());
    for file in volumes::secret_files(of) {
        flag("secrets", file);
    }
    for (name, is_on) in
        [("--allow-private-repos", of.config.allow_private_repos), ("--allow-plain-http", of.allow_plain_http)]
    {
        if is_on {
            command.push(name.to_owned());
        }
    }
    let node = EnvVarSource {
        field_ref: Some(ObjectFieldSelector { field_path: "spec.nodeName".to_owned(), api_version: None }),
        ..EnvVarSource::default()
    };
    Container {
        command: Some(command),
        env: Some(vec![EnvVar { name: "NODE_NAME".to_owned(), value: None, value_from: Some(node) }, home()]),
        volume_mounts: Some(volumes::of_orchestrator(of)),
        resources: Some(of.class.orchestrator_resources.clone().unwrap_or_else(small)),
        working_dir: Some("/".to_owned()),
        ..container(ORCHESTRATOR, &of.config.worker_image, ORCHESTRATOR_UID, true)
    }
}

pub fn agent(of: &Blueprint) -> Container {
    let command = [format!("{}/{PROGRAM}", volumes::BIN), "shim".to_owned(), format!("--socket={}", socket())];
    Container {
        command: Some(command.into()),
        env: Some(vec![home()]),
        volume_mounts: Some(volumes::of_agent(of)),
        resources: Some(of.class.resources.clone().unwrap_or_else(usual)),
        working_dir: Some(volumes::WORK.to_owned()),
        ..container(AGENT, of.agent_image(), AGENT_UID, of.class.read_only_root)
    }
}

/// Copies the worker's program to where the agent's container finds it.
pub fn install(of: &Blueprint) -> Container {
    let command =
        [format!("{}/{PROGRAM}", volumes::BIN), "install".to_owned(), format!("{}/{PROGRAM}", volumes::INSTALL)];
    Container {
        command: Some(command.into()),
        volume_mounts: Some(volumes::of_install()),
        resources: Some(small()),
        ..container(INSTALL, &of.config.worker_image, ORCHESTRATOR_UID, true)
    }
}

fn socket() -> String {
    format!("{}/shim.sock", volumes::SOCKET)
}

fn home() -> EnvVar {
    EnvVar { name: "HOME".to_owned(), value: Some(volumes::HOME.to_owned()), value_from: None }
}

/// What every container has, as Pod Security's `restricted` wants it.
fn container(name: &str, image: &str, uid: i64, read_only_root: bool) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            privileged: Some(false),
            read_only_root_filesystem: Some(read_only_root),
            run_as_non_root: Some(true),
            run_as_user: Some(uid),
            run_as_group: Some(uid),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// For a worker: it streams and waits, and packs a clone now and then.
fn small() -> ResourceRequirements {
    resources(&[("cpu", "50m"), ("memory", "64Mi")], &[("memory", "512Mi")])
}

/// For an agent whose class says nothing.
fn usual() -> ResourceRequirements {
    resources(&[("cpu", "250m"), ("memory", "512Mi")], &[("memory", "4Gi")])
}

fn resources(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> ResourceRequirements {
    let table = |pairs: &[(&str, &str)]| -> Option<BTreeMap<String, Quantity>> {
        Some(pairs.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned()))).collect())
    };
    ResourceRequirements { claims: None, limits: table(limits), requests: table(requests) }
}
