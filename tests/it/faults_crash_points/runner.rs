//! The runner dies at one place and is started again: its job has one attempt all the same, and nothing is left of it.

use std::path::PathBuf;

use futures::future::join_all;

use super::*;

pub const VISITS: [&str; 4] =
    ["runner.before-launch", "runner.after-launch", "runner.before-observation", "runner.before-cleanup"];

#[tokio::test]
async fn a_runner_that_dies_anywhere_is_followed_by_one_that_goes_on_where_it_was() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let visits = join_all(VISITS.map(|point| visit(&stack, &repo, point))).await;
    let (jobs, homes): (Vec<JobId>, Vec<PathBuf>) = visits.into_iter().unzip();
    let mut judged = stack.judged(&jobs);
    judged.homes = homes;
    stack.all_hold(&judged).await;
}

async fn visit(stack: &Stack, repo: &Repo, point: &str) -> (JobId, PathBuf) {
    let class = point.replace('.', "-");
    let mut runner = stack.class_runner(&class, &[("FAILPOINTS", format!("{point}=return"))]).await;
    let job = submit(&stack.client(), JobSpec { class: Some(class), ..spec(repo) }).await;
    aborted(runner.died(JOB).await, point);
    runner.start(stack, &[]);
    let job = ended(stack, job).await;
    assert_eq!((job.state, job.attempt), (State::Succeeded, 1), "{point}: {:?}", job.message);
    assert_eq!(stack.logs(job.id).await.out, "begun\ndone\n", "{point}");
    let home = runner.home();
    let is_empty = || std::fs::read_dir(home.join("work")).is_ok_and(|mut entries| entries.next().is_none());
    wait_for("the runner clears up", START, async || is_empty().then_some(())).await;
    (job.id, home)
}
