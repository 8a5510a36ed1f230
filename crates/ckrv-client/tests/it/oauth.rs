//! The client's side of OAuth 2.0, against a server that says what the test wants. The real one is tested with it in the
//! workspace's `tests`.

use std::time::{Duration, Instant};

use ckrv_client::oauth::{AuthorizationServer, OAuthError, Tokens};
use ckrv_client::{ClientConfig, ClientError};
use ckrv_types::Secret;
use url::form_urlencoded;

use crate::peer::{Peer, Reply, Request};

const TOKENS: &str = r#"{"access_token":"access","token_type":"Bearer","expires_in":600,"refresh_token":"next"}"#;
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// Answers the metadata with all endpoints at itself; the n-th other request (from 0) by `answer`.
async fn server(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Peer {
    Peer::start(move |number, request| {
        let base = format!("http://{}", request.header("host").unwrap());
        if request.target == METADATA { Reply::json(&metadata(&base, &base)) } else { answer(number - 1, request) }
    })
    .await
}

fn metadata(issuer: &str, base: &str) -> String {
    format!(
        r#"{{"issuer":"{issuer}","token_endpoint":"{base}/token","authorization_endpoint":"{base}/authorize",
            "device_authorization_endpoint":"{base}/device_authorization","revocation_endpoint":"{base}/revoke",
            "code_challenge_methods_supported":["S256"],"authorization_response_iss_parameter_supported":true}}"#
    )
}

async fn discover(peer: &Peer) -> Result<AuthorizationServer, OAuthError> {
    AuthorizationServer::discover(&peer.config()).await
}

fn form(request: &Request) -> Vec<(String, String)> {
    form_urlencoded::parse(request.body.as_bytes()).into_owned().collect()
}

fn field(request: &Request, name: &str) -> Option<String> {
    form(request).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn refused(error: &str) -> Reply {
    Reply::status("400 Bad Request", &[("content-type", "application/json")], &format!(r#"{{"error":"{error}"}}"#))
}

fn device(request: &Request, verification_host: Option<&str>) -> Reply {
    codes(verification_host.unwrap_or_else(|| request.header("host").unwrap()), "", 60)
}

/// `more`: further members, each with a comma behind it.
fn codes(host: &str, more: &str, expires_in: u32) -> Reply {
    Reply::json(&format!(
        r#"{{"device_code":"secret","user_code":"BCDF-GHJK","verification_uri":"http://{host}/device",{more}
            "expires_in":{expires_in},"interval":1}}"#
    ))
}

#[tokio::test]
async fn a_server_that_says_to_be_another_is_not_asked_for_anything() {
    let peer = Peer::start(|_, request| {
        let base = format!("http://{}", request.header("host").unwrap());
        Reply::json(&metadata("https://other.example", &base))
    })
    .await;
    let error = discover(&peer).await.unwrap_err();
    assert!(matches!(&error, OAuthError::Issuer { issuer, .. } if issuer == "https://other.example"), "{error:?}");
}

#[tokio::test]
async fn endpoints_elsewhere_are_refused() {
    let peer = Peer::start(|_, request| {
        let base = format!("http://{}", request.header("host").unwrap());
        Reply::json(&metadata(&base, "http://127.0.0.1:1"))
    })
    .await;
    assert!(matches!(discover(&peer).await.unwrap_err(), OAuthError::Foreign { .. }));
}

#[tokio::test]
async fn a_server_that_knows_no_logins_is_told_as_such() {
    let peer = Peer::start(|_, _| {
        Reply::problem("404 Not Found", &[], r#"{"title":"No such thing","status":404,"code":"not_found"}"#)
    })
    .await;
    let error = discover(&peer).await.unwrap_err();
    assert!(matches!(&error, OAuthError::Client(ClientError::Problem { .. })), "{error:?}");
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn a_code_is_waited_for_as_slowly_as_the_server_wants() {
    let peer = server(|number, request| match number {
        0 => device(request, None),
        1 => refused("authorization_pending"),
        2 => refused("slow_down"),
        _ => Reply::json(TOKENS),
    })
    .await;
    let server = discover(&peer).await.unwrap();
    let request = server.ask_by_device("read run", "my machine").await.unwrap();
    assert_eq!(request.user_code, "BCDF-GHJK");
    let begun = Instant::now();
    let tokens = server.wait_for_device(&request).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(8), "1 s, 1 s, and 6 s after slow_down; not {:?}", begun.elapsed());
    assert_eq!(tokens.access.expose(), "access");
    assert_eq!(tokens.refresh.expose(), "next");
    assert_eq!(tokens.expires_in, Duration::from_mins(10));
    let requests = peer.requests();
    assert_eq!(field(&requests[1], "client_id").as_deref(), Some("ckrv-cli"));
    assert_eq!(field(&requests[1], "scope").as_deref(), Some("read run"));
    assert_eq!(field(&requests[1], "host").as_deref(), Some("my machine"));
    assert_eq!(field(&requests[2], "device_code").as_deref(), Some("secret"));
    assert!(requests.iter().all(|request| request.header("authorization").is_none()), "a public client has no secret");
}

#[tokio::test]
async fn a_page_on_another_host_is_not_shown() {
    let peer = server(|_, request| device(request, Some("evil.example"))).await;
    let error = discover(&peer).await.unwrap().ask_by_device("read", "h").await.err().unwrap();
    assert!(matches!(&error, OAuthError::Foreign { to, .. } if to.contains("evil.example")), "{error:?}");
}

#[tokio::test]
async fn nor_is_one_on_another_host_that_has_the_code_in_it() {
    let complete = r#""verification_uri_complete":"http://evil.example/device?code=BCDF-GHJK","#;
    let peer = server(move |_, request| codes(request.header("host").unwrap(), complete, 60)).await;
    let error = discover(&peer).await.unwrap().ask_by_device("read", "h").await.err().unwrap();
    assert!(matches!(&error, OAuthError::Foreign { to, .. } if to.contains("evil.example")), "{error:?}");
}

#[tokio::test]
async fn nobody_waits_for_a_code_whose_time_is_over_whatever_the_server_says() {
    let peer = server(|number, request| match number {
        0 => codes(request.header("host").unwrap(), "", 2),
        _ => refused("authorization_pending"),
    })
    .await;
    let server = discover(&peer).await.unwrap();
    let request = server.ask_by_device("read", "h").await.unwrap();
    let error = server.wait_for_device(&request).await.err().unwrap();
    assert_eq!(error.code(), Some("expired_token"), "{error:?}");
    assert!((3..=4).contains(&peer.requests().len()), "it was asked for as long as the code lived");
}

#[tokio::test]
async fn a_denied_code_ends_the_waiting_and_an_outage_does_not() {
    let peer = server(|number, request| match number {
        0 => device(request, None),
        1 => Reply::status(
            "503 Service Unavailable",
            &[("content-type", "application/json")],
            r#"{"error":"temporarily_unavailable"}"#,
        ),
        _ => refused("access_denied"),
    })
    .await;
    let server = discover(&peer).await.unwrap();
    let request = server.ask_by_device("read", "h").await.unwrap();
    let error = server.wait_for_device(&request).await.err().unwrap();
    assert_eq!(error.code(), Some("access_denied"));
    assert_eq!(peer.requests().len(), 4);
}

async fn refresh(peer: &Peer) -> Result<Tokens, OAuthError> {
    discover(peer).await.unwrap().refresh(&Secret::new("this")).await
}

#[tokio::test]
async fn a_refresh_whose_answer_is_lost_is_repeated_with_the_same_token() {
    let peer = server(|number, _| match number {
        0 => Reply::json(TOKENS).cut(70),
        1 => Reply::status("503 Service Unavailable", &[], r#"{"error":"temporarily_unavailable"}"#),
        _ => Reply::json(TOKENS),
    })
    .await;
    assert_eq!(refresh(&peer).await.ok().unwrap().refresh.expose(), "next");
    let requests = peer.requests();
    assert_eq!(requests.len(), 4);
    for request in &requests[1..] {
        assert_eq!(field(request, "refresh_token").as_deref(), Some("this"));
        assert_eq!(field(request, "grant_type").as_deref(), Some("refresh_token"));
    }
}

#[tokio::test]
async fn a_refresh_that_is_refused_is_not_repeated() {
    let peer = server(|_, _| refused("invalid_grant")).await;
    assert_eq!(refresh(&peer).await.err().unwrap().code(), Some("invalid_grant"));
    assert_eq!(peer.requests().len(), 2);
}

#[tokio::test]
async fn a_login_without_a_refresh_token_is_refused() {
    let peer = server(|_, _| Reply::json(r#"{"access_token":"a","token_type":"bearer","expires_in":1}"#)).await;
    assert!(matches!(refresh(&peer).await.err().unwrap(), OAuthError::Unsupported { .. }));
}

#[tokio::test]
async fn a_revocation_names_its_token_in_the_body() {
    let peer = server(|_, _| Reply::status("200 OK", &[], "")).await;
    discover(&peer).await.unwrap().revoke(&Secret::new("mine")).await.unwrap();
    let request = &peer.requests()[1];
    assert_eq!(request.target, "/revoke");
    assert_eq!(field(request, "token").as_deref(), Some("mine"));
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let peer = server(|_, _| Reply::json(&"x".repeat(100_000))).await;
    let error = refresh(&peer).await.err().unwrap();
    assert!(matches!(&error, OAuthError::Client(ClientError::Interrupted { .. })), "{error:?}");
}

#[tokio::test]
async fn well_known_addresses_and_endpoints_go_below_the_servers_path() {
    let peer = Peer::start(|_, request| {
        let base = format!("http://{}/base", request.header("host").unwrap());
        Reply::json(&metadata(&base, &base))
    })
    .await;
    let config = ClientConfig { server: peer.url.join("/base/").unwrap(), ..peer.config() };
    let server = AuthorizationServer::discover(&config).await.unwrap();
    assert_eq!(server.authorization_endpoint().unwrap().path(), "/base/authorize");
    assert_eq!(peer.requests()[0].target, "/base/.well-known/oauth-authorization-server");
}
