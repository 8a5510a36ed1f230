//! The server, the runner and the worker are killed.

use ckrv_tests::processes::{is_alive, kill_hard, of_session};

use super::*;

/// An agent with a child in another session, which has lost its parents.
fn with_a_daemon(gate: &Gate, then: &str) -> String {
    let noted = gate.note("daemon", "$$");
    format!("echo begun; setsid sh -c \"{}; exec sleep 600\" & {then}", noted.replace('$', "\\$"))
}

#[tokio::test]
async fn a_server_that_is_killed_while_a_job_runs_costs_its_follower_no_line_and_repeats_none() {
    let (mut stack, repo, gate) = (Stack::start().await, Repo::new(), Gate::new());
    let script =
        [count(1, 150, "0.02"), gate.stop("half"), count(151, 300, "0.02"), "touch made".to_owned()].join("; ");
    let job = stack.submit(&repo.url(), &[], &script).await;
    let follower = stack.follow(job);
    follower.until("line 10").await;
    stack.kill_server().await;
    // The agent goes on without it.
    gate.reached("half").await;
    stack.start_server().await;
    gate.open("half");
    follower.until("line 160").await;
    stack.kill_server().await;
    stack.start_server().await;
    let said = follower.ended().await.exits(0);
    assert_counted(&said.out, 1, 300);
    assert!(!said.err.contains("error"), "{said}");
    succeeded_at_once(&stack.status(job).await);
    stack.holds(&[job]).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_is_tried_again_and_what_it_had_logged_is_kept() {
    let (stack, repo, gate) = (Stack::start().await, Repo::new(), Gate::new());
    let script = with_a_daemon(&gate, &format!("{}; touch made", gate.stop("run")));
    let job = stack.submit(&repo.url(), &[], &script).await;
    let follower = stack.follow(job);
    follower.until("begun").await;
    let daemon: i32 = gate.read("daemon").await.parse().expect("a process id");
    let worker = supervisor(&stack, first(job)).await;
    kill_hard(worker);
    wait_for("the first attempt's processes end", JOB, async || {
        (!is_alive(daemon) && of_session(worker).is_empty()).then_some(())
    })
    .await;
    gate.open("run");
    let said = follower.ended().await.exits(0);
    // Once by each attempt.
    assert_eq!(said.out, "begun\nbegun\n", "{said}");
    let ended = stack.status(job).await;
    assert_eq!((ended.state, ended.attempt), (State::Succeeded, 2), "{:?}", ended.message);
    let lost = &ended.attempts[0];
    assert_eq!((lost.state, lost.cause), (State::Failed, Some(Cause::WorkerLost)));
    let message = lost.message.as_deref().unwrap_or_default();
    assert!(message.contains("signal 9 (SIGKILL)"), "{message}");
    stack.says(&["logs", "--attempt", "1", &job.to_string()]).await.exits(0).prints(&["begun"]);
    stack.holds(&[job]).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_with_no_attempt_left_ends_the_job_and_says_why() {
    let (stack, repo, gate) = (Stack::start().await, Repo::new(), Gate::new());
    let script = format!("echo begun; {}", gate.stop("run"));
    let job = stack.submit(&repo.url(), &["--max-attempts", "1"], &script).await;
    let follower = stack.follow(job);
    follower.until("begun").await;
    kill_hard(supervisor(&stack, first(job)).await);
    // The log can be read, and says that it is cut off.
    let said = follower.ended().await.exits(0).tells(&["infrastructure:worker-lost", "the log is not whole"]);
    assert_eq!(said.out, "begun\n");
    let ended = stack.ended(job).await;
    assert_eq!((ended.state, ended.cause), (State::Failed, Some(Cause::WorkerLost)));
    stack.says(&["explain", &job.to_string()]).await.exits(0).prints(&["infrastructure:worker-lost", "SIGKILL"]);
    stack.holds(&[job]).await;
}

#[tokio::test]
async fn a_runner_that_is_killed_takes_no_job_with_it_and_the_next_one_takes_over_what_it_finds() {
    let (mut stack, repo) = (Stack::start().await, Repo::new());
    let (done_without, done_with) = (Gate::new(), Gate::new());
    let script = |gate: &Gate| format!("echo begun; {}; touch made; echo done", gate.stop("run"));
    let mut jobs = Vec::new();
    for gate in [&done_without, &done_with] {
        jobs.push(stack.submit(&repo.url(), &[], &script(gate)).await);
        gate.reached("run").await;
    }
    stack.kill_runner().await;
    // This one does not need a runner at all.
    done_without.open("run");
    succeeded_at_once(&stack.ended(jobs[0]).await);
    assert!(work_folder(&stack, first(jobs[0])).exists(), "who has removed it?");
    stack.start_runner();
    wait_for("the runner clears up behind the one before", JOB, async || {
        (!work_folder(&stack, first(jobs[0])).exists()).then_some(())
    })
    .await;
    assert!(work_folder(&stack, first(jobs[1])).exists(), "it has removed what is still at work");
    done_with.open("run");
    succeeded_at_once(&stack.ended(jobs[1]).await);
    for &job in &jobs {
        assert_eq!(stack.logs(job).await.out, "begun\ndone\n");
    }
    stack.holds(&jobs).await;
}

#[tokio::test]
async fn a_runner_and_its_worker_that_are_killed_together_are_missed_and_the_job_is_tried_again() {
    let options = Options { server: quick_leases(), ..Options::default() };
    let (mut stack, repo, gate) = (Stack::with(options).await, Repo::new(), Gate::new());
    let script = with_a_daemon(&gate, &format!("{}; touch made", gate.stop("run")));
    let job = stack.submit(&repo.url(), &[], &script).await;
    gate.reached("run").await;
    let daemon: i32 = gate.read("daemon").await.parse().expect("a process id");
    let worker = supervisor(&stack, first(job)).await;
    stack.kill_runner().await;
    kill_hard(worker);
    // Nobody is there to tell: its silence is noticed.
    until(&stack, AttemptId { job, number: 2 }, State::Queued).await;
    gate.open("run");
    stack.start_runner();
    let ended = stack.ended(job).await;
    assert_eq!((ended.state, ended.attempt), (State::Succeeded, 2), "{:?}", ended.message);
    assert_eq!(ended.attempts[0].cause, Some(Cause::WorkerLost));
    assert!(!is_alive(daemon), "the first attempt's daemon lives");
    stack.holds(&[job]).await;
}
