//! RFC 8628, sections 3.4 and 3.5: how a device asks whether it was let in, and what it is told.

use futures::future::join_all;

use super::*;

#[tokio::test]
async fn the_first_poll_is_pending_however_early_it_comes() {
    let authority = Authority::start().await;
    authority.poll(&authority.device().await).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn who_keeps_to_the_interval_is_never_told_to_slow_down() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    for _ in 0..5 {
        authority.poll(&device).await.is_refused("authorization_pending");
        authority.time_passes("5 seconds").await;
    }
}

#[tokio::test]
async fn each_poll_that_is_too_early_adds_five_seconds_for_itself_and_all_later_ones() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.poll(&device).await.is_refused("authorization_pending");
    // Of five seconds: now it is ten.
    authority.poll(&device).await.is_refused("slow_down");
    authority.time_passes("7 seconds").await;
    // Now fifteen.
    authority.poll(&device).await.is_refused("slow_down");
    authority.time_passes("16 seconds").await;
    authority.poll(&device).await.is_refused("authorization_pending");
    authority.time_passes("11 seconds").await;
    // Twenty, and not back to five.
    authority.poll(&device).await.is_refused("slow_down");
    authority.time_passes("21 seconds").await;
    authority.poll(&device).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn of_polls_at_once_one_counts_and_all_others_are_too_early() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let answers = join_all((0..6).map(|_| authority.poll(&device))).await;
    let pending = answers.iter().filter(|answer| answer.text("error") == "authorization_pending").count();
    let slow = answers.iter().filter(|answer| answer.text("error") == "slow_down").count();
    assert_eq!((pending, slow), (1, 5), "{answers:?}");
    authority.time_passes("29 seconds").await;
    authority.poll(&device).await.is_refused("slow_down");
}

#[tokio::test]
async fn an_approved_device_gets_tokens_that_nobody_may_store() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.approve(&mut authority.browser().await, &device).await;
    let answer = authority.poll(&device).await.good();
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    assert_eq!((answer.text("token_type"), &answer.body["expires_in"]), ("Bearer", &600.into()));
    assert_eq!(authority.knocks(answer.text("access_token")).await, 200);
}

#[tokio::test]
async fn parallel_polls_after_approval_give_exactly_one_set_of_tokens() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.approve(&mut authority.browser().await, &device).await;
    let answers = join_all((0..8).map(|_| authority.poll(&device))).await;
    let (given, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!(given.len(), 1, "{given:?}");
    for answer in &refused {
        assert!(matches!(answer.text("error"), "invalid_grant" | "slow_down"), "{answer:?}");
    }
    assert_eq!(authority.value("select count(*) from logins").await, "1");
    assert_eq!(authority.value("select count(*) from refresh_tokens").await, "1");
    let Some(tokens) = given.into_iter().next().map(Answer::tokens) else { unreachable!() };
    authority.refresh(&tokens.refresh).await.good();
}

#[tokio::test]
async fn a_device_code_is_redeemed_once_and_then_worth_nothing() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.approve(&mut authority.browser().await, &device).await;
    let tokens = authority.poll(&device).await.tokens();
    authority.time_passes("5 seconds").await;
    authority.poll(&device).await.is_refused("invalid_grant");
    authority.refresh(&tokens.refresh).await.good();
}

#[tokio::test]
async fn another_clients_poll_fails_and_disturbs_nothing() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let stranger = [("grant_type", DEVICE_GRANT), ("device_code", &device.code), ("client_id", "somebody")];
    let foreign = async || {
        let answer = authority.post("/oauth/token", &stranger).await;
        assert!(matches!(answer.text("error"), "invalid_client" | "invalid_grant"), "{answer:?}");
    };
    foreign().await;
    // It was not a poll of the device's, or this would be too early.
    authority.poll(&device).await.is_refused("authorization_pending");
    authority.approve(&mut authority.browser().await, &device).await;
    authority.time_passes("5 seconds").await;
    foreign().await;
    authority.poll(&device).await.good();
}

#[tokio::test]
async fn a_device_that_was_denied_is_told_so_again_and_again() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.deny(&mut authority.browser().await, &device).await;
    for later in ["5 seconds", "5 seconds", "1 hour", "1 hour"] {
        authority.poll(&device).await.is_refused("access_denied");
        authority.time_passes(later).await;
    }
    assert_eq!(authority.value("select count(*) from logins").await, "0");
}

#[tokio::test]
async fn a_device_that_is_too_late_is_told_so_again_and_again() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.time_passes("601 seconds").await;
    for later in ["5 seconds", "5 seconds", "1 hour", "1 hour"] {
        authority.poll(&device).await.is_refused("expired_token");
        authority.time_passes(later).await;
    }
}

#[tokio::test]
async fn a_device_code_lives_to_its_end() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.time_passes("590 seconds").await;
    authority.poll(&device).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn an_approval_that_nobody_collected_in_time_is_worth_nothing() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    authority.approve(&mut authority.browser().await, &device).await;
    authority.time_passes("601 seconds").await;
    authority.poll(&device).await.is_refused("expired_token");
}

#[tokio::test]
async fn an_expired_code_cannot_be_approved() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    authority.time_passes("601 seconds").await;
    assert!(!authority.is_asked(&mut browser, &device.user_code).await);
}

#[tokio::test]
async fn a_device_code_that_nobody_was_given_is_no_grant() {
    let authority = Authority::start().await;
    let made_up = Device { code: "ab".repeat(32), user_code: String::new() };
    authority.poll(&made_up).await.is_refused("invalid_grant");
    let user_code = authority.device().await.user_code;
    authority.poll(&Device { code: user_code, ..made_up }).await.is_refused("invalid_grant");
}
