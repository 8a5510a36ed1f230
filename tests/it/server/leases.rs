//! Who is lost, and when nobody may be called lost.

use std::time::{Duration, Instant};

use ckrv_server::sweeper;
use ckrv_tests::acting::{SOON, assignment_of, refused, work_on};
use ckrv_tests::pod::noted;
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::artifact::ArtifactStatus;
use ckrv_types::attempt::Seal;
use ckrv_types::limits::{BEAT_SECONDS, LEASE_SECONDS, SLACK_SECONDS};
use ckrv_types::worker::NewArtifact;
use ckrv_types::worker::WorkerPhase;
use ckrv_types::{AttemptId, Cause, Job, JobId, ProblemCode, State};

fn seconds(seconds: u64) -> f64 {
    Duration::from_secs(seconds).as_secs_f64()
}

/// Moves a column of the attempt's into the past.
async fn age(on: &Installation, attempt: AttemptId, column: &'static str, seconds: f64) {
    let mut sql = on.sql().await;
    let statement = format!(
        "update attempts set {column} = {column} - make_interval(secs => $3) where job_id = $1 and number = $2"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(attempt.job.uuid())
        .bind(attempt.number.cast_signed())
        .bind(seconds)
        .execute(&mut sql)
        .await
        .unwrap();
}

async fn sweep(on: &Installation, job: JobId) -> Job {
    sweeper::tick(on.state()).await.unwrap();
    on.client().job(job).await.unwrap()
}

async fn admitted(on: &Installation) {
    ckrv_server::admission::pass(on.state()).await.unwrap();
}

#[tokio::test]
async fn a_silent_worker_is_lost_after_its_lease_and_its_late_word_counts_no_more() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    on.let_the_sweeper_judge().await;
    let job = submit(&on.client(), spec()).await.id;
    admitted(&on).await;
    let worker = work_on(&on.replica, &runner, job).await;
    worker.beat(WorkerPhase::Running).await.unwrap();

    age(&on, worker.attempt(), "beat_at", seconds(LEASE_SECONDS - 1)).await;
    assert_eq!(sweep(&on, job).await.state, State::Running);
    age(&on, worker.attempt(), "beat_at", 2.0).await;
    let swept = sweep(&on, job).await;
    assert_eq!((swept.state, swept.attempt, swept.cause), (State::Queued, 2, Some(Cause::WorkerLost)));
    assert_eq!(swept.attempts[0].log.unwrap().seal, Seal::Truncated);
    assert!(runner.assignments(Duration::ZERO, None).await.unwrap().items.is_empty(), "its place is free");

    assert_eq!(refused(worker.beat(WorkerPhase::Running).await), ProblemCode::Sealed);
    let finished = worker.finish(None).await.unwrap();
    assert_eq!(finished.state, State::Failed, "the first outcome stands");
    assert_eq!(on.client().job(job).await.unwrap().state, State::Queued);
}

#[tokio::test]
async fn a_silent_worker_is_ended_with_what_its_runner_saw_coming() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    on.let_the_sweeper_judge().await;
    for (seen, expected, told) in [
        (Some(Cause::NodeLost), Cause::NodeLost, "before that its runner saw: noted by a test"),
        (None, Cause::WorkerLost, "it died, or its node or the way from there did"),
    ] {
        let job = submit(&on.client(), spec()).await.id;
        admitted(&on).await;
        let worker = work_on(&on.replica, &runner, job).await;
        if let Some(cause) = seen {
            runner.observations(&noted(worker.attempt(), cause)).await.unwrap();
        }
        age(&on, worker.attempt(), "beat_at", seconds(LEASE_SECONDS + 1)).await;
        let swept = sweep(&on, job).await;
        let message = swept.attempts[0].message.as_deref().unwrap();
        assert_eq!(swept.attempts[0].cause, Some(expected), "{message}");
        assert!(message.contains(told), "{message}");
        on.client().cancel(job).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_lost_worker_had_not_stored_to_the_end_is_said_to_have_failed() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    on.let_the_sweeper_judge().await;
    let job = submit(&on.client(), spec()).await.id;
    admitted(&on).await;
    let worker = work_on(&on.replica, &runner, job).await;
    let offer = NewArtifact {
        name: "files/half".to_owned(),
        size: 3,
        sha256: "ab".repeat(32),
        content_type: "text/plain".to_owned(),
    };
    worker.client.new_artifact(&offer).await.unwrap();
    assert_eq!(on.client().artifacts(job).await.unwrap().items[0].status, ArtifactStatus::Pending);
    age(&on, worker.attempt(), "beat_at", seconds(LEASE_SECONDS + 1)).await;
    assert_eq!(sweep(&on, job).await.cause, Some(Cause::WorkerLost));
    let left = &on.client().artifacts(job).await.unwrap().items[0];
    assert_eq!((left.status, left.attempt), (ArtifactStatus::Failed, 1));
    assert!(left.message.as_deref().unwrap().contains("did not say"), "{left:?}");
}

#[tokio::test]
async fn a_lost_runner_strands_only_what_has_not_started() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(2).await;
    on.let_the_sweeper_judge().await;
    let (started, waiting) = (submit(&on.client(), spec()).await.id, submit(&on.client(), spec()).await.id);
    admitted(&on).await;
    let worker = work_on(&on.replica, &runner, started).await;
    let mut sql = on.sql().await;
    sqlx::query("update runners set beat_at = now() - make_interval(secs => $1)")
        .bind(seconds(LEASE_SECONDS + 1))
        .execute(&mut sql)
        .await
        .unwrap();
    let waiting = sweep(&on, waiting).await;
    assert_eq!((waiting.state, waiting.cause), (State::Queued, Some(Cause::RunnerLost)));
    assert_eq!(on.client().job(started).await.unwrap().state, State::Starting);
    worker.finish(None).await.unwrap();
}

#[tokio::test]
async fn after_an_outage_of_ours_everybody_has_a_whole_lease_to_be_heard_again() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    admitted(&on).await;
    let worker = work_on(&on.replica, &runner, job).await;
    age(&on, worker.attempt(), "beat_at", 120.0).await;

    for (what, name) in [("the sweeper", "sweeper"), ("the way in", "way-in")] {
        on.let_the_sweeper_judge().await;
        let mut sql = on.sql().await;
        sqlx::query("update service_beats set beat_at = now() - make_interval(secs => $2) where name = $1")
            .bind(name)
            .bind(seconds(BEAT_SECONDS + 1))
            .execute(&mut sql)
            .await
            .unwrap();
        assert_eq!(sweep(&on, job).await.state, State::Starting, "{what} was away for longer than a beat");
        // The next pass comes on time, but the lease is not over.
        assert_eq!(sweep(&on, job).await.state, State::Starting, "{what}");
    }
    on.let_the_sweeper_judge().await;
    assert_eq!(sweep(&on, job).await.cause, Some(Cause::WorkerLost));
}

#[tokio::test]
async fn the_first_pass_of_a_new_installation_judges_nobody() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    admitted(&on).await;
    let worker = work_on(&on.replica, &runner, job).await;
    age(&on, worker.attempt(), "beat_at", 120.0).await;
    assert_eq!(sweep(&on, job).await.state, State::Starting);
}

#[tokio::test]
async fn each_limit_ends_an_attempt_with_its_own_cause() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(100).await;
    on.let_the_sweeper_judge().await;
    let limits = spec().limits;
    let slack = seconds(SLACK_SECONDS);

    let queued = submit(&on.client(), spec()).await.id;
    age(&on, AttemptId { job: queued, number: 1 }, "queued_at", seconds(limits.queue) + 1.0).await;
    age(&on, AttemptId { job: queued, number: 1 }, "not_before", seconds(limits.queue) + 1.0).await;
    let swept = sweep(&on, queued).await;
    assert_eq!((swept.state, swept.cause), (State::TimedOut, Some(Cause::QueueLimit)));
    assert_eq!(swept.attempts[0].log.unwrap().seal, Seal::Complete, "there was nothing to lose");

    let assigned = submit(&on.client(), spec()).await.id;
    admitted(&on).await;
    age(&on, AttemptId { job: assigned, number: 1 }, "assigned_at", seconds(limits.start) + 1.0).await;
    assert_eq!(sweep(&on, assigned).await.cause, Some(Cause::StartLimit));

    for (phase, column, limit, cause, state) in [
        (WorkerPhase::Starting, "starting_at", seconds(limits.start) + slack, Cause::StartLimit, State::Queued),
        (
            WorkerPhase::Running,
            "running_at",
            seconds(limits.run + limits.grace) + slack,
            Cause::RunLimit,
            State::TimedOut,
        ),
        (WorkerPhase::Finishing, "finishing_at", 3600.0, Cause::Storage, State::Queued),
    ] {
        let job = submit(&on.client(), spec()).await.id;
        admitted(&on).await;
        let worker = work_on(&on.replica, &runner, job).await;
        worker.beat(phase).await.unwrap();
        age(&on, worker.attempt(), column, limit - 5.0).await;
        assert_eq!(sweep(&on, job).await.state, phase.state(), "the worker keeps this limit itself at first");
        age(&on, worker.attempt(), column, 10.0).await;
        let swept = sweep(&on, job).await;
        assert_eq!((swept.cause, swept.state), (Some(cause), state));
    }
}

#[tokio::test]
async fn a_cancelled_attempt_whose_worker_never_began_ends_after_the_grace() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    on.let_the_sweeper_judge().await;
    let job = submit(&on.client(), spec()).await.id;
    admitted(&on).await;
    assignment_of(&runner, job).await;
    on.client().cancel(job).await.unwrap();
    assert_eq!(sweep(&on, job).await.state, State::Assigned);
    let mut sql = on.sql().await;
    sqlx::query("update jobs set cancel_requested_at = now() - interval '61 seconds'").execute(&mut sql).await.unwrap();
    let swept = sweep(&on, job).await;
    assert_eq!((swept.state, swept.cause), (State::Cancelled, Some(Cause::CancelledByUser)));
}

#[tokio::test]
async fn a_dead_worker_is_noticed_within_its_lease_and_two_seconds() {
    let on = Installation::with(Loops::On, &["--lease-seconds", "3", "--beat-seconds", "1"]).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    let worker = work_on(&on.replica, &runner, job).await;
    // Beats past the lease that the server grants everyone at its own start.
    let alive = Instant::now();
    wait_for("the server may judge", SOON, async || {
        worker.beat(WorkerPhase::Running).await.unwrap();
        (alive.elapsed() > Duration::from_secs(5)).then_some(())
    })
    .await;
    let last_beat = Instant::now();
    wait_for("the worker is lost", SOON, async || {
        let job = on.client().job(job).await.unwrap();
        (job.cause == Some(Cause::WorkerLost)).then_some(())
    })
    .await;
    let noticed = last_beat.elapsed();
    println!("last beat to next attempt: {noticed:?} with a lease of 3 s");
    assert!(noticed > Duration::from_millis(2900) && noticed < Duration::from_secs(5), "{noticed:?}");
}

#[tokio::test]
async fn keys_of_requests_are_forgotten_after_a_day() {
    let on = Installation::new(Loops::Off).await;
    submit(&on.client(), spec()).await;
    let mut sql = on.sql().await;
    let count = "select count(*) from idempotency";
    sweeper::tick(on.state()).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut sql).await.unwrap(), 1);
    sqlx::query("update idempotency set created_at = now() - interval '25 hours'").execute(&mut sql).await.unwrap();
    sweeper::tick(on.state()).await.unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut sql).await.unwrap(), 0);
}
