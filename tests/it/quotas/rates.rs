//! Requests a minute of an organization: of all its callers together, over all replicas.

use std::time::{Duration, Instant};

use ckrv_tests::replica::{Installation, Loops};
use ckrv_tests::wait::wait_for;
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
    // What was refused is believed to be for a second at most.
    wait_for("the key is granted a request again", Duration::from_secs(10), async || {
        let answer = get(&on.replica, &on.keys().api_key, "/v1/whoami").await;
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
    let used = standing(&on.replica, &on.keys().api_key, Measure::RequestsPerMinute).await;
    assert!((1..=4).contains(&used.used) && used.limit == Some(100) && used.resets_at.is_some(), "{used:?}");
}

#[tokio::test]
async fn who_asks_on_beyond_the_limit_is_answered_late_and_asks_the_database_no_more() {
    let on = Installation::with(Loops::Off, &["--rate-per-key", "1"]).await;
    get(&on.replica, &on.keys().api_key, "/v1/whoami").await;
    let asks = async || get(&on.replica, &on.keys().api_key, "/v1/whoami").await.status();
    let begun = Instant::now();
    assert_eq!(asks().await, StatusCode::TOO_MANY_REQUESTS);
    assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    let mut sql = on.sql().await;
    let mut statement = async |text: &'static str| sqlx::raw_sql(text).execute(&mut sql).await.map(drop).unwrap();
    // What is known is believed for a second, which a busy machine may spend elsewhere.
    for _ in 0..5 {
        assert_eq!(asks().await, StatusCode::TOO_MANY_REQUESTS);
        // Whoever asked for the row now would wait for it.
        statement("begin; update rate_limits set arrives_at = arrives_at").await;
        let many = futures::future::join_all((0..20).map(|_| asks()));
        let refused = tokio::time::timeout(Duration::from_secs(2), many).await;
        statement("rollback").await;
        if let Ok(refused) = refused {
            assert_eq!(refused, [StatusCode::TOO_MANY_REQUESTS; 20]);
            return;
        }
    }
    panic!("the database was asked for what is known");
}
