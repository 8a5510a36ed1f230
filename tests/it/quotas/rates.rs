//! Requests a minute of an organization: of all its callers together, over all replicas.

use ckrv_tests::replica::{Installation, Loops};
use ckrv_types::quota::Measure;
use ckrv_types::{Problem, ProblemCode};
use reqwest::{Response, StatusCode};

use super::{get, limit, standing};

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn an_organization_has_so_many_requests_a_minute_over_all_replicas_and_keys() {
    let on = Installation::new(Loops::Off).await;
    let other = on.another_replica(Loops::Off).await;
    limit(&on, on.keys().org, "requests_per_minute", Some(6)).await;
    let key = &on.keys().api_key;
    for number in 0..6 {
        let answer = get(if number % 2 == 0 { &on.replica } else { &other }, key, "/v1/whoami").await;
        assert_eq!(answer.status(), StatusCode::OK, "request {number}");
        assert_eq!(header(&answer, "ratelimit-policy"), r#""organization";q=6;w=60"#);
        assert!(
            header(&answer, "ratelimit").starts_with(&format!(r#""organization";r={};t="#, 5 - number)),
            "{answer:?}"
        );
    }
    for replica in [&on.replica, &other] {
        let refused = get(replica, key, "/v1/whoami").await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(header(&refused, "ratelimit").starts_with(r#""organization";r=0;t="#), "{refused:?}");
        let seconds: u64 = header(&refused, "retry-after").parse().unwrap();
        assert!((1..=10).contains(&seconds), "one is granted every ten seconds, not in {seconds} s");
        let problem: Problem = refused.json().await.unwrap();
        assert_eq!((problem.code, problem.retryable), (ProblemCode::RateLimited, true));
        assert!(problem.detail.unwrap().contains("organization may send 6"));
    }
    let neighbour = on.organization("neighbours").await.api_key;
    let answer = get(&on.replica, &neighbour, "/v1/whoami").await;
    assert_eq!((answer.status(), header(&answer, "ratelimit")), (StatusCode::OK, ""), "it has no limit at all");
}

#[tokio::test]
async fn what_one_key_sends_beyond_its_own_limit_takes_nothing_from_the_organization() {
    let on = Installation::with(Loops::Off, &["--rate-per-key", "2"]).await;
    limit(&on, on.keys().org, "requests_per_minute", Some(100)).await;
    for _ in 0..2 {
        let answer = get(&on.replica, &on.keys().api_key, "/v1/whoami").await;
        assert_eq!(header(&answer, "ratelimit-policy"), r#""key";q=2;w=60, "organization";q=100;w=60"#);
    }
    for _ in 0..20 {
        let refused = get(&on.replica, &on.keys().api_key, "/v1/whoami").await;
        assert_eq!(
            (refused.status(), header(&refused, "ratelimit-policy")),
            (StatusCode::TOO_MANY_REQUESTS, r#""key";q=2;w=60"#)
        );
    }
    sqlx::query("delete from rate_limits where bucket like 'key:%'").execute(&mut on.sql().await).await.unwrap();
    let used = standing(&on.replica, &on.keys().api_key, Measure::RequestsPerMinute).await;
    assert!((1..=3).contains(&used.used) && used.limit == Some(100) && used.resets_at.is_some(), "{used:?}");
}
