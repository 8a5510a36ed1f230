//! Cancelling: before the start, during the run, in a race with the finish, twice, too late. The user is told what became
//! of it, and everything that can be asked afterwards says the same.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use ckrv_tests::gate::Gate;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{JOB, Options, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::job::{CancelOutcome, Cancelled, EventKind, Explanation};
use ckrv_types::{Cause, Job, JobId, Page, State};
use futures::StreamExt as _;
use futures::future::join_all;
use time::OffsetDateTime;

/// A stack with `slots` places, whose workers hear of a cancellation within a second.
async fn attentive(slots: u32) -> Stack {
    let server = vec![("CKRV_BEAT_SECONDS", "1".to_owned())];
    Stack::with(Options { slots, server, ..Options::default() }).await
}

async fn cancel(stack: &Stack, job: JobId) -> Cancelled {
    stack.says(&["cancel", "-o", "json", &job.to_string()]).await.exits(0).json()
}

#[tokio::test]
async fn a_job_that_waits_for_a_place_is_cancelled_at_once_and_never_starts() {
    let (stack, repo) = (attentive(1).await, Repo::new());
    let first = stack.submit(&repo.url(), &[], "echo ready; until [ -e go ]; do sleep 0.05; done").await;
    stack.until_printed(first, "ready").await;
    let second = stack.submit(&repo.url(), &[], "echo it ran").await;
    let explained: Explanation = stack.says(&["explain", "-o", "json", &second.to_string()]).await.exits(0).json();
    assert_eq!((explained.state, explained.queue.unwrap().position), (State::Queued, 1));

    let said = stack.says(&["cancel", &second.to_string()]).await.exits(0);
    said.prints(&[&format!("{second} is cancelled")]);
    let job = stack.status(second).await;
    assert_eq!((job.state, job.cause, job.attempts.len()), (State::Cancelled, Some(Cause::CancelledByUser), 1));
    assert_eq!((job.attempts[0].assigned_at, job.attempts[0].runner), (None, None), "a runner was given it");
    assert!(job.finished_at.is_some());
    // Its log is at its end: following it does not wait.
    let log = stack.says(&["logs", "--follow", &second.to_string()]).await.exits(0);
    assert_eq!(log.out, "");

    // The other one is not touched, and its place is free afterwards.
    assert_eq!(stack.status(first).await.state, State::Running);
    cancel(&stack, first).await;
    stack.ended(first).await;
    stack.wait(&repo.url(), &[], "true").await.exits(0);
    assert_eq!(stack.status(second).await, job, "it changed after its end");
}

#[tokio::test]
async fn a_running_job_is_stopped_and_who_waits_for_it_is_told() {
    let (stack, repo) = (attentive(2).await, Repo::new());
    let script = "echo so far > work.txt; echo ready; sleep 600";
    let job = stack.submit(&repo.url(), &["--grace", "1s"], script).await;
    let id = job.to_string();
    stack.until_printed(job, "ready").await;
    let follow = ["logs", "--follow", &id];
    let watch = ["status", "--watch", &id];
    let cancel = ["cancel", &id];
    let (said, followed, watched) = tokio::join!(stack.says(&cancel), stack.says(&follow), stack.says(&watch));
    said.exits(0).prints(&[&format!("{id} is being stopped; what it has done so far is kept")]);
    let followed = followed.exits(0).prints(&["ready\n"]);
    followed.tells(&[
        "cancelled: stopping the agent (SIGTERM, after 1 s SIGKILL)",
        "attempt 1: cancelled (cancelled:user: ",
    ]);
    watched
        .exits(0)
        .prints(&["cancel requested", "cancelled: cancelled:user"])
        .tells(&["hint: `ckrv retry", "runs it again"]);
    assert_eq!(stack.status(job).await.state, State::Cancelled);
    assert_eq!(stack.pull(&repo, job).await.file("work.txt"), "so far");
}

async fn last_beat(stack: &Stack, job: JobId) -> OffsetDateTime {
    let beat = sqlx::query_scalar("select beat_at from attempts where job_id = $1");
    beat.bind(job.uuid()).fetch_one(&mut stack.sql().await).await.expect("it has beaten")
}

/// Whether the attempt's row was written after the transaction of the job's newest event: the beat that brings a change of
/// state is answered at once, the next one's answer is held.
async fn has_beaten_since_its_last_event(stack: &Stack, job: JobId) -> bool {
    let since = "select a.xmin <> e.xmin from attempts a join job_events e using (job_id)
                 where a.job_id = $1 order by e.id desc limit 1";
    sqlx::query_scalar(since).bind(job.uuid()).fetch_one(&mut stack.sql().await).await.expect("it has begun")
}

#[tokio::test]
async fn a_running_agent_is_told_to_stop_long_before_its_workers_next_beat() {
    let beat = Duration::from_secs(20);
    let seconds = |time: Duration| time.as_secs().to_string();
    let server = vec![("CKRV_BEAT_SECONDS", seconds(beat)), ("CKRV_LEASE_SECONDS", seconds(beat * 4))];
    let (stack, repo) = (Stack::with(Options { slots: 1, server, ..Options::default() }).await, Repo::new());
    let gate = Gate::new();
    let told = format!("told() {{ echo told; {}; exit 0; }}; trap told TERM", gate.stop("told"));
    let job = stack.submit(&repo.url(), &[], &format!("{told}; echo ready; while :; do sleep 0.05; done")).await;
    stack.until_printed(job, "ready").await;
    wait_for("the server holds the answer to a beat", JOB, async || {
        (stack.status(job).await.state == State::Running && has_beaten_since_its_last_event(&stack, job).await)
            .then_some(())
    })
    .await;
    let before = last_beat(&stack, job).await;
    let asked = Instant::now();
    cancel(&stack, job).await;
    gate.reached("told").await;
    let heard = asked.elapsed();
    println!("`ckrv cancel` to the agent's SIGTERM: {heard:?}, with a beat of {beat:?}");
    assert!(heard < beat / 4, "{heard:?}");
    assert_eq!(last_beat(&stack, job).await, before, "there was a beat in between");
    gate.open("told");
    let ended = stack.ended(job).await;
    assert_eq!((ended.state, ended.cause), (State::Cancelled, Some(Cause::CancelledByUser)));
    assert!(asked.elapsed() < beat / 2, "the end waited for a beat: {:?}", asked.elapsed());
}

/// How a way to the server deals with an answer that is long in coming.
#[derive(Clone, Copy)]
enum Late {
    /// Answers in its place.
    Refused,
    /// Loses it.
    Lost,
}

/// A way to the server on which no answer may take longer than a second.
async fn impatient_way(server: String, late: Late) -> String {
    let http = reqwest::Client::new();
    let pass = async move |request: axum::extract::Request| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.expect("the worker sends all of it");
        let request = http.request(parts.method, format!("{server}{}", parts.uri)).headers(parts.headers).body(body);
        match (tokio::time::timeout(Duration::from_secs(1), request.send()).await, late) {
            (Ok(answer), _) => {
                let answer = answer.expect("the server answers");
                let status = answer.status();
                let kind = answer.headers().get("content-type").cloned();
                let body = answer.bytes().await.expect("all of it");
                (status, kind.map(|kind| [("content-type", kind)]), body).into_response()
            }
            (Err(_), Late::Refused) => StatusCode::GATEWAY_TIMEOUT.into_response(),
            (Err(_), Late::Lost) => std::future::pending().await,
        }
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(pass)).await });
    format!("http://{address}")
}

#[tokio::test]
async fn where_no_answer_can_be_held_back_leases_are_kept_and_a_cancel_is_heard_with_a_beat() {
    let (beat, lease) = (Duration::from_secs(2), Duration::from_secs(8));
    let seconds = |time: Duration| time.as_secs().to_string();
    let server = vec![("CKRV_BEAT_SECONDS", seconds(beat)), ("CKRV_LEASE_SECONDS", seconds(lease))];
    for late in [Late::Refused, Late::Lost] {
        let options = Options { slots: 0, server: server.clone(), ..Options::default() };
        let (mut stack, repo) = (Stack::with(options).await, Repo::new());
        stack.start_runner_at(&impatient_way(stack.server_url(), late).await);
        let job = stack.submit(&repo.url(), &["--grace", "1s"], "echo ready; sleep 600").await;
        stack.until_printed(job, "ready").await;
        let begun = last_beat(&stack, job).await;
        wait_for("it has lived for longer than a lease", JOB, async || {
            (last_beat(&stack, job).await > begun + lease).then_some(())
        })
        .await;
        let asked = Instant::now();
        cancel(&stack, job).await;
        let ended = stack.ended(job).await;
        println!("cancelled {:?} after it was asked for, with a beat of {beat:?}", asked.elapsed());
        assert_eq!((ended.state, ended.attempt), (State::Cancelled, 1), "{:?}", ended.message);
        assert!(asked.elapsed() < beat * 4, "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn waiting_for_a_job_that_is_cancelled_ends_with_3() {
    let (stack, repo) = (attentive(1).await, Repo::new());
    let url = repo.url();
    let waiting = stack.wait(&url, &["--grace", "1s", "--label", "t=x"], "sleep 600");
    let cancelling = async {
        let job = wait_for("it runs", ckrv_tests::stack::START, async || {
            let jobs: Page<Job> = stack.says(&["list", "-o", "json", "--label", "t=x"]).await.exits(0).json();
            jobs.items.into_iter().find(|job| job.state == State::Running)
        })
        .await;
        stack.says(&["cancel", &job.id.to_string()]).await.exits(0);
    };
    let (said, ()) = tokio::join!(waiting, cancelling);
    said.exits(3)
        .tells(&["cancel requested", "cause: cancelled:user: cancelled; what the agent had done by then was kept"]);
}

#[tokio::test]
async fn cancelling_twice_is_no_error_and_changes_nothing() {
    let (stack, repo) = (attentive(1).await, Repo::new());
    let job =
        stack.submit(&repo.url(), &["--grace", "2s"], "trap '' TERM; echo ready; while :; do sleep 0.1; done").await;
    stack.until_printed(job, "ready").await;
    let outcomes = [cancel(&stack, job).await.outcome, cancel(&stack, job).await.outcome];
    assert_eq!(outcomes, [CancelOutcome::Requested; 2]);
    let ended = stack.ended(job).await;
    assert_eq!(ended.state, State::Cancelled);
    let third = cancel(&stack, job).await;
    assert_eq!((third.outcome, third.job), (CancelOutcome::AlreadyFinished, ended));
    let requests =
        events(&stack, job).await.into_iter().filter(|(kind, _)| *kind == EventKind::CancelRequested).count();
    assert_eq!(requests, 1);
    stack.says(&["cancel", &job.to_string()]).await.exits(0).prints(&["was over before: cancelled"]);
}

#[tokio::test]
async fn a_job_that_is_over_stays_as_it_is() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    for (script, code, state) in [("echo done", 0, State::Succeeded), ("exit 3", 1, State::Failed)] {
        let job = stack.wait(&repo.url(), &[], script).await.exits(code).job();
        let before = stack.status(job).await;
        let said = stack.says(&["cancel", &job.to_string()]).await.exits(0);
        said.prints(&[&format!("{job} was over before: {state}")]);
        assert_eq!(stack.status(job).await, before);
    }
}

#[tokio::test]
async fn a_cancellation_that_races_the_finish_leaves_one_outcome_everywhere() {
    let (stack, repo) = (attentive(4).await, Repo::new());
    let mut seen = Vec::new();
    // From before the agent's start to after the job's end, which comes after about a second.
    for batch in [[0, 1300, 2600], [400, 1700, 3000], [800, 2100, 6000]] {
        let racing = batch.map(|delay| race(&stack, &repo, Duration::from_millis(delay)));
        seen.extend(join_all(racing).await);
    }
    assert!(seen.contains(&State::Cancelled) && seen.contains(&State::Succeeded), "no race: {seen:?}");
}

/// Cancels a short job after `delay`; its state, which everything agrees about.
async fn race(stack: &Stack, repo: &Repo, delay: Duration) -> State {
    let job = stack.submit(&repo.url(), &["--grace", "5s"], "echo one > work.txt; sleep 1; echo two > work.txt").await;
    // The race is one of times: there is no condition to wait for.
    tokio::time::sleep(delay).await;
    let cancelled = cancel(stack, job).await;
    let ended = stack.ended(job).await;
    let told = match cancelled.outcome {
        CancelOutcome::Cancelled => vec![State::Cancelled],
        CancelOutcome::AlreadyFinished => vec![cancelled.job.state],
        CancelOutcome::Requested => vec![State::Cancelled, State::Succeeded],
    };
    assert!(told.contains(&ended.state), "said {:?}, became {ended:?}", cancelled.outcome);
    assert!(matches!(ended.state, State::Cancelled | State::Succeeded), "{ended:?}");

    let id = job.to_string();
    let attempt = &ended.attempts[0];
    assert_eq!((ended.attempts.len(), attempt.state, attempt.cause), (1, ended.state, ended.cause));
    let explained: Explanation = stack.says(&["explain", "-o", "json", &id]).await.exits(0).json();
    let jobs: Page<Job> = stack.says(&["list", "-o", "json"]).await.exits(0).json();
    let listed = jobs.items.into_iter().find(|listed| listed.id == job).unwrap();
    assert_eq!((explained.state, explained.cause), (ended.state, ended.cause));
    assert_eq!((listed.state, listed.cause, listed.finished_at), (ended.state, ended.cause, ended.finished_at));
    let last = events(stack, job).await.into_iter().filter(|(_, state)| state.is_terminal()).collect::<Vec<_>>();
    assert_eq!(last, [(EventKind::State, ended.state)]);
    // Its log has one end, and a success has all of its work.
    let log = stack.says(&["logs", "--follow", &id]).await.exits(0);
    let end = format!("attempt 1: {}", ended.state);
    assert_eq!(log.err.matches(&end).count(), 1, "{log}");
    if ended.state == State::Succeeded {
        assert_eq!(stack.pull(repo, job).await.file("work.txt"), "two");
    }
    assert_eq!(stack.status(job).await, ended, "it changed after its end");
    ended.state
}

/// The job's events, as far as they matter here.
async fn events(stack: &Stack, job: JobId) -> Vec<(EventKind, State)> {
    let client = stack.client();
    let events = client.events(job, Duration::from_secs(10));
    events.map(|event| event.expect("the events can be read")).map(|event| (event.kind, event.state)).collect().await
}
