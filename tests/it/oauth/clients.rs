//! RFC 6749, sections 2.3 and 3.2.1: the client says which one it is. It is public: it has no secret, and none is believed.

use super::*;

async fn basic(authority: &Authority, id: &str, secret: &str, form: &[(&str, &str)]) -> Answer {
    let request = authority.http.post(authority.url("/oauth/token")).basic_auth(id, Some(secret));
    Answer::of(request.form(form)).await
}

#[tokio::test]
async fn a_client_may_name_itself_by_basic_with_an_empty_secret() {
    let authority = Authority::start().await;
    let refresh = authority.login().await.refresh;
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    basic(&authority, CLIENT, "", &form).await.good();
}

#[tokio::test]
async fn a_client_may_name_itself_in_both_ways_if_they_agree() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let form = [("grant_type", DEVICE_GRANT), ("device_code", device.code.as_str())];
    basic(&authority, CLIENT, "", &[&form[..], &[("client_id", CLIENT)]].concat())
        .await
        .is_refused("authorization_pending");
    let answer = basic(&authority, CLIENT, "", &[&form[..], &[("client_id", "somebody")]].concat()).await;
    assert!(matches!(answer.text("error"), "invalid_client" | "invalid_request" | "invalid_grant"), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_fails_by_basic_is_told_by_the_same_scheme() {
    let authority = Authority::start().await;
    let refresh = authority.login().await.refresh;
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    for (id, secret) in [("somebody", ""), (CLIENT, "a guess")] {
        let answer = basic(&authority, id, secret, &form).await;
        assert_eq!((answer.status, answer.text("error")), (401, "invalid_client"), "{id}:{secret}");
        assert!(answer.header("www-authenticate").starts_with("Basic"), "{answer:?}");
    }
    authority.refresh(&refresh).await.good();
}

#[tokio::test]
async fn a_client_of_whom_nobody_knows_is_refused_at_every_endpoint() {
    let authority = Authority::start().await;
    for (path, form) in [
        ("/oauth/token", vec![("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_id", "somebody")]),
        ("/oauth/token", vec![("grant_type", "authorization_code"), ("code", "x"), ("client_id", "somebody")]),
        ("/oauth/token", vec![("grant_type", DEVICE_GRANT), ("device_code", "x"), ("client_id", "somebody")]),
        ("/oauth/device_authorization", vec![("client_id", "somebody")]),
        ("/oauth/revoke", vec![("token", "x"), ("client_id", "somebody")]),
    ] {
        let answer = authority.post(path, &form).await;
        assert!(matches!(answer.text("error"), "invalid_client" | "invalid_grant"), "{path} {form:?}: {answer:?}");
        assert!(matches!(answer.status, 400 | 401), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_program_that_knows_an_api_key_is_no_client() {
    let authority = Authority::start().await;
    let refresh = authority.login().await.refresh;
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
    let key = authority.on.keys().api_key.expose();
    let request = authority.http.post(authority.url("/oauth/token")).bearer_auth(key).form(&form);
    let answer = Answer::of(request).await;
    assert!(matches!(answer.status, 400 | 401), "{answer:?}");
    authority.refresh(&refresh).await.good();
}
