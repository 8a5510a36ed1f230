//! RFC 6749, sections 4.1.3 and 6, RFC 8628, section 3.4, RFC 7009, section 2.1: what was given to one client is worth nothing
//! in another's hands, even if that client is as well known as the one that it was given to.
//!
//! There is one client. What belongs to another is made of what belongs to it.

use super::*;

/// Has everything in a table belong to another client, or to ours again.
async fn belongs_to(authority: &Authority, table: &str, client: &str) {
    authority.sql(&format!("update {table} set client = '{client}'")).await;
}

#[tokio::test]
async fn a_device_code_of_another_client_is_not_redeemed_and_its_poll_does_not_count() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    belongs_to(&authority, "device_codes", "other").await;
    authority.poll(&device).await.is_refused("invalid_grant");
    belongs_to(&authority, "device_codes", CLIENT).await;
    authority.poll(&device).await.is_refused("authorization_pending");
    authority.approve(&mut authority.browser().await, &device).await;
    authority.time_passes("5 seconds").await;
    belongs_to(&authority, "device_codes", "other").await;
    authority.poll(&device).await.is_refused("invalid_grant");
    assert_eq!(authority.value("select count(*) from logins").await, "0");
    belongs_to(&authority, "device_codes", CLIENT).await;
    authority.poll(&device).await.good();
}

#[tokio::test]
async fn an_authorization_code_of_another_client_is_not_exchanged_and_stays_good_for_its_own() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    belongs_to(&authority, "authorization_codes", "other").await;
    authority.exchange(&code, &pkce.verifier).await.is_refused("invalid_grant");
    belongs_to(&authority, "authorization_codes", CLIENT).await;
    authority.exchange(&code, &pkce.verifier).await.good();
}

#[tokio::test]
async fn a_code_that_was_used_revokes_nothing_when_another_client_brings_it_again() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    let tokens = authority.exchange(&code, &pkce.verifier).await.tokens();
    belongs_to(&authority, "authorization_codes", "other").await;
    authority.exchange(&code, &pkce.verifier).await.is_refused("invalid_grant");
    authority.refresh(&tokens.refresh).await.good();
}

#[tokio::test]
async fn a_refresh_token_of_another_client_is_not_renewed_and_ends_nothing() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    belongs_to(&authority, "logins", "other").await;
    authority.refresh(&first).await.is_refused("invalid_grant");
    authority.time_passes("11 seconds").await;
    authority.refresh(&first).await.is_refused("invalid_grant");
    belongs_to(&authority, "logins", CLIENT).await;
    authority.refresh(&first).await.good();
}

#[tokio::test]
async fn neither_token_of_another_client_is_revoked() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    belongs_to(&authority, "logins", "other").await;
    for token in [&tokens.refresh, &tokens.access] {
        authority.revoke(token).await.is_refused("invalid_grant");
    }
    belongs_to(&authority, "logins", CLIENT).await;
    authority.refresh(&tokens.refresh).await.good();
}
