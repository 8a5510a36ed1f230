#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "values are written where they are used, as a view has them"
)]

use ckrv_types::runner::{Assignment, BootstrapToken};
use ckrv_types::spec::Limits;
use ckrv_types::{OrgId, Secret};
use insta::assert_snapshot;
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::crd::AgentJobSpec;

const JOB: &str = "job-01k9zj3m5r8w2t6y4x0v7q1n5d";
const POD: &str = "job-01k9zj3m5r8w2t6y4x0v7q1n5d-1";

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().expect("a time")
}

fn attempt(number: u32) -> AttemptId {
    AttemptId { job: JOB.parse().expect("an id"), number }
}

fn wanted(number: u32, started: bool) -> Wanted {
    let assignment = Assignment {
        attempt: attempt(number),
        org: OrgId::from_uuid("01890000-0000-7000-8000-000000000000".parse().expect("a UUID")),
        agent: "command".to_owned(),
        image: None,
        class: None,
        limits: Limits::default(),
        started,
        bootstrap_token: BootstrapToken(Secret::new("t")),
        assigned_at: time(),
        origin: None,
    };
    Wanted { assignment: Arc::new(assignment), stop: false }
}

fn time() -> time::OffsetDateTime {
    time::OffsetDateTime::UNIX_EPOCH
}

/// Wanted, first attempt, nothing done yet.
fn view() -> View {
    let spec = AgentJobSpec { job_id: Some(JOB.to_owned()), agent: "command".to_owned(), ..AgentJobSpec::default() };
    let mut job = AgentJob::new(JOB, spec);
    job.metadata.uid = Some("job-uid".to_owned());
    job.metadata.generation = Some(1);
    View {
        job: Arc::new(job),
        attempt: Some(attempt(1)),
        wanted: Answer::Wanted(wanted(1, false)),
        by_hand: None,
        pod: None,
        taken_away: None,
        hindrance: None,
        earlier_pods: Vec::new(),
        class: Class { name: "default".to_owned(), version: None, spec: Some(JobClassSpec::default()) },
        graces: Graces { image_grace: 60, quota_grace: 60, unschedulable_grace: 600 },
        is_rush: false,
        now: now(),
    }
}

fn pod(age: i64, status: Value) -> Option<Arc<Pod>> {
    let made = (now() - SignedDuration::from_secs(age)).to_string();
    let meta = json!({"name": POD, "uid": "pod-uid", "creationTimestamp": made});
    let pod = json!({"metadata": meta, "spec": {"containers": [], "nodeName": "node-1"}, "status": status});
    Some(Arc::new(serde_json::from_value(pod).expect("a pod")))
}

fn status(orchestrator: Value, agent: Value) -> Value {
    let container = |name: &str, state: Value| json!({"name": name, "image": "example/agent:1", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    json!({
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "containerStatuses": [container("orchestrator", orchestrator), container("agent", agent)]
    })
}

fn pulling_fails() -> Value {
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}});
    status(json!({"running": {}}), waiting)
}

/// The same after what the plan says was written, `later` seconds on.
fn after(mut view: View, plan: &Plan, later: i64) -> View {
    for action in &plan.actions {
        if let Action::WriteStatus(status) = action {
            let mut job = (*view.job).clone();
            job.status = Some((**status).clone());
            view.job = Arc::new(job);
        }
    }
    view.now += SignedDuration::from_secs(later);
    view
}

/// A plan in words, one line an action.
fn shown(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.actions.iter().map(line).collect();
    lines.push(format!("look again: {:?}", plan.look_again));
    lines.join("\n")
}

fn line(action: &Action) -> String {
    match action {
        Action::WriteStatus(status) => {
            let conditions: Vec<String> = status
                .conditions
                .iter()
                .map(|told| format!("{}={}({})", told.type_, told.status, told.reason))
                .collect();
            format!(
                "status: {:?} pod={:?} node={:?} cause={:?} {}\n  message: {:?}",
                status.phase,
                status.pod_name,
                status.node,
                status.cause,
                conditions.join(" "),
                status.message
            )
        }
        Action::Tell(told) => {
            format!("tell: {:?} {:?} node={:?}\n  message: {:?}", told.phase, told.cause, told.node, told.message)
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_wanted_job_without_a_pod_gets_one() {
    assert_eq!(plan(&view()).actions, [Action::CreatePod(attempt(1))]);
}

#[test]
fn nothing_is_made_or_removed_before_the_control_plane_was_heard() {
    assert_eq!(plan(&View { wanted: Answer::Unknown, ..view() }), Plan::default());
}

#[test]
fn what_is_not_wanted_any_more_goes() {
    let view = View {
        wanted: Answer::NotWanted,
        pod: pod(5, status(json!({"running": {}}), json!({"running": {}}))),
        ..view()
    };
    assert_eq!(plan(&view).actions, [Action::DeleteJob]);
}

#[test]
fn a_quick_start_is_two_statuses_at_most() {
    let creating = json!({"waiting": {"reason": "ContainerCreating"}});
    let view = View { pod: pod(1, status(creating.clone(), creating)), ..view() };
    let quiet = plan(&view);
    assert_eq!((quiet.actions.len(), quiet.look_again), (0, Some(Duration::from_secs(4))));
    let running =
        View { pod: pod(2, status(json!({"running": {}}), json!({"running": {}}))), ..after(view, &quiet, 1) };
    let first = plan(&running);
    assert_snapshot!(shown(&first));
    let repeated = plan(&after(running, &first, 1));
    assert!(repeated.actions.iter().all(|action| matches!(action, Action::Tell(_))), "{repeated:?}");
}

#[test]
fn a_slow_start_says_what_it_waits_for() {
    let creating = json!({"waiting": {"reason": "ContainerCreating"}});
    assert_snapshot!(shown(&plan(&View { pod: pod(6, status(creating.clone(), creating)), ..view() })));
}

#[test]
fn while_many_are_started_only_trouble_is_told_and_the_rest_waits_but_not_for_ever() {
    let (creating, running) = (json!({"waiting": {"reason": "ContainerCreating"}}), json!({"running": {}}));
    for state in [creating, running] {
        let at = |age| View { is_rush: true, pod: pod(age, status(state.clone(), state.clone())), ..view() };
        let quiet = plan(&at(29));
        assert_eq!((quiet.actions.len(), quiet.look_again), (0, Some(Duration::from_secs(2))), "{state}");
        let told = |plan: &Plan| plan.actions.iter().any(|action| matches!(action, Action::WriteStatus(_)));
        assert!(told(&plan(&at(30))) && told(&plan(&View { is_rush: false, ..at(29) })), "{state}");
    }
    let troubled = plan(&View { is_rush: true, pod: pod(1, pulling_fails()), ..view() });
    assert!(matches!(troubled.actions.first(), Some(Action::WriteStatus(_))), "{troubled:?}");
}

#[test]
fn a_node_that_cannot_start_a_pod_is_told_in_its_own_words() {
    let creating = json!({"waiting": {"reason": "ContainerCreating"}});
    let hindrance = Some("MountVolume.SetUp failed: configmap \"x\" not found".to_owned());
    let hindered = plan(&View { pod: pod(3, status(creating.clone(), creating)), hindrance, ..view() });
    let is_told = |action: &Action| matches!(action, Action::Tell(Observation { message: Some(message), .. }) if message.contains("configmap \"x\" not found"));
    assert!(hindered.actions.iter().any(is_told), "{hindered:?}");
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_at_once_and_ends_the_attempt_after_its_grace() {
    let view = View { pod: pod(1, pulling_fails()), ..view() };
    let first = plan(&view);
    assert_snapshot!("image_at_first", shown(&first));
    let borne = after(view, &first, 59);
    let meanwhile = plan(&borne);
    assert!(meanwhile.actions.iter().all(|action| matches!(action, Action::Tell(_))), "{meanwhile:?}");
    assert_eq!(meanwhile.look_again, Some(Duration::from_secs(1)));
    let over = plan(&after(borne, &meanwhile, 1));
    assert_snapshot!("image_after_its_grace", shown(&over));
}

#[test]
fn a_pod_that_the_quota_refuses_is_tried_again_until_the_grace_is_over() {
    let trouble = Trouble { kind: TroubleKind::Quota, message: "exceeded quota: pods=10".to_owned() };
    let first = refused(&view(), attempt(1), &trouble);
    assert_eq!(first.look_again, Some(Duration::from_secs(5)));
    let again = after(view(), &first, 30);
    assert_eq!(plan(&again).actions, [Action::CreatePod(attempt(1))]);
    let over = refused(&after(again, &Plan::default(), 30), attempt(1), &trouble);
    assert_snapshot!(shown(&over));
}

#[test]
fn a_failed_attempt_is_not_tried_again_after_a_restart() {
    let ended = View {
        pod: pod(9, status(json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), json!({"running": {}}))),
        ..view()
    };
    let first = plan(&ended);
    assert_snapshot!(shown(&first));
    let restarted = View { pod: None, ..after(ended, &first, 5) };
    let told: Vec<_> = plan(&restarted).actions;
    assert!(
        matches!(&told[..], [Action::Tell(Observation { phase: Phase::Ended, cause: Some(Cause::WorkerOom), .. })]),
        "{told:?}"
    );
}

#[test]
fn a_next_attempt_takes_the_object_over() {
    let failed =
        View { pod: pod(9, status(json!({"terminated": {"exitCode": 1, "reason": "Error"}}), json!({}))), ..view() };
    let failed = after(failed, &plan(&view()), 0);
    let next = View { wanted: Answer::Wanted(wanted(2, false)), ..failed };
    assert_snapshot!(shown(&plan(&next)));
    let taken = View { attempt: Some(attempt(2)), pod: None, ..next };
    assert_eq!(plan(&taken).actions, [Action::CreatePod(attempt(2))]);
}

#[test]
fn a_pod_of_an_earlier_attempt_that_still_runs_is_ended() {
    let earlier = pod(60, status(json!({"running": {}}), json!({"running": {}})));
    let view = View {
        attempt: Some(attempt(2)),
        wanted: Answer::Wanted(wanted(2, false)),
        earlier_pods: earlier.into_iter().collect(),
        ..view()
    };
    let deletion =
        Action::DeletePod { name: POD.to_owned(), uid: "pod-uid".to_owned(), grace_seconds: Some(STOP_GRACE) };
    assert_eq!(plan(&view).actions, [Action::CreatePod(attempt(2)), deletion]);
}

#[test]
fn an_older_list_does_not_take_an_object_back() {
    let view = View { attempt: Some(attempt(2)), wanted: Answer::Wanted(wanted(1, true)), ..view() };
    assert_eq!(plan(&view), Plan::default());
}

#[test]
fn a_pod_deleted_by_hand_ends_its_attempt_and_no_second_one_is_made() {
    let view = View { wanted: Answer::Wanted(wanted(1, true)), ..view() };
    assert_snapshot!(shown(&plan(&view)));
}

#[test]
fn a_pod_that_is_being_taken_away_goes_on_and_its_end_has_the_cause_of_who_took_it() {
    let mut status = status(json!({"running": {}}), json!({"running": {}}));
    status["conditions"] = json!([
        {"type": "PodScheduled", "status": "True"},
        {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "m"}
    ]);
    let view = View { pod: pod(9, status), wanted: Answer::Wanted(wanted(1, true)), ..view() };
    let first = plan(&view);
    assert_snapshot!("taken_away", shown(&first));
    let gone = plan(&View { pod: None, ..after(view, &first, 5) });
    assert_snapshot!("taken_away_and_gone", shown(&gone));
}

#[test]
fn a_pod_that_was_marked_and_gone_before_anybody_looked_ended_by_what_it_was_marked_with() {
    let creating = json!({"waiting": {"reason": "ContainerCreating"}});
    let first = plan(&View { pod: pod(9, status(creating.clone(), creating)), ..view() });
    let end = End::new(Cause::NodeLost, "pod p: its node is gone: m");
    let gone = View { taken_away: Some(end.clone()), pod: None, ..after(view(), &first, 5) };
    let told = plan(&gone).actions;
    let is_end = |action: &Action| {
        matches!(action, Action::Tell(Observation { phase: Phase::Ended, cause: Some(Cause::NodeLost), message: Some(message), .. })
            if *message == end.message)
    };
    assert!(told.iter().any(is_end), "{told:?}");
}

#[test]
fn a_pod_whose_node_is_lost_before_its_worker_has_begun_is_not_waited_for() {
    let creating = json!({"waiting": {"reason": "ContainerCreating"}});
    let mut status = status(creating.clone(), creating);
    let lost =
        json!({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "m"});
    status["conditions"].as_array_mut().expect("a list").push(lost);
    let lost = |started| View { pod: pod(9, status.clone()), wanted: Answer::Wanted(wanted(1, started)), ..view() };
    let told = plan(&lost(false)).actions;
    let is_end = |action: &Action| {
        matches!(action, Action::Tell(Observation { phase: Phase::Ended, cause: Some(Cause::NodeLost), .. }))
    };
    assert!(told.iter().any(is_end), "{told:?}");
    assert!(!plan(&lost(true)).actions.iter().any(is_end), "its worker has its own lease");
}

#[test]
fn a_worker_that_ended_well_is_waited_for_and_then_doubted() {
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now().to_string()}});
    let view = View { pod: pod(60, status(ended, json!({"running": {}}))), ..view() };
    let first = plan(&view);
    assert_snapshot!("worker_ended_well", shown(&first));
    assert_snapshot!("worker_ended_well_and_nobody_heard", shown(&plan(&after(view, &first, 15))));
}

#[test]
fn an_agent_out_of_memory_is_told_for_the_worker_to_say_why_its_shim_went() {
    let ended = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    assert_snapshot!(shown(&plan(&View { pod: pod(60, status(json!({"running": {}}), ended)), ..view() })));
}

#[test]
fn an_attempt_to_be_stopped_has_its_pod_deleted() {
    let stopped = |pod| View { pod, wanted: Answer::Wanted(Wanted { stop: true, ..wanted(1, false) }), ..view() };
    let running = plan(&stopped(pod(60, status(json!({"running": {}}), json!({"running": {}})))));
    let is_deletion = |action: &Action| matches!(action, Action::DeletePod { grace_seconds: Some(10), .. });
    assert!(running.actions.iter().any(is_deletion), "{running:?}");
    assert_snapshot!(shown(&plan(&stopped(None))));
}

#[test]
fn an_object_that_is_being_deleted_cancels_its_attempt() {
    let mut view = view();
    let mut job = (*view.job).clone();
    job.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    view.job = Arc::new(job);
    assert_snapshot!(shown(&plan(&view)));
}

#[test]
fn an_object_that_says_a_jobs_id_and_is_not_the_operators_is_rejected_once() {
    let foreign = View { attempt: None, wanted: Answer::Unknown, ..view() };
    let first = plan(&foreign);
    assert_snapshot!(shown(&first));
    assert_eq!(plan(&after(foreign, &first, 60)), Plan::default());
}

mod by_hand {
    use ckrv_types::State;
    use ckrv_types::job::JobResult;
    use ckrv_types::runner::JobStanding;

    use super::*;
    use crate::control::handing::Refusal;
    use crate::crd::JobPhase;

    /// Allowed, and nothing is known of it yet.
    fn made() -> View {
        let spec = AgentJobSpec { repo: Some("https://example.com/a.git".to_owned()), ..AgentJobSpec::default() };
        let mut job = AgentJob::new("fix", spec);
        job.metadata.uid = Some("job-uid".to_owned());
        job.metadata.namespace = Some("ckrv".to_owned());
        job.metadata.generation = Some(1);
        View {
            job: Arc::new(job),
            attempt: None,
            wanted: Answer::Unknown,
            by_hand: Some(ByHand { handed: Handed::Unknown, is_allowed: Some(true) }),
            ..view()
        }
    }

    fn with(view: View, handed: Handed) -> View {
        View { by_hand: Some(ByHand { handed, is_allowed: Some(true) }), ..view }
    }

    fn standing(state: State) -> JobStanding {
        let attempt = attempt(1);
        JobStanding {
            job: attempt.job,
            state,
            cause: None,
            message: None,
            attempt: 1,
            exit_code: None,
            result: None,
            finished_at: None,
        }
    }

    /// The same when the status says which job it is, and this cluster has no attempt of it.
    fn adopted() -> View {
        let asked = with(made(), Handed::Standing(standing(State::Queued)));
        let plan = plan(&asked);
        View { attempt: Some(attempt(1)), wanted: Answer::NotWanted, ..after(asked, &plan, 1) }
    }

    fn over(state: State, cause: Option<Cause>) -> JobStanding {
        let result = JobResult {
            branch: format!("ckrv/{JOB}"),
            base_commit: "a".repeat(40),
            head_commit: "b".repeat(40),
            files_changed: 2,
            insertions: 3,
            deletions: 4,
        };
        JobStanding { cause, exit_code: Some(0), result: Some(result), finished_at: Some(time()), ..standing(state) }
    }

    #[test]
    fn it_is_handed_in_when_the_control_plane_was_heard_and_allows_it() {
        assert_eq!(plan(&made()).actions, [Action::HandIn]);
        let unheard = View { by_hand: Some(ByHand { handed: Handed::Unknown, is_allowed: None }), ..made() };
        assert_eq!(plan(&unheard), Plan::default());
    }

    #[test]
    fn what_cannot_be_taken_is_rejected_once_with_what_to_do() {
        let forbidden =
            || View { by_hand: Some(ByHand { handed: Handed::Unknown, is_allowed: Some(false) }), ..made() };
        let unknown_class = || View { class: Class { name: "big".to_owned(), spec: None, ..view().class }, ..made() };
        let refusal = Refusal { reason: "Invalid", message: "repo: is not a URL".to_owned() };
        let refused = || with(made(), Handed::Refused(refusal.clone()));
        let cases: [(&str, &dyn Fn() -> View); 3] =
            [("not_allowed", &forbidden), ("no_class", &unknown_class), ("refused", &refused)];
        for (name, view) in cases {
            let first = plan(&view());
            assert_snapshot!(name, shown(&first));
            assert_eq!(plan(&after(view(), &first, 60)), Plan::default(), "{name}");
        }
        let allowed = View { by_hand: made().by_hand, ..after(forbidden(), &plan(&forbidden()), 60) };
        assert_eq!(plan(&allowed).actions, [Action::HandIn]);
    }

    #[test]
    fn its_job_is_told_once_and_asked_for_while_it_waits() {
        let taken = with(made(), Handed::Standing(standing(State::Queued)));
        assert_snapshot!(shown(&plan(&taken)));
        assert_eq!(plan(&adopted()).actions, [Action::Ask(attempt(1).job)]);
    }

    #[test]
    fn it_gets_a_pod_as_any_job_and_no_second_one() {
        let given = View { wanted: Answer::Wanted(wanted(1, false)), ..adopted() };
        assert_eq!(plan(&given).actions, [Action::CreatePod(attempt(1))]);
        let running = View {
            pod: pod(3, status(json!({"running": {}}), json!({"running": {}}))),
            wanted: Answer::Wanted(super::wanted(1, true)),
            ..adopted()
        };
        let first = plan(&running);
        assert_snapshot!(shown(&first));
        let lost = plan(&View { pod: None, ..after(running, &first, 1) });
        assert!(!lost.actions.iter().any(|action| matches!(action, Action::CreatePod(_))), "{lost:?}");
        // Nobody who waits for the job's end is told of it before it is certain.
        assert_snapshot!("attempt_failed", shown(&lost));
    }

    #[test]
    fn a_next_attempt_that_waits_is_told_and_its_end_is_not_that_of_the_one_before() {
        let lost = JobStanding {
            attempt: 2,
            cause: Some(Cause::NodeLost),
            message: Some("node n is gone".to_owned()),
            ..standing(State::Queued)
        };
        let waiting = with(adopted(), Handed::Standing(lost));
        let first = plan(&waiting);
        assert_snapshot!(shown(&first));
        let given =
            View { attempt: Some(attempt(2)), wanted: Answer::Wanted(wanted(2, false)), ..after(waiting, &first, 1) };
        assert_eq!(plan(&given).actions, [Action::CreatePod(attempt(2))]);
    }

    #[test]
    fn how_it_ended_is_in_its_status_and_nothing_of_it_is_left() {
        for (name, ended) in [
            ("succeeded", over(State::Succeeded, None)),
            ("failed", over(State::Failed, Some(Cause::AgentExit))),
            ("cancelled", over(State::Cancelled, Some(Cause::CancelledByUser))),
            ("timed_out", over(State::TimedOut, Some(Cause::RunLimit))),
        ] {
            let told = with(adopted(), Handed::Standing(ended));
            let first = plan(&told);
            assert_snapshot!(name, shown(&first));
            let pod = pod(60, status(json!({"terminated": {"exitCode": 0}}), json!({"terminated": {"exitCode": 0}})));
            let kept = plan(&View { pod, ..after(told, &first, 1) });
            assert!(matches!(&kept.actions[..], [Action::DeletePod { .. }]), "{kept:?}");
            assert_eq!(kept.look_again, None);
        }
    }

    #[test]
    fn it_stays_for_its_time_and_without_one_for_ever() {
        let ended = |ttl| {
            let told = with(adopted(), Handed::Standing(over(State::Succeeded, None)));
            let told = View { now: Timestamp::from_second(100).expect("a time"), ..told };
            let first = plan(&told);
            let mut kept = after(told, &first, 0);
            Arc::make_mut(&mut kept.job).spec.ttl_seconds_after_finished = ttl;
            kept
        };
        assert_eq!(plan(&ended(None)), Plan::default());
        assert_eq!(plan(&ended(Some(160))).look_again, Some(Duration::from_mins(1)));
        assert_eq!(plan(&ended(Some(100))).actions, [Action::DeleteJob]);
    }

    #[test]
    fn a_job_that_the_control_plane_has_forgotten_is_not_asked_for_for_ever() {
        let told = with(adopted(), Handed::Forgotten);
        let first = plan(&told);
        assert_snapshot!(shown(&first));
        let kept = after(told, &first, 1);
        assert_eq!(kept.job.status.as_ref().and_then(|status| status.phase), Some(JobPhase::Failed));
        assert_eq!(plan(&kept), Plan::default());
    }

    #[test]
    fn one_that_is_being_deleted_is_not_handed_in() {
        let mut view = made();
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now());
        Arc::make_mut(&mut view.job).metadata.deletion_timestamp = Some(now);
        assert_eq!(plan(&view), Plan::default());
    }
}
