use ckrv_server::retention;
use ckrv_types::Cause;
use ckrv_types::artifact::ArtifactStatus::{Failed, Stored};
use ckrv_types::worker::Upload;
use reqwest::StatusCode;

use super::artifact;
use crate::logs::{Fixture, lines};

/// A finished job with two objects in the store, as if it had ended so many days ago.
async fn finished(fixture: &Fixture, archived: bool) -> Vec<String> {
    fixture.append(1, &lines(1..=3)).await;
    fixture.store(1, "a", b"x").await;
    fixture.finish_artifacts(1, &[("a", Stored)]).await;
    fixture.end(1, None, Some(3)).await;
    if archived {
        fixture.archive().await;
    }
    let mut sql = fixture.installation.sql().await;
    sqlx::query_scalar(
        "select object_key from artifacts union all select archive ->> 'key' from log_heads where archive is not null",
    )
    .fetch_all(&mut sql)
    .await
    .unwrap()
}

async fn ended_days_ago(fixture: &Fixture, days: i32) {
    let mut sql = fixture.installation.sql().await;
    sqlx::query("update jobs set finished_at = now() - make_interval(days => $1)")
        .bind(days)
        .execute(&mut sql)
        .await
        .unwrap();
}

async fn rows(fixture: &Fixture, table: &'static str) -> i64 {
    let mut sql = fixture.installation.sql().await;
    let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(count).fetch_one(&mut sql).await.unwrap()
}

async fn stored(fixture: &Fixture, keys: &[String]) -> usize {
    let mut found = 0;
    for key in keys {
        found += usize::from(fixture.installation.state().s3.head(key).await.unwrap().is_some());
    }
    found
}

#[tokio::test]
async fn log_and_artifacts_go_after_their_time_and_readers_are_told_so() {
    for archived in [true, false] {
        let fixture = Fixture::new().await;
        let keys = finished(&fixture, archived).await;
        ended_days_ago(&fixture, 6).await;
        retention::tick(fixture.installation.state()).await.unwrap();
        assert_eq!(stored(&fixture, &keys).await, 1 + usize::from(archived), "it is kept for seven days");

        ended_days_ago(&fixture, 8).await;
        for _ in 0..2 {
            retention::tick(fixture.installation.state()).await.unwrap();
            assert_eq!(stored(&fixture, &keys).await, 0);
            assert_eq!((rows(&fixture, "log_chunks").await, rows(&fixture, "artifacts").await), (0, 0));
        }
        ckrv_server::logs::archive::tick(fixture.installation.state()).await.unwrap();
        assert_eq!(fixture.read("text/plain", "").await.status(), StatusCode::GONE);
        for path in ["", "/a"] {
            assert_eq!(fixture.get(path).await.status(), StatusCode::GONE, "{path}");
        }
        let job = fixture.installation.client().job(fixture.job).await.unwrap();
        assert!(job.state.is_terminal() && job.attempts.len() == 1, "the job itself is still known");
    }
}

#[tokio::test]
async fn the_jobs_row_goes_later_with_all_that_hangs_on_it() {
    let fixture = Fixture::new().await;
    let keys = finished(&fixture, true).await;
    ended_days_ago(&fixture, 91).await;
    fixture.installation.s3().set_refusing(true);
    assert!(retention::tick(fixture.installation.state()).await.is_err());
    assert_eq!(rows(&fixture, "jobs").await, 1, "what lies in the store must not be forgotten");
    assert_eq!(fixture.read("text/plain", "").await.status(), StatusCode::GONE, "it is gone for readers all the same");

    fixture.installation.s3().set_refusing(false);
    retention::tick(fixture.installation.state()).await.unwrap();
    assert_eq!(stored(&fixture, &keys).await, 0);
    for table in ["jobs", "attempts", "job_events", "log_heads", "log_chunks", "artifacts"] {
        assert_eq!(rows(&fixture, table).await, 0, "{table}");
    }
    assert_eq!(fixture.get("").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_a_worker_put_and_never_said_to_be_stored_is_removed_with_the_rest() {
    let fixture = Fixture::new().await;
    // One arrived, one is on its way when the worker is lost, and arrives all the same.
    fixture.store(1, "arrived", b"x").await;
    let late: Upload = fixture.offer(1, &artifact("late", b"y")).await.json().await.unwrap();
    fixture.end(1, Some(Cause::WorkerLost), None).await;
    assert_eq!(fixture.put(&late, b"y").await, StatusCode::OK);
    let left = fixture.manifest().await.items;
    assert!(left.len() == 2 && left.iter().all(|item| item.status == Failed), "{left:?}");
    assert_eq!(fixture.get("/arrived").await.status(), StatusCode::NOT_FOUND);

    fixture.end(2, Some(Cause::AgentExit), None).await;
    let mut sql = fixture.installation.sql().await;
    let keys: Vec<String> = sqlx::query_scalar("select object_key from artifacts").fetch_all(&mut sql).await.unwrap();
    assert_eq!(stored(&fixture, &keys).await, 2);
    ended_days_ago(&fixture, 8).await;
    retention::tick(fixture.installation.state()).await.unwrap();
    assert_eq!((stored(&fixture, &keys).await, rows(&fixture, "artifacts").await), (0, 0));
}

#[tokio::test]
async fn a_running_job_is_never_touched() {
    let fixture = Fixture::new().await;
    fixture.append(1, &lines(1..=3)).await;
    let mut sql = fixture.installation.sql().await;
    sqlx::query("update jobs set created_at = now() - interval '1 year'").execute(&mut sql).await.unwrap();
    retention::tick(fixture.installation.state()).await.unwrap();
    assert_eq!(fixture.texts("").await.len(), 3);
}
