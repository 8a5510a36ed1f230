//! Single requests: what is repeated, what is not, and how refusals read.

use std::time::Duration;

use ckrv_client::{Client, ClientConfig, ClientError, ListJobs, Retry};
use ckrv_types::job::SubmitJob;
use ckrv_types::{JobId, JobSpec, ProblemCode, State};

use crate::peer::{Peer, Reply};

const UNAVAILABLE: &str = r#"{"title":"Temporarily unavailable","status":503,"code":"unavailable","retryable":true}"#;

fn submit() -> SubmitJob {
    SubmitJob { spec: JobSpec { command: vec!["true".into()], ..JobSpec::new("https://a.example/b") }, project: None }
}

fn job(id: JobId) -> String {
    let spec = serde_json::to_string(&submit().spec).unwrap();
    format!(
        r#"{{"id":"{id}","org":"org-01k9zj3m5r8w2t6y4x0v7q1n5d","project":"prj-01k9zj3m5r8w2t6y4x0v7q1n5d","spec":{spec},"state":"queued","attempt":1,"created_at":"2026-01-01T00:00:00Z"}}"#
    )
}

#[tokio::test]
async fn a_submission_whose_answer_is_lost_is_repeated_under_the_same_key() {
    let id = JobId::new();
    let peer = Peer::start(move |number, _| match number {
        0 => Reply::json(&job(id)).cut(30),
        1 => Reply::problem("503 Service Unavailable", &[], UNAVAILABLE),
        _ => Reply::json(&job(id)),
    })
    .await;
    let client = peer.client();
    assert_eq!(client.submit(&submit()).await.unwrap().id, id);
    client.submit(&submit()).await.unwrap();
    assert!(peer.requests().iter().all(|r| r.method == "POST" && r.target == "/v1/jobs"));
    let keys: Vec<String> = peer.requests().iter().map(|r| r.header("idempotency-key").unwrap().to_owned()).collect();
    assert_eq!(keys[0].len(), 32);
    assert_eq!(keys[..3], vec![keys[0].clone(); 3], "one call has one key");
    assert_ne!(keys[0], keys[3], "another call has another key");
    assert!(peer.requests().iter().all(|r| r.body == serde_json::to_string(&submit()).unwrap()));
}

#[tokio::test]
async fn each_request_says_who_asks() {
    let peer = Peer::start(|_, _| Reply::json(r#"{"items":[]}"#)).await;
    peer.client().jobs(&ListJobs::default()).await.unwrap();
    let request = &peer.requests()[0];
    assert_eq!(request.header("authorization"), Some("Bearer ck_live_test"));
    assert_eq!(request.header("user-agent"), Some("ckrv-tests/1"));
}

#[tokio::test]
async fn a_list_sends_its_conditions() {
    let peer = Peer::start(|_, _| Reply::json(r#"{"items":[],"next":"n"}"#)).await;
    let list = ListJobs {
        limit: Some(3),
        states: vec![State::Running, State::TimedOut],
        labels: vec![("team".into(), "a b&c".into())],
        ..ListJobs::default()
    };
    assert_eq!(peer.client().jobs(&list).await.unwrap().next.as_deref(), Some("n"));
    assert_eq!(peer.requests()[0].target, "/v1/jobs?limit=3&state=running&state=timed_out&label=team%3Da+b%26c");
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_says_why() {
    let body = r#"{"title":"No such thing","status":404,"code":"not_found","detail":"no job x","hint":"ckrv list","request_id":"r1"}"#;
    let peer = Peer::start(move |_, _| Reply::problem("404 Not Found", &[], body)).await;
    let error = peer.client().job(JobId::new()).await.unwrap_err();
    assert_eq!(error.problem_code(), Some(ProblemCode::NotFound));
    assert_eq!(error.request_id(), Some("r1"));
    assert_eq!(error.to_string(), "no job x");
    assert!(!error.is_retryable() && !error.is_unreachable());
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_ckrvs_is_named_as_such() {
    let peer =
        Peer::start(|_, _| Reply::status("404 Not Found", &[("content-type", "text/html")], "<h1>nginx</h1>")).await;
    let error = peer.client().whoami().await.unwrap_err();
    assert!(matches!(error, ClientError::Status { status: 404, .. }), "{error:?}");
    let peer = Peer::start(|_, _| Reply::json("[]")).await;
    let error = peer.client().whoami().await.unwrap_err();
    assert!(matches!(error, ClientError::Body { what: "an identity", .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_after_retries() {
    let url = Peer::start(|_, _| Reply::json("{}")).await.url.clone();
    let config = ClientConfig {
        retry: Retry::within(Duration::from_millis(300)),
        ..ClientConfig::new(url.clone(), ckrv_types::Secret::new("t"), "x")
    };
    let error = Client::new(config).unwrap().health().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(error.is_unreachable() && error.is_retryable());
    assert_eq!(error.to_string(), format!("cannot reach {}", url.as_str().trim_end_matches('/')));
}

#[tokio::test]
async fn a_redirect_of_an_api_route_is_refused() {
    let peer =
        Peer::start(|_, _| Reply::status("307 Temporary Redirect", &[("location", "http://127.0.0.1:1/steal?x")], ""))
            .await;
    let error = peer.client().whoami().await.unwrap_err();
    assert!(matches!(&error, ClientError::Redirect { to, .. } if to == "http://127.0.0.1:1/steal"), "{error:?}");
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn routes_go_below_the_servers_path() {
    let peer = Peer::start(|_, _| Reply::json("{}")).await;
    let config = ClientConfig { server: peer.url.join("/base/").unwrap(), ..peer.config() };
    Client::new(config).unwrap().health().await.unwrap();
    assert_eq!(peer.requests()[0].target, "/base/v1/health");
}
