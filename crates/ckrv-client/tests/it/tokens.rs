//! Credentials that are renewed while they are used.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ckrv_client::{Client, ClientConfig, ClientError, Credential, ListJobs, LogQuery, TokenError, TokenSource};
use ckrv_types::{JobId, ProblemCode, Secret};
use futures::StreamExt as _;
use futures::future::BoxFuture;

use crate::peer::{Peer, Reply, Request};

const REFUSED: &str = r#"{"title":"Not signed in","status":401,"code":"unauthenticated"}"#;

/// Gives out `token-1` until that is refused, then `token-2`, up to its last one.
struct Tokens {
    now: Mutex<usize>,
    last: usize,
    asked: AtomicUsize,
}

impl Tokens {
    fn up_to(last: usize) -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(1), last, asked: AtomicUsize::new(0) })
    }
}

impl TokenSource for Tokens {
    fn token<'a>(&'a self, refused: Option<&'a Secret>) -> BoxFuture<'a, Result<Secret, TokenError>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let mut now = self.now.lock().unwrap();
            if refused.is_some() && *now < self.last {
                *now += 1;
            }
            Ok(Secret::new(format!("token-{now}")))
        })
    }
}

fn client(peer: &Peer, source: Arc<dyn TokenSource>) -> Client {
    Client::new(ClientConfig { credential: Credential::Source(source), ..peer.config() }).unwrap()
}

fn has(request: &Request, token: &str) -> bool {
    request.header("authorization") == Some(&format!("Bearer {token}"))
}

fn refused() -> Reply {
    Reply::problem("401 Unauthorized", &[], REFUSED)
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_and_the_request_sent_again() {
    let peer =
        Peer::start(|_, request| if has(request, "token-2") { Reply::json(r#"{"items":[]}"#) } else { refused() })
            .await;
    let client = client(&peer, Tokens::up_to(9));
    client.jobs(&ListJobs::default()).await.unwrap();
    assert_eq!(peer.requests().len(), 2);
    client.jobs(&ListJobs::default()).await.unwrap();
    assert_eq!(peer.requests().len(), 3, "the new one is used from now on");
}

#[tokio::test]
async fn a_token_is_renewed_once_for_a_request_and_not_again() {
    let peer = Peer::start(|_, _| refused()).await;
    let error = client(&peer, Tokens::up_to(9)).jobs(&ListJobs::default()).await.unwrap_err();
    assert_eq!(error.problem_code(), Some(ProblemCode::Unauthenticated));
    assert_eq!(peer.requests().len(), 2);
}

#[tokio::test]
async fn where_there_is_no_other_token_the_refusal_stands() {
    let peer = Peer::start(|_, _| refused()).await;
    let error = client(&peer, Tokens::up_to(1)).jobs(&ListJobs::default()).await.unwrap_err();
    assert_eq!(error.problem_code(), Some(ProblemCode::Unauthenticated));
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn each_connection_of_a_stream_asks_for_a_token() {
    // The first connection is cut, the second has a token that has died meanwhile.
    let status =
        "event: status\ndata: {\"attempt\":1,\"state\":\"running\",\"at\":\"2026-01-01T00:00:00Z\"}\n\n".to_owned();
    let peer = Peer::start(move |number, request| match number {
        0 => Reply::events(std::slice::from_ref(&status)),
        1 => refused(),
        _ if has(request, "token-2") => Reply::status("204 No Content", &[], ""),
        _ => refused(),
    })
    .await;
    let tokens = Tokens::up_to(9);
    let client = client(&peer, tokens.clone());
    let query = LogQuery { follow: true, give_up: Duration::from_secs(5), ..LogQuery::default() };
    let events: Vec<_> = client.logs(JobId::new(), query).collect().await;
    assert!(events.len() == 1 && events[0].is_ok(), "{events:?}");
    assert_eq!(peer.requests().len(), 3);
    assert_eq!(tokens.asked.load(Ordering::Relaxed), 3);
}

/// Has nothing to give.
struct Nothing;

impl TokenSource for Nothing {
    fn token<'a>(&'a self, _refused: Option<&'a Secret>) -> BoxFuture<'a, Result<Secret, TokenError>> {
        Box::pin(async { Err(TokenError::Missing("signed out".into())) })
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let peer = Peer::start(|_, _| Reply::json("{}")).await;
    let error = client(&peer, Arc::new(Nothing)).whoami().await.unwrap_err();
    assert!(matches!(&error, ClientError::Token(TokenError::Missing(_))), "{error:?}");
    assert!(!error.is_retryable() && !error.is_unreachable());
    assert_eq!(error.to_string(), "signed out");
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn a_request_names_its_organization_if_there_is_one() {
    let peer = Peer::start(|_, _| Reply::json(r#"{"items":[]}"#)).await;
    peer.client().jobs(&ListJobs::default()).await.unwrap();
    let config = ClientConfig { org: Some("acme".into()), ..peer.config() };
    Client::new(config).unwrap().jobs(&ListJobs::default()).await.unwrap();
    let requests = peer.requests();
    assert_eq!(requests[0].header("ckrv-org"), None);
    assert_eq!(requests[1].header("ckrv-org"), Some("acme"));
}
