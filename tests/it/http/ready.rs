use std::time::Duration;

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

#[tokio::test]
async fn readiness_says_what_is_missing_and_liveness_does_not_care() {
    let plain = Plain::with(&[]).await;
    wait_until_missing(&plain, &[]).await;
    plain.installation.s3().set_refusing(true);
    wait_until_missing(&plain, &["storage"]).await;
    plain.installation.s3().set_refusing(false);

    let mut sql = plain.installation.sql().await;
    sqlx::query("alter table _sqlx_migrations rename to elsewhere").execute(&mut sql).await.unwrap();
    wait_until_missing(&plain, &["schema"]).await;
    sqlx::query("alter table elsewhere rename to _sqlx_migrations").execute(&mut sql).await.unwrap();
    wait_until_missing(&plain, &[]).await;
    let health = plain.http.get(plain.url("/v1/health")).send().await.unwrap();
    assert_eq!(health.json::<serde_json::Value>().await.unwrap()["status"], "ok");
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

#[tokio::test]
async fn measurements_have_few_labels_and_no_ids() {
    let plain = Plain::with(&[]).await;
    let job = ckrv_types::JobId::new();
    let _ = plain.http.get(plain.url(&format!("/v1/jobs/{job}"))).bearer_auth(plain.key()).send().await.unwrap();
    let _ = plain.http.get(plain.url("/scan/me?x=1")).send().await.unwrap();
    let text = plain.http.get(plain.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains(r#"ckrv_http_requests_total{route="/v1/jobs/{id}",method="GET",status="4xx"} 1"#), "{text}");
    assert!(text.contains(r#"route="none""#) && !text.contains("scan"), "{text}");
    assert!(!text.contains(&job.to_string()));
    assert!(text.contains(r#"ckrv_database_connections{pool="app""#), "{text}");
}
