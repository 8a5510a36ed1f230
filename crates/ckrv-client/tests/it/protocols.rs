//! The runner's and the worker's calls: one try unless asked, and answers that tell what to do.

use std::time::Duration;

use bytes::Bytes;
use ckrv_client::runner::RunnerClient;
use ckrv_client::worker::{AppendError, WorkerClient};
use ckrv_types::Secret;

use crate::peer::{Peer, Reply};

const UNAVAILABLE: &str = r#"{"title":"Temporarily unavailable","status":503,"code":"unavailable","retryable":true}"#;

#[tokio::test]
async fn a_worker_tries_once_unless_it_asks_for_more() {
    let peer = Peer::start(|number, _| match number {
        0 | 1 => Reply::problem("503 Service Unavailable", &[], UNAVAILABLE),
        _ => Reply::json(r#"{"next_seq":4,"over_limit":false}"#),
    })
    .await;
    let worker = WorkerClient::new(peer.config()).unwrap();
    let error = worker.append(1, Bytes::from_static(b"frame")).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(peer.requests().len(), 1);
    let appended = worker.with_retry(Duration::from_secs(5)).append(1, Bytes::from_static(b"frame")).await.unwrap();
    assert_eq!(appended.next_seq, 4);
    let request = &peer.requests()[2];
    assert_eq!(request.target, "/v1/worker/logs?first_seq=1");
    assert_eq!(request.header("content-type"), Some("application/vnd.ckrv.log+zstd"));
    assert_eq!(request.body, "frame");
}

#[tokio::test]
async fn an_append_tells_where_to_go_on_and_when_to_stop() {
    let peer = Peer::start(|number, _| match number {
        0 => Reply::problem("409 Conflict", &[], r#"{"title":"t","status":409,"code":"log_gap","expected_seq":7}"#),
        _ => Reply::problem("410 Gone", &[], r#"{"title":"t","status":410,"code":"sealed","sealed_seq":9}"#),
    })
    .await;
    let worker = WorkerClient::new(peer.config()).unwrap().with_token(&Secret::new("attempt")).unwrap();
    let first = worker.append(9, Bytes::new()).await.unwrap_err();
    assert!(matches!(first, AppendError::Gap { expected: 7 }), "{first:?}");
    let second = worker.append(7, Bytes::new()).await.unwrap_err();
    assert!(matches!(second, AppendError::Sealed { seq: 9 }) && !second.is_retryable(), "{second:?}");
    assert_eq!(peer.requests()[0].header("authorization"), Some("Bearer attempt"));
}

#[tokio::test]
async fn a_runner_asks_for_what_is_newer() {
    let peer = Peer::start(|_, _| Reply::json(r#"{"version":3,"items":[]}"#)).await;
    let runner = RunnerClient::new(peer.config()).unwrap();
    assert_eq!(runner.assignments(Duration::from_secs(20), Some(2)).await.unwrap().version, 3);
    runner.assignments(Duration::ZERO, None).await.unwrap();
    let targets: Vec<String> = peer.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/v1/runner/assignments?wait=20&after=2", "/v1/runner/assignments?wait=0"]);
}
