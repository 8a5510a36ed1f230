//! Jobs and minutes a month, and open jobs: never one more than allowed, whoever asks where; and nothing is counted twice.

use std::time::Duration;

use ckrv_client::ClientError;
use ckrv_client::runner::RunnerClient;
use ckrv_server::admission;
use ckrv_server::db::transition::Transition;
use ckrv_tests::acting::{assignment_of, start};
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::job::SubmitJob;
use ckrv_types::quota::Measure;
use ckrv_types::runner::{HandIn, Origin};
use ckrv_types::worker::WorkerPhase;
use ckrv_types::{AttemptId, Cause, Job, JobId, State};
use futures::{StreamExt as _, stream};
use reqwest::StatusCode;
use time::{OffsetDateTime, UtcOffset};

use super::{exceeded, limit, quota, standing, usage};

fn wanted() -> SubmitJob {
    SubmitJob { spec: spec(), project: None }
}

/// Forty submissions over two replicas, eight at a time.
async fn hammer(on: &Installation) -> Vec<Result<Job, ClientError>> {
    let other = on.another_replica(Loops::Off).await;
    let clients = [on.client(), other.client(&on.keys().api_key)];
    let wanted = wanted();
    stream::iter(0..40).map(|number| clients[number % 2].submit(&wanted)).buffer_unordered(8).collect().await
}

async fn counted(on: &Installation) -> (i64, i64, i64) {
    sqlx::query_as(
        "select (select count(*) from jobs), (select coalesce(sum(jobs), 0)::bigint from usage_events),
            (select coalesce(sum(jobs), 0)::bigint from usage_months)",
    )
    .fetch_one(&mut on.sql().await)
    .await
    .unwrap()
}

/// Runs the job's latest attempt so that its agent ran for as many seconds, and ends it.
async fn run(on: &Installation, runner: &RunnerClient, job: JobId, seconds: i32, cause: Option<Cause>) {
    sqlx::query("update attempts set not_before = now() where state = 'queued'")
        .execute(&mut on.sql().await)
        .await
        .unwrap();
    admission::pass(on.state()).await.unwrap();
    let worker = start(&on.replica, &assignment_of(runner, job).await, 1).await.unwrap();
    for phase in [WorkerPhase::Running, WorkerPhase::Finishing] {
        worker.beat(phase).await.unwrap();
    }
    // A tenth less, so that the begun second is the last.
    sqlx::query(
        "update attempts set running_at = finishing_at - make_interval(secs => $2 - 0.1) where job_id = $1 and state = 'finishing'",
    )
    .bind(job.uuid())
    .bind(f64::from(seconds))
    .execute(&mut on.sql().await)
    .await
    .unwrap();
    worker.finish(cause).await.unwrap();
}

/// Has all that was used be as if it was last month.
async fn a_month_passes(on: &Installation) {
    let mut sql = on.sql().await;
    for table in ["usage_events", "usage_months"] {
        let statement = format!("update {table} set month = (month - interval '1 month')::date");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut sql).await.unwrap();
    }
}

#[tokio::test]
async fn two_replicas_accept_exactly_as_many_jobs_a_month_as_allowed() {
    let on = Installation::new(Loops::Off).await;
    limit(&on, on.keys().org, "jobs_per_month", Some(10)).await;
    let answers = hammer(&on).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    for refused in answers.into_iter().filter(Result::is_err) {
        let (_, quota) = exceeded(refused);
        assert_eq!((quota.quota, quota.used, quota.limit), (Measure::JobsPerMonth, 10, Some(10)));
    }
    assert_eq!(counted(&on).await, (10, 10, 10), "what was refused left nothing behind");
    limit(&on, on.keys().org, "jobs_per_month", Some(11)).await;
    submit(&on.client(), spec()).await;
    exceeded(on.client().submit(&wanted()).await);
}

#[tokio::test]
async fn two_replicas_accept_exactly_as_many_open_jobs_as_allowed_and_one_more_for_each_that_ends() {
    let on = Installation::new(Loops::Off).await;
    limit(&on, on.keys().org, "open_jobs", Some(5)).await;
    let accepted: Vec<Job> = hammer(&on).await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(accepted.len(), 5);
    let (problem, quota) = exceeded(on.client().submit(&wanted()).await);
    assert_eq!((quota.quota, quota.used, quota.limit, quota.resets_at), (Measure::OpenJobs, 5, Some(5), None));
    assert!(problem.hint.unwrap().contains("cancel"));

    on.client().cancel(accepted[0].id).await.unwrap();
    submit(&on.client(), spec()).await;
    exceeded(on.client().submit(&wanted()).await);
    assert_eq!(standing(&on.replica, &on.keys().api_key, Measure::OpenJobs).await.used, 5);
}

#[tokio::test]
async fn without_a_limit_everything_is_counted_all_the_same() {
    let on = Installation::new(Loops::Off).await;
    assert!(hammer(&on).await.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(counted(&on).await, (40, 40, 40));
    // And counts once there is one.
    limit(&on, on.keys().org, "jobs_per_month", Some(40)).await;
    assert_eq!(exceeded(on.client().submit(&wanted()).await).1.used, 40);
}

#[tokio::test]
async fn a_refusal_says_what_is_used_of_what_until_when_and_what_to_do() {
    let on = Installation::new(Loops::Off).await;
    limit(&on, on.keys().org, "jobs_per_month", Some(0)).await;
    let (problem, quota) = exceeded(on.client().submit(&wanted()).await);
    let resets_at = quota.resets_at.expect("it says when").to_offset(UtcOffset::UTC);
    assert!(resets_at > OffsetDateTime::now_utc() && resets_at - OffsetDateTime::now_utc() <= time::Duration::days(31));
    assert_eq!((resets_at.day(), resets_at.time()), (1, time::Time::MIDNIGHT));
    let detail = problem.detail.unwrap();
    for part in ["0 of 0 jobs this month, which is its limit", &resets_at.date().to_string()] {
        assert!(detail.contains(part), "{detail}");
    }
    assert!(problem.hint.unwrap().contains("ckrv usage"));
    let noted: Vec<serde_json::Value> =
        sqlx::query_scalar("select detail from audit_log where action = 'quota.exceeded'")
            .fetch_all(&mut on.sql().await)
            .await
            .unwrap();
    assert_eq!(noted.len(), 1);
    exceeded(on.client().submit(&wanted()).await);
    let noted: i64 = sqlx::query_scalar("select count(*) from audit_log where action = 'quota.exceeded'")
        .fetch_one(&mut on.sql().await)
        .await
        .unwrap();
    assert_eq!(noted, 1, "once an hour is enough");
}

#[tokio::test]
async fn a_new_month_counts_from_nothing() {
    let on = Installation::new(Loops::Off).await;
    limit(&on, on.keys().org, "jobs_per_month", Some(2)).await;
    limit(&on, on.keys().org, "minutes_per_month", Some(1)).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    run(&on, &runner, job, 60, None).await;
    assert_eq!(exceeded(on.client().submit(&wanted()).await).1.quota, Measure::MinutesPerMonth);
    a_month_passes(&on).await;
    for _ in 0..2 {
        submit(&on.client(), spec()).await;
    }
    assert_eq!(exceeded(on.client().submit(&wanted()).await).1.quota, Measure::JobsPerMonth);
    let now = usage(&on.replica, &on.keys().api_key, "").await;
    assert_eq!((now.total.jobs, now.total.seconds), (2, 0));
    let before: String = sqlx::query_scalar("select to_char(min(month), 'YYYY-MM') from usage_months")
        .fetch_one(&mut on.sql().await)
        .await
        .unwrap();
    let before = usage(&on.replica, &on.keys().api_key, &format!("?month={before}")).await;
    assert_eq!((before.total.jobs, before.total.seconds), (1, 60));
}

#[tokio::test]
async fn months_turn_at_midnight_of_utc_wherever_the_database_thinks_it_is() {
    let on = Installation::new(Loops::Off).await;
    let mut sql = on.sql().await;
    for zone in ["UTC", "Asia/Tokyo", "America/Los_Angeles"] {
        sqlx::query("select set_config('timezone', $1, false)").bind(zone).execute(&mut sql).await.unwrap();
        let right: bool = sqlx::query_scalar(
            "select usage_month('2026-11-30T23:59:59.999999Z') = '2026-11-01'
                and usage_month('2026-12-01T00:00:00Z') = '2026-12-01'
                and usage_month_end('2026-12-01') = '2027-01-01T00:00:00Z'::timestamptz",
        )
        .fetch_one(&mut sql)
        .await
        .unwrap();
        assert!(right, "{zone}");
    }
}

#[tokio::test]
async fn a_begun_second_counts_and_minutes_are_refused_once_they_are_used() {
    let on = Installation::new(Loops::Off).await;
    limit(&on, on.keys().org, "minutes_per_month", Some(2)).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    run(&on, &runner, job, 119, Some(Cause::AgentExit)).await;
    let used = usage(&on.replica, &on.keys().api_key, "").await;
    assert_eq!((used.total.jobs, used.total.seconds), (1, 119), "whoever fails used it too");
    // One second is left: that is enough to begin.
    let job = submit(&on.client(), spec()).await.id;
    run(&on, &runner, job, 100, None).await;
    let (_, quota) = exceeded(on.client().submit(&wanted()).await);
    assert_eq!((quota.quota, quota.used, quota.limit), (Measure::MinutesPerMonth, 3, Some(2)));
}

#[tokio::test]
async fn what_ckrv_itself_failed_is_not_charged_and_a_retried_attempt_makes_no_second_job() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    run(&on, &runner, job, 500, Some(Cause::WorkerLost)).await;
    let used = usage(&on.replica, &on.keys().api_key, "").await;
    assert_eq!((used.total.jobs, used.total.seconds), (1, 0));
    run(&on, &runner, job, 7, None).await;
    let used = usage(&on.replica, &on.keys().api_key, "").await;
    assert_eq!((used.total.jobs, used.total.seconds), (1, 7));
    on.client().retry(job).await.unwrap();
    assert_eq!(usage(&on.replica, &on.keys().api_key, "").await.total.jobs, 2, "to ask for a retry is to submit a job");
}

#[tokio::test]
async fn what_ckrv_itself_failed_is_not_charged_where_the_job_was_being_cancelled_either() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    admission::pass(on.state()).await.unwrap();
    let worker = start(&on.replica, &assignment_of(&runner, job).await, 1).await.unwrap();
    worker.beat(WorkerPhase::Running).await.unwrap();
    on.client().cancel(job).await.unwrap();
    sqlx::query("update attempts set running_at = now() - interval '500 seconds'")
        .execute(&mut on.sql().await)
        .await
        .unwrap();
    let mut tx = on.state().db.tenant(on.keys().org).await.unwrap();
    let lost = Transition::end(AttemptId { job, number: 1 }, Cause::WorkerLost, None);
    assert_eq!(lost.apply(&mut tx).await.unwrap().unwrap().state, State::Cancelled);
    tx.commit().await.unwrap();
    assert_eq!(usage(&on.replica, &on.keys().api_key, "").await.total.seconds, 0);
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_counted_once_and_answered_even_when_nothing_is_left() {
    let on = Installation::new(Loops::Off).await;
    limit(&on, on.keys().org, "jobs_per_month", Some(1)).await;
    let http = reqwest::Client::new();
    let send = async |key: &str| {
        let request = http.post(on.replica.url().join("/v1/jobs").unwrap()).bearer_auth(on.keys().api_key.expose());
        let answer = request.header("idempotency-key", key).json(&wanted()).send().await.unwrap();
        (answer.status(), answer.json::<serde_json::Value>().await.unwrap()["id"].clone())
    };
    let (status, first) = send("one").await;
    assert_eq!(status, StatusCode::CREATED);
    for _ in 0..3 {
        assert_eq!(send("one").await, (StatusCode::CREATED, first.clone()));
    }
    assert_eq!(send("two").await.0, StatusCode::FORBIDDEN);
    assert_eq!(counted(&on).await, (1, 1, 1));
    // A refusal is no answer to keep: there may be room later.
    limit(&on, on.keys().org, "jobs_per_month", Some(2)).await;
    assert_eq!(send("two").await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn jobs_that_a_runner_hands_in_are_counted_and_refused_alike() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    let allow = [("builds".to_owned(), on.keys().project)].into();
    on.client().update_runner(on.keys().runner, &ckrv_types::identity::UpdateRunner { allow }).await.unwrap();
    limit(&on, on.keys().org, "jobs_per_month", Some(1)).await;
    let object = |uid: &str| {
        let origin = Origin { namespace: "builds".into(), name: "fix".into(), uid: uid.into() };
        HandIn { instance: ckrv_tests::replica::MACHINE.into(), origin, spec: spec() }
    };
    for _ in 0..3 {
        runner.hand_in(&object("1")).await.unwrap();
    }
    let (_, quota) = exceeded(runner.hand_in(&object("2")).await);
    assert_eq!((quota.quota, quota.used), (Measure::JobsPerMonth, 1));
    let by_key = usage(&on.replica, &on.keys().api_key, "?by=key").await;
    assert_eq!((by_key.rows.len(), by_key.rows[0].key, by_key.rows[0].used.jobs), (1, None, 1), "it was nobody's key");
    assert_eq!(counted(&on).await, (1, 1, 1));
}

#[tokio::test]
async fn what_waits_and_runs_is_shown_with_every_limit() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    for _ in 0..3 {
        submit(&on.client(), spec()).await;
    }
    admission::pass(on.state()).await.unwrap();
    assert_eq!(runner.assignments(Duration::ZERO, None).await.unwrap().items.len(), 1);
    let shown = quota(&on.replica, &on.keys().api_key).await;
    assert_eq!(shown.tier, "enterprise");
    assert_eq!(shown.limits.iter().map(|limit| limit.quota).collect::<Vec<_>>(), Measure::ALL);
    let used: Vec<u64> = shown.limits.iter().map(|limit| limit.used).collect();
    assert_eq!(used, [1, 3, 3, 0, 0, 0, 1]);
    assert!(shown.limits.iter().all(|limit| limit.limit.is_none()));
}
