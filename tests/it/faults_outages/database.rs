//! PostgreSQL is restarted, or away for long.

use ckrv_tests::processes::{go_on, stand_still};

use super::*;

#[tokio::test]
async fn a_restart_of_postgresql_is_not_noticed_by_a_running_job_or_its_follower() {
    let options = Options { own_postgres: true, ..Options::default() };
    let (mut stack, repo, gate) = (Stack::with(options).await, Repo::new(), Gate::new());
    let script =
        [count(1, 150, "0.02"), gate.stop("half"), count(151, 300, "0.02"), "touch made".to_owned()].join("; ");
    let job = stack.submit(&repo.url(), &[], &script).await;
    let follower = stack.follow(job);
    follower.until("line 10").await;
    stack.stop_postgres().await;
    stack.start_postgres().await;
    gate.reached("half").await;
    gate.open("half");
    let said = follower.ended().await.exits(0);
    assert_counted(&said.out, 1, 300);
    assert!(!said.err.contains("error"), "{said}");
    succeeded_at_once(&stack.status(job).await);
    stack.holds(&[job]).await;
}

/// Two jobs: one that is done while the database is away, one that goes on afterwards, and whose worker is heard of only
/// half a lease after the database was back.
async fn no_running_job_dies(server: Vec<(&'static str, String)>, outage: Duration, lease: Duration) {
    let options = Options { own_postgres: true, server, ..Options::default() };
    let (mut stack, repo) = (Stack::with(options).await, Repo::new());
    let (done_without, done_with) = (Gate::new(), Gate::new());
    let script = |gate: &Gate| format!("echo begun; {}; touch made; echo done", gate.stop("run"));
    let mut jobs = Vec::new();
    for gate in [&done_without, &done_with] {
        jobs.push(stack.submit(&repo.url(), &[], &script(gate)).await);
        gate.reached("run").await;
    }
    let follower = stack.follow(jobs[1]);
    follower.until("begun").await;
    stack.stop_postgres().await;
    done_without.open("run");
    // Said honestly, and not for ever: the command's patience is bounded.
    let impatient = ["--retry-limit", "1s", "status", &jobs[0].to_string()];
    stack.says(&impatient).await.exits(7);
    lasts(outage).await;
    let worker = supervisor(&stack, first(jobs[1])).await;
    stand_still(worker);
    stack.start_postgres().await;
    lasts(lease / 2).await;
    go_on(worker);
    done_with.open("run");
    let said = follower.ended().await.exits(0);
    assert_eq!(said.out, "begun\ndone\n", "{said}");
    for &job in &jobs {
        succeeded_at_once(&stack.ended(job).await);
    }
    stack.holds(&jobs).await;
}

#[tokio::test]
async fn no_running_job_dies_while_the_database_is_away_for_several_leases() {
    // Two minutes, scaled like the leases.
    let scale = u32::try_from(SCALE).expect("it is small");
    no_running_job_dies(quick_leases(), Duration::from_mins(2) / scale, LEASE).await;
}

#[tokio::test]
#[ignore = "takes two minutes and a half: scripts/soak"]
async fn no_running_job_dies_while_the_database_is_away_for_two_minutes() {
    no_running_job_dies(Vec::new(), Duration::from_mins(2), Duration::from_secs(LEASE_SECONDS)).await;
}
