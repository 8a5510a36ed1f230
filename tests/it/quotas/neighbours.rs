//! What one organization does at once, and those that share a control plane with it.

use std::time::Duration;

use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::job::SubmitJob;
use sqlx::Connection as _;
use tokio::task::JoinSet;

use super::limit;

#[tokio::test]
async fn what_all_requests_of_one_organization_wait_for_holds_up_no_other() {
    let on = Installation::new(Loops::Off).await;
    let (noisy, other) = (on.keys().org, on.organization("other").await);
    limit(&on, noisy, "jobs_per_month", Some(1000)).await;
    let (client, others) = (on.client(), on.replica.client(&other.api_key));
    for client in [&client, &others] {
        submit(client, spec()).await;
    }
    let mut sql = on.sql().await;
    let mut held = sql.begin().await.unwrap();
    sqlx::query("select from usage_months where org_id = $1 for update")
        .bind(noisy.uuid())
        .execute(&mut *held)
        .await
        .unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..40 {
        let client = client.clone();
        waiting.spawn(async move { client.submit(&SubmitJob { spec: spec(), project: None }).await });
    }
    wait_for("some of them wait for the row", Duration::from_secs(10), async || {
        let waits: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&mut on.sql().await)
        .await
        .unwrap();
        (waits >= 4).then_some(())
    })
    .await;
    for _ in 0..10 {
        submit(&others, spec()).await;
    }
    held.rollback().await.unwrap();
    let done = waiting.join_all().await;
    let refused: Vec<_> = done.iter().filter_map(|done| done.as_ref().err()).collect();
    assert!(refused.is_empty(), "those that waited are served when there is nothing to wait for any more: {refused:?}");
}
