//! Who gets which place: organizations in turn, each one's by priority and then age; within everybody's limits.

use std::time::{Duration, Instant};

use ckrv_client::runner::RunnerClient;
use ckrv_server::admission;
use ckrv_tests::acting::{SOON, start};
use ckrv_tests::replica::{Installation, Loops, beat, spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::runner::Assignment;
use ckrv_types::{Cause, JobId, JobSpec, OrgId, RunnerId};
use futures::{StreamExt as _, stream};

async fn assigned(runner: &RunnerClient) -> Vec<Assignment> {
    runner.assignments(Duration::ZERO, None).await.unwrap().items
}

/// One pass of admission; the jobs that `runner` then has.
async fn pass(on: &Installation, runner: &RunnerClient) -> Vec<JobId> {
    admission::pass(on.state()).await.unwrap();
    assigned(runner).await.into_iter().map(|item| item.attempt.job).collect()
}

async fn limit_to(on: &Installation, org: OrgId, concurrency: i32) {
    let mut sql = on.sql().await;
    let query = sqlx::query(
        "insert into org_limits (org_id, concurrent_jobs) values ($1, $2)
         on conflict (org_id) do update set concurrent_jobs = excluded.concurrent_jobs",
    );
    query.bind(org.uuid()).bind(concurrency).execute(&mut sql).await.unwrap();
}

/// Ends what the runner has, as its workers would; the organizations that it was.
async fn end_all(on: &Installation, runner: &RunnerClient) -> Vec<OrgId> {
    let mut orgs = Vec::new();
    for item in assigned(runner).await {
        start(&on.replica, &item, 1).await.unwrap().finish(Some(Cause::AgentExit)).await.unwrap();
        orgs.push(item.org);
    }
    orgs
}

#[tokio::test]
async fn a_one_place_runner_takes_organizations_in_turn() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    let (_, token) = on.platform_runner("shared").await;
    // An old backlog of one organization, then a few jobs of another.
    for _ in 0..6 {
        submit(&on.client(), spec()).await;
    }
    for _ in 0..3 {
        submit(&on.replica.client(&other.api_key), spec()).await;
    }
    let runner = on.replica.runner(&token, 1, &[]).await;
    let mut turns = Vec::new();
    for _ in 0..6 {
        admission::pass(on.state()).await.unwrap();
        turns.extend(end_all(&on, &runner).await);
    }
    let (a, b) = (on.keys().org, other.org);
    assert_eq!(turns, [a, b, a, b, a, b]);
}

#[tokio::test]
async fn a_wide_runner_is_shared_evenly() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    let (_, token) = on.platform_runner("shared").await;
    for _ in 0..10 {
        submit(&on.client(), spec()).await;
    }
    for _ in 0..10 {
        submit(&on.replica.client(&other.api_key), spec()).await;
    }
    let runner = on.replica.runner(&token, 6, &[]).await;
    admission::pass(on.state()).await.unwrap();
    let orgs: Vec<OrgId> = assigned(&runner).await.iter().map(|item| item.org).collect();
    assert_eq!(orgs.len(), 6);
    assert_eq!(orgs.iter().filter(|org| **org == other.org).count(), 3);
}

#[tokio::test]
async fn higher_priority_goes_first_and_among_equals_the_older() {
    let on = Installation::new(Loops::Off).await;
    let mut jobs = Vec::new();
    for priority in [0, 5, 5, -3] {
        jobs.push(submit(&on.client(), JobSpec { priority, ..spec() }).await.id);
    }
    let runner = on.runner(1).await;
    for expected in [1, 2, 0, 3] {
        assert_eq!(pass(&on, &runner).await, [jobs[expected]]);
        end_all(&on, &runner).await;
    }
}

#[tokio::test]
async fn neither_the_runners_places_nor_the_organizations_concurrency_is_exceeded() {
    let on = Installation::new(Loops::Off).await;
    for _ in 0..10 {
        submit(&on.client(), spec()).await;
    }
    let runner = on.runner(3).await;
    assert_eq!(pass(&on, &runner).await.len(), 3);
    assert_eq!(pass(&on, &runner).await.len(), 3, "another pass finds no room");
    limit_to(&on, on.keys().org, 5).await;
    runner.heartbeat(&beat(10)).await.unwrap();
    assert_eq!(pass(&on, &runner).await.len(), 5);
    end_all(&on, &runner).await;
    assert_eq!(pass(&on, &runner).await.len(), 5);
    // A runner that is draining takes nothing new and keeps what it has.
    runner.heartbeat(&beat(0)).await.unwrap();
    limit_to(&on, on.keys().org, 10).await;
    assert_eq!(pass(&on, &runner).await.len(), 5);
}

#[tokio::test]
async fn a_runner_gets_only_classes_that_it_knows_and_only_its_own_organizations_jobs() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    let classed = submit(&on.client(), JobSpec { class: Some("big".into()), ..spec() }).await.id;
    let plain = submit(&on.client(), spec()).await.id;
    let foreign = submit(&on.replica.client(&other.api_key), spec()).await.id;
    let runner = on.runner(10).await;
    assert_eq!(pass(&on, &runner).await, [plain]);
    let runner = on.replica.runner(&on.keys().runner_token, 10, &["small", "big"]).await;
    let mut got = pass(&on, &runner).await;
    got.sort();
    assert_eq!(got, [classed, plain]);
    assert!(!got.contains(&foreign));
}

#[tokio::test]
async fn a_silent_or_revoked_runner_gets_nothing() {
    let on = Installation::new(Loops::Off).await;
    submit(&on.client(), spec()).await;
    on.runner(1).await;
    let mut sql = on.sql().await;
    sqlx::query("update runners set beat_at = now() - interval '31 seconds'").execute(&mut sql).await.unwrap();
    admission::pass(on.state()).await.unwrap();
    sqlx::query("update runners set beat_at = now(), revoked_at = now()").execute(&mut sql).await.unwrap();
    admission::pass(on.state()).await.unwrap();
    let given: i64 =
        sqlx::query_scalar("select count(*) from attempts where rank > 0").fetch_one(&mut sql).await.unwrap();
    assert_eq!(given, 0);
}

#[tokio::test]
async fn an_attempt_in_its_back_off_waits() {
    let on = Installation::new(Loops::Off).await;
    let job = submit(&on.client(), spec()).await.id;
    let mut sql = on.sql().await;
    sqlx::query("update attempts set not_before = now() + interval '1 hour'").execute(&mut sql).await.unwrap();
    let runner = on.runner(1).await;
    assert!(pass(&on, &runner).await.is_empty());
    sqlx::query("update attempts set not_before = now()").execute(&mut sql).await.unwrap();
    assert_eq!(pass(&on, &runner).await, [job]);
}

#[tokio::test]
async fn two_replicas_and_many_submitters_never_give_out_more_than_allowed() {
    let on = Installation::new(Loops::On).await;
    let other = on.another_replica(Loops::On).await;
    limit_to(&on, on.keys().org, 7).await;
    let runner = on.runner(1000).await;
    let clients = [on.client(), other.client(&on.keys().api_key)];
    let submissions = stream::iter(0..40).map(|number| submit(&clients[number % 2], spec()));
    let submitting = submissions.buffer_unordered(8).collect::<Vec<_>>();
    let watching = async {
        wait_for("the organization runs as much as it may", SOON, async || {
            let mut sql = on.sql().await;
            let live: i64 = sqlx::query_scalar("select count(*) from attempts where rank > 0 and rank < 100")
                .fetch_one(&mut sql)
                .await
                .unwrap();
            assert!(live <= 7, "{live} attempts are out");
            (live == 7).then_some(())
        })
        .await;
    };
    tokio::join!(submitting, watching);
    assert_eq!(assigned(&runner).await.len(), 7);
}

/// Accepts one job after the other and takes the time until the runner's long poll shows it.
async fn latencies(on: &Installation, runner: &RunnerClient, count: usize) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for _ in 0..count {
        // On a slow machine all of this takes longer than a lease.
        runner.heartbeat(&beat(1)).await.unwrap();
        let version = runner.assignments(Duration::ZERO, None).await.unwrap().version;
        let poll = runner.assignments(Duration::from_secs(10), Some(version));
        let accept = async {
            submit(&on.client(), JobSpec { priority: 1, ..spec() }).await;
            Instant::now()
        };
        let (list, accepted) = tokio::join!(async { (poll.await.unwrap(), Instant::now()) }, accept);
        let (list, seen) = list;
        assert!(!list.items.is_empty());
        latencies.push(seen.saturating_duration_since(accepted));
        for item in list.items {
            start(&on.replica, &item, 1).await.unwrap().finish(None).await.unwrap();
        }
    }
    latencies.sort();
    latencies
}

#[tokio::test]
async fn an_accepted_job_is_at_its_runner_within_100_ms_idle_and_behind_a_long_queue() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let idle = latencies(&on, &runner, 20).await;

    // A thousand of another organization, for whom there is no runner, and a thousand of a class that nobody offers.
    let other = on.organization("other").await;
    on.queue(&other, 1000, &spec()).await;
    on.queue(on.keys(), 1000, &JobSpec { class: Some("none".to_owned()), ..spec() }).await;
    let queued = latencies(&on, &runner, 20).await;
    println!(
        "accept to long poll, ms: idle p50 {} max {}; 2,000 queued p50 {} max {}",
        idle[10].as_millis(),
        idle[19].as_millis(),
        queued[10].as_millis(),
        queued[19].as_millis()
    );
    assert!(idle[10] < Duration::from_millis(100), "{idle:?}");
    assert!(queued[10] < Duration::from_millis(100), "{queued:?}");
}

#[tokio::test]
async fn room_and_busy_places_are_counted_over_all_organizations() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    let (shared, token) = on.platform_runner("shared").await;
    on.replica.runner(&token, 5, &["big"]).await;
    for _ in 0..2 {
        submit(&on.replica.client(&other.api_key), spec()).await;
    }
    admission::pass(on.state()).await.unwrap();
    let lease = Duration::from_secs(ckrv_types::limits::LEASE_SECONDS);
    let room = |class| admission::capacity(&on.state().db, on.keys().org, class, None, lease);
    let seen = room(None).await.unwrap();
    assert_eq!((seen.runners, seen.free_places), (1, 3));
    assert_eq!(room(Some("big")).await.unwrap().runners, 1);
    assert_eq!(room(Some("small")).await.unwrap().runners, 0);
    let listed = on.client().runners().await.unwrap().items;
    let busy = |id: RunnerId| listed.iter().find(|runner| runner.id == id).map(|runner| (runner.busy, runner.platform));
    assert_eq!(busy(shared), Some((2, true)));
    assert_eq!(busy(on.keys().runner), Some((0, false)));
}
