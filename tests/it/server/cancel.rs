//! Cancelling: before, during, racing the end, twice.

use std::time::{Duration, Instant};

use ckrv_tests::acting::{SOON, Worker, assignment_of, refused, start, work_on};
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::job::{CancelOutcome, EventKind};
use ckrv_types::worker::WorkerPhase;
use ckrv_types::{Cause, ProblemCode, State};
use futures::TryStreamExt as _;
use time::OffsetDateTime;

/// Longer than a test's limit: an answer that comes before has come for a reason.
const LONG: Duration = Duration::from_secs(30);

async fn last_beat(on: &Installation, worker: &Worker) -> OffsetDateTime {
    let beat = sqlx::query_scalar("select beat_at from attempts where job_id = $1 and number = $2");
    let attempt = worker.attempt();
    beat.bind(attempt.job.uuid())
        .bind(attempt.number.cast_signed())
        .fetch_one(&mut on.sql().await)
        .await
        .expect("it has beaten")
}

/// Waits until a beat of the worker's has arrived after the one at `before`.
async fn beaten_since(on: &Installation, worker: &Worker, before: OffsetDateTime) {
    wait_for("the beat arrives", SOON, async || (last_beat(on, worker).await > before).then_some(())).await;
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once_and_is_never_assigned() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await;
    let cancelled = on.client().cancel(job.id).await.unwrap();
    assert_eq!((cancelled.outcome, cancelled.job.state), (CancelOutcome::Cancelled, State::Cancelled));
    assert_eq!(cancelled.job.cause, Some(Cause::CancelledByUser));
    assert!(cancelled.job.finished_at.is_some());
    ckrv_server::admission::pass(on.state()).await.unwrap();
    assert!(runner.assignments(Duration::ZERO, None).await.unwrap().items.is_empty());
    let again = on.client().cancel(job.id).await.unwrap();
    assert_eq!(again.outcome, CancelOutcome::AlreadyFinished);
}

#[tokio::test]
async fn a_job_cancelled_between_assignment_and_start_ends_when_its_worker_asks_to_start() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await;
    let assignment = assignment_of(&runner, job.id).await;
    let asked = on.client().cancel(job.id).await.unwrap();
    assert_eq!((asked.outcome, asked.job.state), (CancelOutcome::Requested, State::Assigned));
    let answer = start(&on.replica, &assignment, 1).await.map(|_| ());
    let sealed = answer.as_ref().unwrap_err().problem().unwrap().sealed_seq;
    assert_eq!((refused(answer), sealed), (ProblemCode::Sealed, Some(0)));
    let job = on.client().job(job.id).await.unwrap();
    assert_eq!((job.state, job.attempts.len()), (State::Cancelled, 1));
}

#[tokio::test]
async fn a_running_job_is_told_by_its_heartbeat_and_asking_twice_is_no_error() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await;
    let worker = work_on(&on.replica, &runner, job.id).await;
    assert!(!worker.beat(WorkerPhase::Running).await.unwrap().cancel);
    for _ in 0..2 {
        let asked = on.client().cancel(job.id).await.unwrap();
        assert_eq!((asked.outcome, asked.job.state), (CancelOutcome::Requested, State::Running));
    }
    assert!(worker.beat(WorkerPhase::Running).await.unwrap().cancel);
    let finished = worker.finish(Some(Cause::CancelledByUser)).await.unwrap();
    assert_eq!(finished.state, State::Cancelled);
    let job = on.client().job(job.id).await.unwrap();
    assert_eq!(job.state, State::Cancelled);
    assert!(job.result.is_some(), "the work so far is kept");
    let events: Vec<_> = on.client().events(job.id, SOON).try_collect().await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == EventKind::CancelRequested).count(), 1);
}

#[tokio::test]
async fn a_worker_that_listens_is_told_at_once_whichever_replica_was_asked() {
    let on = Installation::new(Loops::On).await;
    let other = on.another_replica(Loops::On).await;
    let runner = on.runner(2).await;
    for (what, asked) in [("its own", &on.replica), ("another", &other)] {
        let job = submit(&on.client(), spec()).await;
        let worker = work_on(&on.replica, &runner, job.id).await;
        worker.beat(WorkerPhase::Running).await.unwrap();
        let before = last_beat(&on, &worker).await;
        let cancel = async {
            beaten_since(&on, &worker, before).await;
            let began = Instant::now();
            asked.client(&on.keys().api_key).cancel(job.id).await.unwrap();
            began
        };
        let (answer, began) = tokio::join!(worker.attend(WorkerPhase::Running, LONG), cancel);
        let heard = began.elapsed();
        assert!(answer.unwrap().cancel, "{what} replica");
        println!("asked {what} replica: heard after {heard:?}");
        assert!(heard < LONG / 6, "{heard:?}");
        worker.finish(Some(Cause::CancelledByUser)).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_held_back_renews_the_lease_before_and_comes_when_its_time_is_over() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await;
    let worker = work_on(&on.replica, &runner, job.id).await;
    let before = last_beat(&on, &worker).await;
    let began = Instant::now();
    let held = Duration::from_secs(2);
    let arrived = async {
        beaten_since(&on, &worker, before).await;
        began.elapsed()
    };
    let (answer, arrived) = tokio::join!(worker.attend(WorkerPhase::Running, held), arrived);
    assert!(!answer.unwrap().cancel);
    assert!(arrived < held && began.elapsed() >= held, "{arrived:?} of {:?}", began.elapsed());
    assert_eq!(on.client().job(job.id).await.unwrap().state, State::Running);
}

#[tokio::test]
async fn a_server_that_stops_lets_the_workers_go_that_listen_to_it() {
    let on = Installation::new(Loops::On).await;
    let other = on.another_replica(Loops::Off).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await;
    let worker = work_on(&other, &runner, job.id).await;
    let before = last_beat(&on, &worker).await;
    let stop = async {
        beaten_since(&on, &worker, before).await;
        drop(other);
    };
    let listening = tokio::time::timeout(LONG / 2, worker.attend(WorkerPhase::Running, LONG));
    let (answer, ()) = tokio::join!(listening, stop);
    assert!(!answer.expect("it is not kept waiting").unwrap().cancel);
}

#[tokio::test]
async fn a_success_that_commits_first_wins_over_a_cancel_at_the_same_moment() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(100).await;
    let mut too_late = 0;
    for _ in 0..20 {
        let job = submit(&on.client(), spec()).await;
        let worker = work_on(&on.replica, &runner, job.id).await;
        worker.beat(WorkerPhase::Running).await.unwrap();
        let client = on.client();
        let (cancelled, finished) = tokio::join!(client.cancel(job.id), worker.finish(None));
        let (cancelled, finished) = (cancelled.unwrap(), finished.unwrap());
        assert_eq!(finished.state, State::Succeeded);
        match cancelled.outcome {
            CancelOutcome::AlreadyFinished => {
                too_late += 1;
                assert_eq!(cancelled.job.state, State::Succeeded);
            }
            outcome => assert_eq!((outcome, cancelled.job.state), (CancelOutcome::Requested, State::Running)),
        }
        assert_eq!(on.client().job(job.id).await.unwrap().state, State::Succeeded);
    }
    println!("{too_late} of 20 requests to cancel came too late");
}

#[tokio::test]
async fn what_would_be_tried_again_is_not_when_somebody_asked_to_cancel() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await;
    let worker = work_on(&on.replica, &runner, job.id).await;
    on.client().cancel(job.id).await.unwrap();
    let finished = worker.finish(Some(Cause::Storage)).await.unwrap();
    assert_eq!(finished.state, State::Cancelled);
    let job = on.client().job(job.id).await.unwrap();
    assert_eq!((job.state, job.cause, job.attempts.len()), (State::Cancelled, Some(Cause::CancelledByUser), 1));
}
