//! What organizations may use, held to exactly over replicas, counted once, and told.

mod counting;
mod fields;
mod neighbours;
mod rates;
mod room;
mod tiers;
mod turns;

use ckrv_client::ClientError;
use ckrv_tests::replica::{Installation, Replica};
use ckrv_types::quota::{Measure, Quota, QuotaLimit, UsageReport};
use ckrv_types::{OrgId, Problem, ProblemCode, Secret};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use sqlx::AssertSqlSafe;

/// Sets a limit of one organization; none: unlimited.
pub async fn limit(on: &Installation, org: OrgId, what: &str, most: Option<i32>) {
    let statement = format!(
        "insert into org_limits (org_id, {what}) values ($1, $2) on conflict (org_id) do update set {what} = excluded.{what}"
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(org.uuid())
        .bind(most.unwrap_or(-1))
        .execute(&mut on.sql().await)
        .await
        .unwrap();
}

/// The problem by which a quota was refused.
#[track_caller]
pub fn exceeded<T>(answer: Result<T, ClientError>) -> (Problem, QuotaLimit) {
    let error = answer.err().expect("it is refused");
    let problem = error.problem().unwrap_or_else(|| panic!("not a problem: {error}")).clone();
    assert_eq!((problem.code, problem.status, problem.retryable), (ProblemCode::QuotaExceeded, 403, false));
    let quota = problem.quota.clone().expect("it says which");
    (problem, quota)
}

pub async fn get(on: &Replica, key: &Secret, path: &str) -> Response {
    let url = on.url().join(path).unwrap();
    reqwest::Client::new().get(url).bearer_auth(key.expose()).send().await.unwrap()
}

pub async fn read<T: DeserializeOwned>(on: &Replica, key: &Secret, path: &str) -> T {
    let answer = get(on, key, path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer.json().await.unwrap()
}

pub async fn quota(on: &Replica, key: &Secret) -> Quota {
    read(on, key, "/v1/quota").await
}

pub async fn usage(on: &Replica, key: &Secret, query: &str) -> UsageReport {
    read(on, key, &format!("/v1/usage{query}")).await
}

/// How one of the limits stands.
pub async fn standing(on: &Replica, key: &Secret, measure: Measure) -> QuotaLimit {
    quota(on, key).await.limits.into_iter().find(|limit| limit.quota == measure).unwrap()
}
