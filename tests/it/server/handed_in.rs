//! Jobs that a runner hands in for objects of its cluster: whose, once each, for nobody else, and told how they ended.

use std::collections::BTreeMap;
use std::time::Duration;

use ckrv_client::runner::RunnerClient;
use ckrv_tests::acting::{assignment_of, refused, work_on};
use ckrv_tests::replica::{Installation, Loops, MACHINE, offer, spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::{CreateRunner, UpdateRunner};
use ckrv_types::runner::{HandIn, Observation, Observations, Origin, Phase, Register};
use ckrv_types::{AttemptId, Cause, JobId, JobSpec, ProblemCode, ProjectId, RunnerId, Secret, State};
use futures::future::join_all;

fn object(uid: &str) -> HandIn {
    let origin = Origin { namespace: "builds".into(), name: "fix".into(), uid: uid.into() };
    HandIn { instance: MACHINE.into(), origin, spec: spec() }
}

fn allowing(namespace: &str, project: ProjectId) -> UpdateRunner {
    UpdateRunner { allow: BTreeMap::from([(namespace.to_owned(), project)]) }
}

/// Has the first organization's runner hand in jobs of the namespace `builds` into its project.
async fn allow(on: &Installation) {
    on.client().update_runner(on.keys().runner, &allowing("builds", on.keys().project)).await.unwrap();
}

async fn count(on: &Installation) -> i64 {
    sqlx::query_scalar("select count(*) from jobs").fetch_one(&mut on.sql().await).await.unwrap()
}

async fn second_project(on: &Installation) -> ProjectId {
    let project = ProjectId::new();
    sqlx::query("insert into projects (id, org_id, name) values ($1, $2, 'second')")
        .bind(project.uuid())
        .bind(on.keys().org.uuid())
        .execute(&mut on.sql().await)
        .await
        .unwrap();
    project
}

#[tokio::test]
async fn one_object_makes_one_job_however_often_and_at_once_it_is_handed_in() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    allow(&on).await;
    let (object, again) = (object("uid-1"), object("uid-2"));
    let at_once = join_all((0..8).map(|_| runner.hand_in(&object))).await;
    let jobs: Vec<JobId> = at_once.into_iter().map(|answer| answer.unwrap().job).collect();
    assert!(jobs.iter().all(|job| *job == jobs[0]), "{jobs:?}");
    assert_eq!(count(&on).await, 1);
    // An object of the same name that is another one.
    assert_ne!(runner.hand_in(&again).await.unwrap().job, jobs[0]);
    let job = on.client().job(jobs[0]).await.unwrap();
    assert_eq!((job.project, job.spec, job.state), (on.keys().project, object.spec, State::Queued));
}

#[tokio::test]
async fn a_namespace_goes_into_the_project_that_is_allowed_for_it_and_no_other_goes_anywhere() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    let second = second_project(&on).await;
    assert_eq!(runner.assignments(Duration::ZERO, None).await.unwrap().namespaces, Vec::<String>::new());
    assert_eq!(refused(runner.hand_in(&object("1")).await), ProblemCode::Forbidden);

    let allow = BTreeMap::from([("builds".to_owned(), second), ("*".to_owned(), on.keys().project)]);
    let shown = on.client().update_runner(on.keys().runner, &UpdateRunner { allow: allow.clone() }).await.unwrap();
    assert_eq!(shown.allow, allow);
    assert_eq!(on.client().runners().await.unwrap().items[0].allow, allow);
    assert_eq!(runner.assignments(Duration::ZERO, None).await.unwrap().namespaces, ["*", "builds"]);
    let named = runner.hand_in(&object("1")).await.unwrap().job;
    let mut elsewhere = object("2");
    elsewhere.origin.namespace = "other".into();
    let any = runner.hand_in(&elsewhere).await.unwrap().job;
    let projects = [on.client().job(named).await.unwrap().project, on.client().job(any).await.unwrap().project];
    assert_eq!(projects, [second, on.keys().project]);

    // What is taken away counts at once; what was handed in stays handed in.
    on.client().update_runner(on.keys().runner, &UpdateRunner { allow: BTreeMap::new() }).await.unwrap();
    assert_eq!(refused(runner.hand_in(&object("3")).await), ProblemCode::Forbidden);
    assert_eq!(runner.hand_in(&object("1")).await.unwrap().job, named);
}

#[tokio::test]
async fn a_change_of_what_is_allowed_ends_the_long_poll() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let version = runner.assignments(Duration::ZERO, None).await.unwrap().version;
    let poll = runner.assignments(Duration::from_secs(20), Some(version));
    let (list, ()) = tokio::join!(poll, allow(&on));
    assert_eq!(list.unwrap().namespaces, ["builds"]);
}

#[tokio::test]
async fn nobody_opens_anothers_project_or_anothers_runner() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    let (ours, theirs) = (on.client(), on.replica.client(&other.api_key));
    let stranger = CreateRunner { name: "r".into(), allow: allowing("builds", other.project).allow };
    assert_eq!(refused(ours.create_runner(&stranger).await), ProblemCode::Invalid);
    let into_theirs = allowing("builds", other.project);
    assert_eq!(refused(ours.update_runner(on.keys().runner, &into_theirs).await), ProblemCode::Invalid);
    assert_eq!(refused(theirs.update_runner(on.keys().runner, &into_theirs).await), ProblemCode::NotFound);
    let unknown = allowing("builds", ProjectId::new());
    assert_eq!(refused(ours.update_runner(on.keys().runner, &unknown).await), ProblemCode::Invalid);
    assert_eq!(refused(ours.update_runner(RunnerId::new(), &unknown).await), ProblemCode::NotFound);
    for namespace in ["", "Builds", "a/b", "**"] {
        let misnamed = allowing(namespace, on.keys().project);
        assert_eq!(refused(ours.update_runner(on.keys().runner, &misnamed).await), ProblemCode::Invalid, "{namespace}");
    }
    // Every organization sees a platform runner, and none decides what is made in its cluster.
    let (platform, token) = on.platform_runner("platform").await;
    assert_eq!(refused(ours.update_runner(platform, &allowing("*", on.keys().project)).await), ProblemCode::Forbidden);
    let platform = on.replica.runner(&token, 1, &[]).await;
    assert_eq!(refused(platform.hand_in(&object("1")).await), ProblemCode::Forbidden);
    // Nor is there a way past the API.
    let row = sqlx::query("insert into runner_projects (runner_id, org_id, namespace, project_id) select id, $1, '*', $2 from runners where name = 'platform'")
        .bind(on.keys().org.uuid())
        .bind(on.keys().project.uuid())
        .execute(&mut on.sql().await)
        .await;
    assert!(row.unwrap_err().as_database_error().unwrap().is_foreign_key_violation());
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_by_field_and_another_machine_altogether() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    allow(&on).await;
    let mut bad = object("1");
    bad.spec = JobSpec { branch: Some("-x".into()), ..spec() };
    let error = runner.hand_in(&bad).await.unwrap_err();
    assert_eq!(error.problem().unwrap().errors[0].field, "spec.branch");
    for (field, origin) in [
        ("origin.namespace", Origin { namespace: "A b".into(), ..object("1").origin }),
        ("origin.name", Origin { name: "a\0".into(), ..object("1").origin }),
        ("origin.uid", Origin { uid: "a b".into(), ..object("1").origin }),
    ] {
        let error = runner.hand_in(&HandIn { origin, ..object("1") }).await.unwrap_err();
        assert_eq!(error.problem().unwrap().errors[0].field, field);
    }
    let elsewhere = HandIn { instance: "another-machine".into(), ..object("1") };
    assert_eq!(refused(runner.hand_in(&elsewhere).await), ProblemCode::OtherInstance);
    assert_eq!(count(&on).await, 0);
}

#[tokio::test]
async fn it_runs_on_the_runner_that_has_its_object_and_its_end_is_told_to_nobody_else() {
    let on = Installation::new(Loops::On).await;
    let made = on.client().create_runner(&CreateRunner { name: "other".into(), allow: BTreeMap::new() }).await.unwrap();
    let other = on.replica.runner(&Secret::new(made.token), 10, &[]).await;
    // No room here, much there.
    let runner = on.runner(0).await;
    allow(&on).await;
    let job = runner.hand_in(&object("uid-1")).await.unwrap().job;
    let usual = submit(&on.client(), spec()).await.id;
    assignment_of(&other, usual).await;
    assert_eq!(on.client().job(job).await.unwrap().state, State::Queued);

    runner.register(&Register { instance: MACHINE.into(), offer: offer(1, &[]) }).await.unwrap();
    let assignment = assignment_of(&runner, job).await;
    assert_eq!(assignment.origin, Some(object("uid-1").origin));
    assert_eq!(assignment_of(&other, usual).await.origin, None);
    let worker = work_on(&on.replica, &runner, job).await;
    assert_eq!(standing(&runner, job).await.state, State::Starting);
    worker.finish(None).await.unwrap();
    let over = standing(&runner, job).await;
    assert_eq!((over.state, over.cause, over.attempt), (State::Succeeded, None, 1));
    assert!(over.finished_at.is_some() && over.result.is_some_and(|result| result.files_changed == 1));
    for stranger in [&other, &on.replica.runner(&on.platform_runner("p").await.1, 0, &[]).await] {
        assert_eq!(stranger.standings(&[job, usual]).await.unwrap().items, []);
    }
    assert_eq!(runner.standings(&[usual, JobId::new()]).await.unwrap().items, []);
    assert_eq!(refused(runner.standings(&vec![job; 101]).await), ProblemCode::BadRequest);
}

async fn standing(runner: &RunnerClient, job: JobId) -> ckrv_types::runner::JobStanding {
    runner.standings(&[job]).await.unwrap().items.remove(0)
}

#[tokio::test]
async fn a_runner_may_cancel_what_it_has_handed_in_while_it_waits_and_nothing_else() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    allow(&on).await;
    let job = runner.hand_in(&object("1")).await.unwrap().job;
    let usual = submit(&on.client(), spec()).await.id;
    let ended = |job| Observation {
        attempt: AttemptId { job, number: 1 },
        phase: Phase::Ended,
        cause: Some(Cause::CancelledByRunner),
        exit_code: None,
        message: Some("AgentJob fix was deleted in the cluster".into()),
        node: None,
    };
    let seen = Observations { instance: MACHINE.into(), items: vec![ended(job), ended(usual)] };
    assert_eq!(runner.observations(&seen).await.unwrap().applied, [true, false]);
    let over = standing(&runner, job).await;
    assert_eq!((over.state, over.cause), (State::Cancelled, Some(Cause::CancelledByRunner)));
    assert_eq!(on.client().job(usual).await.unwrap().state, State::Queued);
    // The object is another one from now on, or none: what is over stays over.
    assert_eq!(runner.hand_in(&object("1")).await.unwrap().state, State::Cancelled);
}

#[tokio::test]
async fn a_new_token_for_the_same_cluster_takes_its_jobs_over() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(0).await;
    allow(&on).await;
    let job = runner.hand_in(&object("1")).await.unwrap().job;
    let wanted = CreateRunner { name: "next".into(), allow: allowing("builds", on.keys().project).allow };
    let made = on.client().create_runner(&wanted).await.unwrap();
    assert_eq!(made.item.allow, wanted.allow);
    let token = Secret::new(made.token);
    let next = on.replica.runner(&token, 1, &[]).await;
    assert_eq!(next.standings(&[job]).await.unwrap().items, [], "as long as the first one is good");

    on.client().revoke_runner(on.keys().runner).await.unwrap();
    let next = on.replica.runner(&token, 1, &[]).await;
    assert_eq!(next.hand_in(&object("1")).await.unwrap().job, job);
    assert_eq!(assignment_of(&next, job).await.attempt.job, job);
}

#[tokio::test]
async fn while_its_runner_is_away_it_waits_and_says_for_whom() {
    let on = Installation::with(Loops::On, &["--lease-seconds", "2", "--beat-seconds", "1"]).await;
    let runner = on.runner(1).await;
    allow(&on).await;
    let (_, token) = on.platform_runner("platform").await;
    wait_for("the runner is lost", Duration::from_secs(15), async || {
        let shown = on.client().runners().await.unwrap().items;
        shown.iter().all(|runner| runner.platform || !runner.alive).then_some(())
    })
    .await;
    let _alive = on.replica.runner(&token, 10, &[]).await;
    let job = runner.hand_in(&object("1")).await.unwrap().job;
    let said = on.client().explain(job).await.unwrap();
    assert!(said.summary.contains("it is for no other"), "{said:?}");
}
