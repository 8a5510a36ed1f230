//! RFC 7009: a program that is done says so, and what it had is worth nothing from then on.

use super::*;

#[tokio::test]
async fn a_revoked_refresh_token_ends_the_login_on_every_path() {
    let authority = Authority::start().await;
    let other = authority.another_replica(Loops::Off, &[]).await;
    let tokens = authority.login().await;
    for replica in [&authority.on.replica, &other] {
        assert_eq!(knocks_at(replica, &tokens.access).await, 200);
    }
    assert_eq!(authority.revoke(&tokens.refresh).await.status, 200);
    authority.refresh(&tokens.refresh).await.is_refused("invalid_grant");
    for replica in [&authority.on.replica, &other] {
        shut_out_of(replica, &tokens.access).await;
    }
    assert_eq!(authority.value("select revoked_for from logins").await, "client");
}

#[tokio::test]
async fn a_revoked_access_token_is_refused_too_and_ends_its_login() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    assert_eq!(authority.knocks(&tokens.access).await, 200);
    assert_eq!(authority.revoke(&tokens.access).await.status, 200);
    authority.is_shut_out(&tokens.access).await;
    authority.refresh(&tokens.refresh).await.is_refused("invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_that_was_exchanged_already_ends_its_login_too() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    let second = authority.refresh(&first).await.tokens().refresh;
    assert_eq!(authority.revoke(&first).await.status, 200);
    authority.refresh(&second).await.is_refused("invalid_grant");
}

#[tokio::test]
async fn a_revocation_ends_one_login_and_no_other() {
    let authority = Authority::start().await;
    let (one, other) = (authority.login().await, authority.login().await);
    authority.revoke(&one.refresh).await.good();
    assert_eq!(authority.knocks(&other.access).await, 200);
    authority.refresh(&other.refresh).await.good();
}

#[tokio::test]
async fn a_token_that_is_worth_nothing_is_revoked_with_success() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    for token in [tokens.refresh.as_str(), &tokens.refresh, &tokens.access, "nonsense", &tokens.access[..50]] {
        assert_eq!(authority.revoke(token).await.status, 200, "{token}");
    }
}

#[tokio::test]
async fn a_hint_is_no_more_than_a_hint() {
    let authority = Authority::start().await;
    for hint in ["access_token", "refresh_token", "pact"] {
        let tokens = authority.login().await;
        let form = [("token", tokens.refresh.as_str()), ("token_type_hint", hint)];
        assert_eq!(authority.client_post("/oauth/revoke", &form).await.status, 200, "{hint}");
        authority.refresh(&tokens.refresh).await.is_refused("invalid_grant");
    }
}

#[tokio::test]
async fn another_client_revokes_nothing() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    for form in [vec![("token", tokens.refresh.as_str()), ("client_id", "somebody")], vec![("token", &tokens.refresh)]]
    {
        let answer = authority.post("/oauth/revoke", &form).await;
        assert!(matches!(answer.text("error"), "invalid_client" | "invalid_request"), "{answer:?}");
    }
    authority.refresh(&tokens.refresh).await.good();
}

#[tokio::test]
async fn a_revocation_without_a_token_is_none() {
    Authority::start().await.client_post("/oauth/revoke", &[]).await.is_refused("invalid_request");
}

#[tokio::test]
async fn what_was_not_given_by_a_login_is_not_revoked_here() {
    let authority = Authority::start().await;
    let key = authority.on.keys().api_key.expose();
    assert_eq!(authority.revoke(key).await.status, 200);
    assert_eq!(authority.knocks(key).await, 200);
}
