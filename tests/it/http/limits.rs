use std::time::Duration;

use ckrv_server::auth::{KeyOwner, Principal};
use ckrv_tests::replica::{Loops, spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::WhoAmI;
use ckrv_types::{Problem, ProblemCode, ServiceAccountId, limits};
use reqwest::{Response, StatusCode};

use super::Plain;

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn a_key_has_so_many_requests_a_minute_over_all_replicas() {
    let plain = Plain::with(&["--rate-per-key", "6"]).await;
    let other = plain.installation.another_replica_with(Loops::Off, &["--rate-per-key", "6"]).await;
    let urls = [plain.url("/v1/whoami"), other.url().join("/v1/whoami").unwrap().to_string()];
    for (number, url) in urls.iter().cycle().take(6).enumerate() {
        let response = plain.http.get(url).bearer_auth(plain.key()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "request {number}");
        assert_eq!(header(&response, "ratelimit-policy"), r#""key";q=6;w=60"#);
        assert!(header(&response, "ratelimit").starts_with(&format!(r#""key";r={};t="#, 5 - number)), "{response:?}");
    }
    for url in &urls {
        let refused = plain.http.get(url).bearer_auth(plain.key()).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let seconds: u64 = header(&refused, "retry-after").parse().unwrap();
        assert!((1..=10).contains(&seconds), "one is granted every ten seconds, not in {seconds} s");
        let problem: Problem = refused.json().await.unwrap();
        assert_eq!((problem.code, problem.retryable), (ProblemCode::RateLimited, true));
    }
    let neighbour = plain.installation.organization("neighbours").await.api_key;
    let response = plain.http.get(&urls[0]).bearer_auth(neighbour.expose()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "another key has its own allowance");
}

#[tokio::test]
async fn a_key_is_granted_exactly_as_many_requests_as_allowed_when_all_come_at_once() {
    let plain = Plain::with(&["--rate-per-key", "20"]).await;
    let other = plain.installation.another_replica_with(Loops::Off, &["--rate-per-key", "20"]).await;
    let urls = [plain.url("/v1/whoami"), other.url().join("/v1/whoami").unwrap().to_string()];
    let ask = |url: &String| plain.http.get(url).bearer_auth(plain.key()).send();
    let begun = std::time::Instant::now();
    let answers = futures::future::join_all(urls.iter().cycle().take(60).map(ask)).await;
    let granted = answers.iter().filter(|answer| answer.as_ref().unwrap().status() == StatusCode::OK).count();
    // One more is granted every three seconds.
    let refilled = usize::try_from(begun.elapsed().as_secs() / 3).unwrap() + 1;
    assert!((20..=20 + refilled).contains(&granted), "{granted} of 60");
}

#[tokio::test]
async fn the_authorization_server_has_the_same_limit_by_address() {
    let plain = Plain::with(&["--rate-per-address", "3"]).await;
    let ask = async |path: &str| {
        let form = [("client_id", "ckrv-cli"), ("grant_type", "refresh_token"), ("refresh_token", "guess")];
        plain.http.post(plain.url(path)).form(&form).send().await.unwrap()
    };
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/token"] {
        assert_ne!(ask(path).await.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/device_authorization"] {
        let refused = ask(path).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert!(header(&refused, "retry-after").parse::<u64>().is_ok_and(|wait| wait <= 20), "{path}");
    }
}

#[tokio::test]
async fn an_address_has_so_many_requests_a_minute_before_anybody_looks_at_its_credential() {
    let plain = Plain::with(&["--rate-per-address", "3"]).await;
    for _ in 0..3 {
        let guess = plain.http.get(plain.url("/v1/whoami")).bearer_auth("guess").send().await.unwrap();
        assert_eq!(guess.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(header(&guess, "ratelimit-policy"), r#""address";q=3;w=60"#);
    }
    let refused = plain.http.get(plain.url("/v1/whoami")).bearer_auth(plain.key()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(header(&refused, "ratelimit").contains("r=0"));
    let health = plain.http.get(plain.url("/healthz")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK, "a load balancer is not turned away");
    let forged = plain.http.get(plain.url("/v1/whoami")).header("x-forwarded-for", "9.9.9.9").send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::TOO_MANY_REQUESTS, "nobody is believed to be somebody else");
}

#[tokio::test]
async fn workers_are_charged_for_refused_credentials_alone() {
    let plain = Plain::with(&["--rate-per-address", "3"]).await;
    let attempt = ckrv_types::AttemptId { job: ckrv_types::JobId::new(), number: 1 };
    let good = plain.installation.state().signer.attempt_token(plain.installation.keys().org, attempt, &"0".repeat(32));
    let append = async |token: &str| {
        let request = plain.http.post(plain.url("/v1/worker/logs?first_seq=1")).bearer_auth(token);
        request.header("content-type", "text/plain").send().await.unwrap().status()
    };
    for _ in 0..10 {
        assert_eq!(append(good.expose()).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    for _ in 0..3 {
        assert_eq!(append("guess").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(append("guess").await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_caller_has_so_many_streams_open_and_is_refused_one_more_of_any_kind() {
    let plain = Plain::with(&[]).await;
    let job = submit(&plain.installation.client(), spec()).await.id;
    let ask = async |path: &str, accept: &str, key: &str| {
        plain.http.get(plain.url(path)).bearer_auth(key).header("accept", accept).send().await.unwrap()
    };
    let me: WhoAmI = ask("/v1/whoami", "application/json", plain.key()).await.json().await.unwrap();
    // As many connections would be more than a process has files.
    let caller = Principal::Key { key: me.key.unwrap().id, owner: KeyOwner::ServiceAccount(ServiceAccountId::new()) };
    let streams = &plain.installation.state().streams;
    let mut open: Vec<_> = (0..limits::STREAMS_PER_KEY).map(|_| streams.open(caller).unwrap()).collect();
    let paths = [
        (format!("/v1/jobs/{job}/logs?follow=true"), "text/plain"),
        (format!("/v1/jobs/{job}/logs"), "text/event-stream"),
        (format!("/v1/jobs/{job}/events"), "text/event-stream"),
        ("/v1/audit".to_owned(), "application/x-ndjson"),
    ];
    for (path, accept) in &paths {
        let refused = ask(path, accept, plain.key()).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{path} as {accept}");
        let problem: Problem = refused.json().await.unwrap();
        assert_eq!(problem.code, ProblemCode::RateLimited, "{path} as {accept}");
    }
    open.pop();
    for (path, accept) in &paths {
        let answer = ask(path, accept, plain.key()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path} as {accept}");
        drop(answer);
        wait_for("the stream's place is free again", Duration::from_secs(10), async || {
            streams.open(caller).ok().map(drop)
        })
        .await;
    }
}
