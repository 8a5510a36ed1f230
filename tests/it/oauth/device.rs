//! RFC 8628, sections 3.1 and 3.2: what a device that asks is given.

use std::collections::BTreeSet;

use super::*;

const ASK: &str = "/oauth/device_authorization";

#[tokio::test]
async fn a_device_code_has_at_least_128_random_bits() {
    let authority = Authority::start().await;
    let mut halves = BTreeSet::new();
    for _ in 0..10 {
        let code = authority.device().await.code;
        assert!(code.chars().all(|digit| digit.is_ascii_hexdigit()) && code.len() * 4 >= 128, "{code}");
        let (front, back) = code.split_at(code.len() / 2);
        halves.extend([front.to_owned(), back.to_owned()]);
    }
    assert_eq!(halves.len(), 20, "parts of codes repeat");
}

#[tokio::test]
async fn a_user_code_is_two_fours_of_twenty_letters() {
    let authority = Authority::start().await;
    let mut letters = BTreeSet::new();
    for _ in 0..40 {
        let code = authority.device().await.user_code;
        let (front, back) = code.split_once('-').unwrap();
        assert!(front.len() == 4 && back.len() == 4, "{code}");
        letters.extend(front.chars().chain(back.chars()));
    }
    let alphabet: BTreeSet<char> = "BCDFGHJKLMNPQRSTVWXZ".chars().collect();
    // Of 320 letters each is missing with a probability of less than one in ten million.
    assert_eq!(letters, alphabet);
}

#[tokio::test]
async fn a_device_is_told_how_long_its_codes_live_and_how_often_to_ask() {
    let authority = Authority::start().await;
    let answer = authority.client_post(ASK, &[]).await.good();
    assert_eq!((&answer.body["expires_in"], &answer.body["interval"]), (&600.into(), &5.into()));
}

#[tokio::test]
async fn the_verification_addresses_are_the_issuers_own() {
    let authority = Authority::with(&["--public-url", "https://ckrv.example.com"]).await;
    let answer = authority.client_post(ASK, &[]).await.good();
    assert_eq!(answer.text("verification_uri"), "https://ckrv.example.com/device");
    let complete = format!("https://ckrv.example.com/device?code={}", answer.text("user_code"));
    assert_eq!(answer.text("verification_uri_complete"), complete);
}

#[tokio::test]
async fn codes_are_json_that_nobody_may_store() {
    let answer = Authority::start().await.client_post(ASK, &[]).await.good();
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
}

#[tokio::test]
async fn nobody_but_a_known_client_is_given_codes() {
    let authority = Authority::start().await;
    let stranger = authority.post(ASK, &[("client_id", "somebody")]).await;
    assert_eq!((stranger.status, stranger.text("error")), (401, "invalid_client"), "{stranger:?}");
    let nobody = authority.post(ASK, &[]).await;
    assert!(matches!(nobody.text("error"), "invalid_client" | "invalid_request"), "{nobody:?}");
    assert_eq!(authority.value("select count(*) from device_codes").await, "0");
}

#[tokio::test]
async fn a_scope_that_nobody_knows_is_refused_before_anybody_is_bothered() {
    let authority = Authority::start().await;
    authority.client_post(ASK, &[("scope", "read fly")]).await.is_refused("invalid_scope");
}

#[tokio::test]
async fn a_device_gets_the_scopes_that_it_asked_for_and_is_told_which() {
    let authority = Authority::start().await;
    let device = Device::of(&authority.client_post(ASK, &[("scope", "read")]).await.good());
    authority.approve(&mut authority.browser().await, &device).await;
    let answer = authority.poll(&device).await.good();
    assert_eq!(answer.text("scope"), "read");
    assert_eq!(part(answer.text("access_token"), 1)["scope"], "read");
}

#[tokio::test]
async fn a_device_that_names_no_scope_gets_all_and_is_told_so() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.approve(&mut authority.browser().await, &device).await;
    assert_eq!(authority.poll(&device).await.good().text("scope"), "read run manage");
}

#[tokio::test]
async fn a_code_that_its_device_would_find_expired_is_not_approved() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    let decide = async |browser: &mut Browser, decision: &str| {
        let form = authority.types(browser, &device.user_code).await.form("/device/decide");
        browser.submit(form.press("decision", decision)).await
    };
    authority.time_passes("590 seconds").await;
    let page = decide(&mut browser, "approve").await;
    assert_eq!((page.status.as_u16(), page.alert().is_some()), (404, true), "{}", page.text);
    authority.poll(&device).await.is_refused("authorization_pending");
    assert_eq!(decide(&mut browser, "deny").await.status, 200, "it is soon enough to say no");
}

#[tokio::test]
async fn a_code_that_nobody_has_looked_at_is_not_decided_on() {
    let authority = Authority::start().await;
    let (seen, unseen) = (authority.device().await, authority.device().await);
    let mut browser = authority.browser().await;
    let form = authority.types(&mut browser, &seen.user_code).await.form("/device/decide");
    let page = browser.submit(form.fill("code", &unseen.user_code).press("decision", "approve")).await;
    assert_eq!((page.status.as_u16(), page.alert().is_some()), (404, true), "{}", page.text);
    for device in [&seen, &unseen] {
        authority.poll(device).await.is_refused("authorization_pending");
    }
}

#[tokio::test]
async fn an_address_begins_so_many_logins_in_an_hour() {
    let authority = Authority::with(&["--rate-per-address", "6000", "--logins-per-address", "2"]).await;
    for _ in 0..2 {
        authority.device().await;
    }
    let answer = authority.client_post("/oauth/device_authorization", &[]).await;
    assert_eq!((answer.status, answer.text("error")), (429, "temporarily_unavailable"), "{answer:?}");
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|wait| wait <= 1801), "{answer:?}");
    assert_eq!(authority.value("select count(*) from device_codes").await, "2");
}
