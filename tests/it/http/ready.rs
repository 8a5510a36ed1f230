//! What a server says of itself on its main listener.

use std::time::Duration;

use ckrv_tests::replica::Loops;
use ckrv_tests::wait::wait_for;
use ckrv_types::Problem;
use reqwest::StatusCode;

use super::Plain;

async fn missing(plain: &Plain) -> Option<Vec<String>> {
    let response = plain.http.get(plain.url("/readyz")).send().await.unwrap();
    if response.status() == StatusCode::OK {
        return Some(Vec::new());
    }
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let problem: Problem = response.json().await.unwrap();
    Some(problem.errors.into_iter().map(|error| error.field).collect())
}

async fn wait_until_missing(plain: &Plain, expected: &[&str]) {
    let same = async || missing(plain).await.filter(|missing| missing == expected).map(drop);
    wait_for(&format!("readiness misses {expected:?}"), Duration::from_secs(20), same).await;
}

async fn execute(plain: &Plain, statement: &'static str) {
    sqlx::query(statement).execute(&mut plain.installation.sql().await).await.unwrap();
}

#[tokio::test]
async fn readiness_says_what_is_missing_and_liveness_does_not_care() {
    let plain = Plain::with(&[]).await;
    wait_until_missing(&plain, &[]).await;
    execute(&plain, "alter table _sqlx_migrations rename to elsewhere").await;
    wait_until_missing(&plain, &["schema"]).await;
    assert_eq!(plain.http.get(plain.url("/healthz")).send().await.unwrap().status(), StatusCode::OK);
    execute(&plain, "alter table elsewhere rename to _sqlx_migrations").await;
    wait_until_missing(&plain, &[]).await;
    let health = plain.http.get(plain.url("/v1/health")).send().await.unwrap();
    assert_eq!(health.json::<serde_json::Value>().await.unwrap()["status"], "ok");
}

#[tokio::test]
async fn a_server_whose_pools_are_mixed_up_is_not_ready() {
    let plain = Plain::with(&[]).await;
    let app = plain.installation.urls().app.expose();
    let mixed = plain.installation.another_replica_with(Loops::Off, &["--system-database-url", app]).await;
    let answer = plain.http.get(mixed.url().join("/readyz").unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = answer.text().await.unwrap();
    assert!(text.contains(r#""field":"roles""#) && !text.contains("ckrv_"), "{text}");
}

#[tokio::test]
async fn without_a_database_it_is_alive_and_not_ready() {
    // Nothing listens there.
    let nowhere = "postgres://ckrv_app:x@127.0.0.1:9/ckrv";
    let plain = Plain::with(&["--database-url", nowhere, "--system-database-url", nowhere]).await;
    assert_eq!(plain.http.get(plain.url("/healthz")).send().await.unwrap().status(), StatusCode::OK);
    wait_until_missing(&plain, &["database"]).await;
    let answer = plain.http.get(plain.url("/v1/whoami")).bearer_auth(plain.key()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
}
