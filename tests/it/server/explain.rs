//! `explain`: why it waits, why it ended, what to do.

use ckrv_tests::acting::work_on;
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::{Cause, JobSpec, State};

#[tokio::test]
async fn a_queued_job_says_what_it_waits_for() {
    let on = Installation::new(Loops::Off).await;
    let first = submit(&on.client(), spec()).await.id;
    let second = submit(&on.client(), spec()).await.id;
    let urgent = submit(&on.client(), JobSpec { priority: 1, ..spec() }).await.id;
    let classed = submit(&on.client(), JobSpec { class: Some("gpu".into()), ..spec() }).await.id;
    let explain = async |job| on.client().explain(job).await.unwrap();

    let alone = explain(second).await;
    assert!(alone.summary.contains("No runner is alive"), "{}", alone.summary);
    assert!(alone.hint.is_some());
    let queue = alone.queue.unwrap();
    assert_eq!((queue.position, queue.running, queue.concurrency, queue.runners), (3, 0, None, 0));
    assert_eq!(explain(urgent).await.queue.unwrap().position, 1);
    assert_eq!(explain(first).await.queue.unwrap().position, 2);

    let runner = on.runner(1).await;
    assert!(explain(classed).await.summary.contains("offers the class `gpu`"));
    assert!(explain(first).await.summary.contains("about to be given"));
    ckrv_server::admission::pass(on.state()).await.unwrap();
    assert!(explain(first).await.summary.contains("Every place"), "{}", explain(first).await.summary);
    assert_eq!(explain(urgent).await.state, State::Assigned);

    let mut sql = on.sql().await;
    sqlx::query("insert into org_limits (org_id, concurrent_jobs) select id, 1 from orgs")
        .execute(&mut sql)
        .await
        .unwrap();
    assert!(explain(first).await.summary.contains("runs 1 of the 1 jobs"));

    work_on(&on.replica, &runner, urgent).await.finish(Some(Cause::Storage)).await.unwrap();
    let waiting = explain(urgent).await;
    assert!(waiting.summary.contains("waits a while after infrastructure:storage"), "{}", waiting.summary);
    assert!(waiting.details.iter().any(|line| line.contains("attempt 1 ended failed")), "{:?}", waiting.details);
}

#[tokio::test]
async fn a_finished_job_says_why_and_what_to_do_about_it() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    work_on(&on.replica, &runner, job).await.finish(Some(Cause::BranchMissing)).await.unwrap();
    let explained = on.client().explain(job).await.unwrap();
    assert_eq!((explained.state, explained.cause), (State::Failed, Some(Cause::BranchMissing)));
    assert!(explained.summary.contains("setup:branch"), "{}", explained.summary);
    assert_eq!(explained.hint.as_deref(), Some(Cause::BranchMissing.hint()));
    assert!(explained.queue.is_none());
    assert!(explained.details.iter().any(|line| line.starts_with("runner: default")), "{:?}", explained.details);
}
