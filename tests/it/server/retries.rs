//! Which causes are worth another attempt, and what is seen meanwhile.

use std::time::Duration;

use ckrv_tests::acting::{SOON, assignment_of, start, work_on};
use ckrv_tests::replica::{Installation, Loops, MACHINE, spec, submit};
use ckrv_types::job::EventKind;
use ckrv_types::runner::{Observation, Observations, Phase};
use ckrv_types::spec::Retries;
use ckrv_types::usage::{Usage, UsageSource};
use ckrv_types::worker::{WorkerHeartbeat, WorkerPhase};
use ckrv_types::{Cause, JobId, JobSpec, State};
use futures::TryStreamExt as _;

async fn end_back_off(on: &Installation, job: JobId) {
    let mut sql = on.sql().await;
    sqlx::query("update attempts set not_before = now() where job_id = $1 and state = 'queued'")
        .bind(job.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
}

#[tokio::test]
async fn infrastructure_is_tried_again_with_growing_pauses_and_the_job_is_not_over_between() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await;
    let mut pauses = Vec::new();
    for number in 1..=3 {
        let assignment = assignment_of(&runner, job.id).await;
        assert_eq!(assignment.attempt.number, number);
        let worker = start(&on.replica, &assignment, 1).await.unwrap();
        worker.finish(Some(Cause::Storage)).await.unwrap();
        let now = on.client().job(job.id).await.unwrap();
        if number < 3 {
            assert_eq!((now.state, now.attempt, now.finished_at), (State::Queued, number + 1, None));
            assert_eq!(now.cause, Some(Cause::Storage), "it says why it waits");
            let next = now.attempts.last().unwrap();
            pauses.push((next.not_before.unwrap() - next.queued_at).as_seconds_f64());
            end_back_off(&on, job.id).await;
        } else {
            assert_eq!((now.state, now.cause), (State::Failed, Some(Cause::Storage)));
            assert!(now.finished_at.is_some());
        }
    }
    assert!((5.0..6.5).contains(&pauses[0]) && (20.0..25.5).contains(&pauses[1]), "{pauses:?}");
    let events: Vec<_> = on.client().events(job.id, SOON).try_collect().await.unwrap();
    let retries: Vec<_> =
        events.iter().filter(|event| event.kind == EventKind::Retry).map(|event| event.attempt).collect();
    assert_eq!(retries, [2, 3]);
}

#[tokio::test]
async fn what_the_user_must_change_is_not_tried_again() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(10).await;
    for cause in [Cause::BranchMissing, Cause::AgentExit, Cause::RunLimit, Cause::Budget, Cause::AgentOom] {
        let job = submit(&on.client(), spec()).await;
        work_on(&on.replica, &runner, job.id).await.finish(Some(cause)).await.unwrap();
        let job = on.client().job(job.id).await.unwrap();
        assert_eq!((job.state, job.cause, job.attempts.len()), (cause.state(), Some(cause), 1));
    }
}

#[tokio::test]
async fn an_agent_out_of_memory_is_tried_again_only_where_the_job_asks_for_it() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(10).await;
    let asks = JobSpec { retries: Retries { max_attempts: 2, oom: true }, ..spec() };
    let job = submit(&on.client(), asks).await;
    let assignment = assignment_of(&runner, job.id).await;
    start(&on.replica, &assignment, 1).await.unwrap();
    let seen = Observation {
        attempt: assignment.attempt,
        phase: Phase::Ended,
        cause: Some(Cause::AgentOom),
        exit_code: Some(137),
        message: Some("killed at 512 MiB".into()),
        node: Some("node-1".into()),
    };
    let seen = Observations { instance: MACHINE.into(), items: vec![seen] };
    assert_eq!(runner.observations(&seen).await.unwrap().applied, [true]);
    assert_eq!(runner.observations(&seen).await.unwrap().applied, [false], "a repeat changes nothing");
    let job = on.client().job(job.id).await.unwrap();
    assert_eq!((job.state, job.attempt), (State::Queued, 2));
    let first = &job.attempts[0];
    assert_eq!(
        (first.cause, first.exit_code, first.node.as_deref()),
        (Some(Cause::AgentOom), Some(137), Some("node-1"))
    );
    assert_eq!(first.message.as_deref(), Some("killed at 512 MiB"));
}

#[tokio::test]
async fn a_retry_is_a_new_job_of_the_same_specification_and_only_of_a_finished_one() {
    let on = Installation::new(Loops::Off).await;
    let labelled = JobSpec { labels: [("team".to_owned(), "x".to_owned())].into(), priority: 7, ..spec() };
    let job = submit(&on.client(), labelled).await;
    let error = on.client().retry(job.id).await.unwrap_err();
    assert_eq!(error.problem_code(), Some(ckrv_types::ProblemCode::Conflict));
    on.client().cancel(job.id).await.unwrap();
    let again = on.client().retry(job.id).await.unwrap();
    assert_eq!((again.retry_of, &again.spec, again.state), (Some(job.id), &job.spec, State::Queued));
    assert_ne!(again.id, job.id);
}

#[tokio::test]
async fn a_further_attempt_hears_what_those_before_it_have_spent_and_a_new_job_begins_with_nothing_spent() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await;
    let usage = |source, cost_usd| Some(Usage { source, cost_usd, ..Usage::default() });
    let attempts = [
        // What its last beat said is known of a worker that was never heard again.
        (0.0, usage(UsageSource::Proxy, Some(0.25))),
        // An agent's own word on money is not believed.
        (0.25, usage(UsageSource::Agent, Some(9.0))),
        (0.25, None),
    ];
    for (spent, usage) in attempts {
        let worker = work_on(&on.replica, &runner, job.id).await;
        assert!((worker.started.spent_usd - spent).abs() < 1e-9, "{:?}", worker.started);
        let beat = WorkerHeartbeat { instance: worker.instance.clone(), phase: WorkerPhase::Running, usage };
        worker.client.heartbeat(&beat, Duration::ZERO).await.unwrap();
        worker.finish(Some(Cause::WorkerLost)).await.unwrap();
        end_back_off(&on, job.id).await;
    }
    let again = on.client().retry(job.id).await.unwrap();
    assert_eq!(work_on(&on.replica, &runner, again.id).await.started.spent_usd.to_bits(), 0.0_f64.to_bits());
}
