#![allow(clippy::needless_pass_by_value, reason = "values are written where they are used")]

use serde_json::{Value, json};

use super::*;

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "job-x-1"}, "status": status})).expect("a pod")
}

fn container(name: &str, state: Value) -> Value {
    json!({"name": name, "image": "example/image:1", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

fn containers(orchestrator: Value, agent: Value) -> Value {
    json!([container(ORCHESTRATOR, orchestrator), container(AGENT, agent)])
}

fn running() -> Value {
    json!({"running": {}})
}

fn ended(code: i32, reason: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": reason}})
}

fn scheduled() -> Value {
    json!([{"type": "PodScheduled", "status": "True"}])
}

fn cause(status: Value) -> Cause {
    match look(&pod(status)) {
        Seen::Ended(end) => end.cause,
        other => panic!("not ended: {other:?}"),
    }
}

fn kind(status: Value) -> TroubleKind {
    match look(&pod(status)) {
        Seen::Waiting { trouble: Some(trouble), .. } => trouble.kind,
        other => panic!("no trouble: {other:?}"),
    }
}

#[test]
fn a_pod_without_a_status_waits_for_a_node() {
    assert_eq!(look(&pod(json!({}))), Seen::Waiting { message: "waiting for a node".to_owned(), trouble: None });
}

#[test]
fn both_containers_started_is_running_even_if_the_agent_has_ended() {
    for agent in [running(), ended(0, "Completed"), ended(1, "Error")] {
        let status =
            json!({"phase": "Running", "conditions": scheduled(), "containerStatuses": containers(running(), agent)});
        assert_eq!(look(&pod(status)), Seen::Running { agent: None });
    }
}

#[test]
fn an_agent_out_of_memory_is_noted_and_left_to_the_worker() {
    let status = json!({"phase": "Running", "conditions": scheduled(), "containerStatuses": containers(running(), ended(137, "OOMKilled"))});
    assert!(matches!(look(&pod(status)), Seen::Running { agent: Some(End { cause: Cause::AgentOom, .. }) }));
}

#[test]
fn a_worker_that_ended_with_zero_has_finished_whatever_else_befell_the_pod() {
    let status = json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": containers(ended(0, "Completed"), ended(137, "Error"))});
    assert!(matches!(look(&pod(status)), Seen::Finished { .. }));
}

#[test]
fn an_image_that_cannot_be_pulled_is_trouble_in_either_container() {
    for reason in ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"] {
        let waiting = json!({"waiting": {"reason": reason, "message": "not found"}});
        for (orchestrator, agent) in [(waiting.clone(), json!({})), (running(), waiting)] {
            let status = json!({"phase": "Pending", "conditions": scheduled(), "containerStatuses": containers(orchestrator, agent)});
            assert_eq!(kind(status), TroubleKind::Image, "{reason}");
        }
    }
}

#[test]
fn what_is_no_images_name_is_not_waited_for() {
    let waiting = json!({"waiting": {"reason": "InvalidImageName", "message": "invalid reference format"}});
    let status =
        json!({"phase": "Pending", "conditions": scheduled(), "containerStatuses": containers(running(), waiting)});
    assert_eq!(kind(status), TroubleKind::BadImage);
}

#[test]
fn an_agents_container_that_was_killed_is_noted_and_left_to_the_worker() {
    let status = json!({"phase": "Running", "conditions": scheduled(), "containerStatuses": containers(running(), ended(137, "Error"))});
    assert!(matches!(look(&pod(status)), Seen::Running { agent: Some(End { cause: Cause::WorkerLost, .. }) }));
}

#[test]
fn an_eviction_that_is_announced_is_the_cause_of_what_follows() {
    let dying = json!({"phase": "Running", "conditions": scheduled(), "containerStatuses": containers(ended(137, "Error"), running())});
    assert_eq!(cause(dying.clone()), Cause::WorkerLost);
    let announced = evicted(&pod(dying), "Usage of EmptyDir volume exceeds the limit".to_owned());
    let Seen::Ended(end) = look(&announced) else { panic!("not ended") };
    assert_eq!(end.cause, Cause::Evicted);
    assert!(end.message.contains("exceeds the limit"), "{}", end.message);
}

#[test]
fn containers_being_made_are_no_trouble() {
    let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
    let status = json!({"phase": "Pending", "conditions": scheduled(), "containerStatuses": containers(waiting.clone(), waiting)});
    assert!(matches!(look(&pod(status)), Seen::Waiting { trouble: None, .. }));
}

#[test]
fn no_fitting_node_is_trouble_with_the_schedulers_words() {
    let status = json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"
    }]});
    let Seen::Waiting { trouble: Some(trouble), .. } = look(&pod(status)) else { panic!("no trouble") };
    assert_eq!(trouble.kind, TroubleKind::Unschedulable);
    assert!(trouble.message.contains("0/3 nodes are available"));
}

#[test]
fn ends_have_the_cause_of_whoever_brought_them_about() {
    let both = |code, reason: &str| containers(ended(code, reason), ended(143, "Error"));
    let disrupted =
        |reason: &str| json!([{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "m"}]);
    for (expected, status) in [
        (Cause::Evicted, json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": both(137, "Error")})),
        (Cause::NodeLost, json!({"phase": "Failed", "reason": "NodeShutdown"})),
        (
            Cause::NodeLost,
            json!({"phase": "Failed", "conditions": disrupted("DeletionByPodGC"), "containerStatuses": both(137, "Error")}),
        ),
        (
            Cause::Evicted,
            json!({"phase": "Failed", "conditions": disrupted("EvictionByEvictionAPI"), "containerStatuses": both(143, "Error")}),
        ),
        (Cause::Unschedulable, json!({"phase": "Failed", "reason": "OutOfcpu"})),
        (Cause::WorkerLost, json!({"phase": "Failed", "reason": "DeadlineExceeded"})),
        (Cause::WorkerOom, json!({"phase": "Running", "containerStatuses": both(137, "OOMKilled")})),
        (Cause::WorkerLost, json!({"phase": "Running", "containerStatuses": containers(ended(1, "Error"), running())})),
        (Cause::StartLimit, json!({"phase": "Running", "containerStatuses": both(128, "StartError")})),
        (
            Cause::AgentMissing,
            json!({"phase": "Running", "containerStatuses": containers(running(), ended(128, "StartError"))}),
        ),
        (
            Cause::StartLimit,
            json!({"phase": "Pending", "initContainerStatuses": [container(INSTALL, ended(1, "Error"))]}),
        ),
        (Cause::WorkerLost, json!({"phase": "Failed"})),
    ] {
        assert_eq!(cause(status.clone()), expected, "{status}");
    }
}

#[test]
fn a_pod_being_deleted_goes_on_until_its_containers_have_ended() {
    let mut deleted = pod(
        json!({"phase": "Running", "conditions": scheduled(), "containerStatuses": containers(running(), running())}),
    );
    deleted.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
    assert_eq!(look(&deleted), Seen::Running { agent: None });
    assert_eq!(disruption(&deleted).map(|end| end.cause), Some(Cause::Evicted));
}
