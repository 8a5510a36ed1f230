use ckrv_types::JobId;
use clap::Parser;
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::*;
use crate::config::{Cli, Command, Config};

fn config() -> Config {
    let args = [
        "ckrv-operator",
        "run",
        "--server=https://ckrv.example",
        "--token-file=t",
        "--namespace=jobs",
        "--worker-image=example/worker:1",
        "--agent-image=example/agent:1",
        "--shim-images=example/own-*",
    ];
    let Command::Run(config) = Cli::try_parse_from(args).expect("the arguments are good").command else {
        panic!("run")
    };
    *config
}

fn build(class: &JobClassSpec, image: Option<&str>) -> Pod {
    let config = config();
    blueprint(&config, class, image).build()
}

fn blueprint<'a>(config: &'a Config, class: &'a JobClassSpec, image: Option<&'a str>) -> Blueprint<'a> {
    let job: JobId = "job-01k9zj3m5r8w2t6y4x0v7q1n5d".parse().expect("an id");
    Blueprint {
        attempt: AttemptId { job, number: 2 },
        limits: JobLimits::default(),
        image,
        class_name: "gpu",
        class,
        owner: OwnerReference { name: job.to_string(), uid: "u".to_owned(), ..OwnerReference::default() },
        server: &config.server,
        allow_plain_http: false,
        config: &config.pod,
    }
}

fn spec(pod: Pod) -> PodSpec {
    pod.spec.expect("a pod has a spec")
}

fn class() -> JobClassSpec {
    serde_json::from_value(serde_json::json!({
        "imagePullSecrets": ["registry"],
        "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}},
        "workVolumeSize": "50Gi",
        "runtimeClassName": "gvisor",
        "nodeSelector": {"pool": "jobs"},
        "tolerations": [{"key": "jobs", "operator": "Exists"}],
        "secrets": ["forge", "models"],
        "readOnlyRoot": true
    }))
    .expect("a class")
}

#[test]
fn a_pod_of_the_operators_own_defaults() {
    insta::assert_yaml_snapshot!(build(&JobClassSpec::default(), None));
}

#[test]
fn a_pod_of_a_class_with_everything_and_a_foreign_image() {
    insta::assert_yaml_snapshot!(build(&class(), Some("elsewhere/agent:7")));
}

#[test]
fn every_container_keeps_to_restricted_pod_security() {
    for pod in [build(&JobClassSpec::default(), None), build(&class(), Some("elsewhere/agent:7"))] {
        let spec = spec(pod);
        let security = spec.security_context.as_ref().expect("a pod has a security context");
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.as_ref().map(|profile| profile.type_.as_str()), Some("RuntimeDefault"));
        assert!(spec.host_network.is_none() && spec.host_pid.is_none() && spec.host_ipc.is_none());
        assert_ne!(spec.share_process_namespace, Some(true));
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            let security = container.security_context.as_ref().expect("a container has one too");
            assert_eq!(security.allow_privilege_escalation, Some(false), "{}", container.name);
            let capabilities = security.capabilities.as_ref().expect("capabilities are dropped");
            assert_eq!(capabilities.drop.as_deref(), Some(&["ALL".to_owned()][..]));
            assert!(capabilities.add.is_none());
            assert!(security.run_as_user.is_some_and(|uid| uid > 0));
        }
        for volume in spec.volumes.iter().flatten() {
            assert!(volume.host_path.is_none(), "{}", volume.name);
            let size = volume.empty_dir.as_ref().map(|empty| empty.size_limit.is_some());
            assert_ne!(size, Some(false), "{} has no limit", volume.name);
        }
    }
}

#[test]
fn the_agent_sees_no_secret_and_nothing_of_the_workers_own() {
    let spec = spec(build(&class(), Some("elsewhere/agent:7")));
    let by_name = |name: &str| -> Container {
        spec.containers.iter().find(|container| container.name == name).expect("it is there").clone()
    };
    let secrets: Vec<&str> = spec
        .volumes
        .iter()
        .flatten()
        .filter(|volume| volume.secret.is_some() || volume.name == "private")
        .map(|volume| volume.name.as_str())
        .collect();
    assert_eq!(secrets, ["private", "token", "secrets-0", "secrets-1"]);
    let agent = by_name(AGENT);
    for mount in agent.volume_mounts.iter().flatten() {
        assert!(!secrets.contains(&mount.name.as_str()), "the agent sees {}", mount.name);
    }
    let names: Vec<String> = agent.env.iter().flatten().map(|variable| variable.name.clone()).collect();
    assert_eq!(names, ["HOME"]);
    assert_ne!(
        agent.security_context.and_then(|security| security.run_as_user),
        by_name(ORCHESTRATOR).security_context.and_then(|security| security.run_as_user)
    );
}

#[test]
fn only_foreign_images_get_the_shim_copied() {
    for (image, is_foreign) in [(None, false), (Some("example/own-tools:3"), false), (Some("elsewhere/agent:7"), true)]
    {
        let spec = spec(build(&JobClassSpec::default(), image));
        assert_eq!(spec.init_containers.is_some(), is_foreign, "{image:?}");
    }
}

#[test]
fn a_class_refuses_images_that_it_does_not_list() {
    let config = config();
    let class = JobClassSpec {
        image: Some("example/base:1".to_owned()),
        allowed_images: Some(vec!["registry.example/agents/*".to_owned()]),
        ..JobClassSpec::default()
    };
    for (image, is_refused) in [
        (None, false),
        (Some("example/base:1"), false),
        (Some("registry.example/agents/x:1"), false),
        (Some("registry.example.evil/agents/x:1"), true),
        (Some("docker.io/library/alpine"), true),
    ] {
        assert_eq!(blueprint(&config, &class, image).refused_image().is_some(), is_refused, "{image:?}");
    }
    assert!(blueprint(&config, &JobClassSpec::default(), Some("any/thing")).refused_image().is_none());
}

#[test]
fn patterns_stand_for_whole_names() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abc", true),
        ("a*b*c", "a-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("ab*b", "ab", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
