//! The runner dies at one place and is started again: its job has one attempt all the same, and nothing is left of it.

use super::*;

pub const PLACES: &str = "runner.";

#[tokio::test]
async fn a_runner_that_dies_anywhere_is_followed_by_one_that_goes_on_where_it_was() {
    visit_all(PLACES, visit).await;
}

async fn visit(stack: &Stack, repo: &Repo, point: &str) -> Left {
    let class = class_of(point);
    let mut runner = stack.class_runner(&class, &[("FAILPOINTS", format!("{point}=return"))]).await;
    let job = submit(&stack.client(), JobSpec { class: Some(class), ..spec(repo) }).await;
    aborted(runner.died(JOB).await, point);
    runner.start(stack, &[]);
    let job = ended(stack, job).await;
    assert_eq!((job.state, job.attempt), (State::Succeeded, 1), "{point}: {:?}", job.message);
    assert_eq!(stack.logs(job.id).await.out, "begun\ndone\n", "{point}");
    (job.id, cleared_up(&runner).await)
}
