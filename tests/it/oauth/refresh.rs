//! RFC 6749, section 6, and RFC 9700, section 4.14: refresh tokens rotate, an answer that got lost is given again, and one that
//! comes back later ends its whole family.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::*;

#[tokio::test]
async fn each_refresh_gives_new_tokens_that_nobody_may_store() {
    let authority = Authority::start().await;
    let first = authority.login().await;
    let answer = authority.refresh(&first.refresh).await.good();
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    assert_eq!((answer.text("token_type"), &answer.body["expires_in"]), ("Bearer", &600.into()));
    let second = answer.tokens();
    assert!(first.refresh != second.refresh && first.access != second.access);
    assert_eq!(authority.knocks(&second.access).await, 200);
    let third = authority.refresh(&second.refresh).await.tokens();
    assert!(third.refresh != second.refresh && third.refresh != first.refresh);
}

#[tokio::test]
async fn an_answer_that_got_lost_is_given_again_within_ten_seconds() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    let second = authority.refresh(&first).await.tokens().refresh;
    assert_eq!(authority.refresh(&first).await.tokens().refresh, second);
    authority.time_passes("8 seconds").await;
    assert_eq!(authority.refresh(&first).await.tokens().refresh, second);
    authority.refresh(&second).await.good();
}

#[tokio::test]
async fn a_retry_does_not_make_the_ten_seconds_begin_anew() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    authority.refresh(&first).await.good();
    authority.time_passes("8 seconds").await;
    authority.refresh(&first).await.good();
    authority.time_passes("4 seconds").await;
    authority.refresh(&first).await.is_refused("invalid_grant");
}

#[tokio::test]
async fn a_refresh_token_that_comes_back_later_ends_its_whole_family() {
    let authority = Authority::start().await;
    let first = authority.login().await;
    let second = authority.refresh(&first.refresh).await.tokens();
    authority.time_passes("11 seconds").await;
    assert_eq!(authority.knocks(&second.access).await, 200);
    authority.refresh(&first.refresh).await.is_refused("invalid_grant");
    authority.refresh(&second.refresh).await.is_refused("invalid_grant");
    authority.is_shut_out(&second.access).await;
    assert_eq!(authority.value("select revoked_for from logins").await, "reuse");
}

#[tokio::test]
async fn a_refresh_token_of_long_ago_ends_its_family_too() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    let mut newest = first.clone();
    for _ in 0..3 {
        newest = authority.refresh(&newest).await.tokens().refresh;
        authority.time_passes("1 day").await;
    }
    authority.refresh(&first).await.is_refused("invalid_grant");
    authority.refresh(&newest).await.is_refused("invalid_grant");
}

#[tokio::test]
async fn the_end_of_a_family_is_no_other_familys_end() {
    let authority = Authority::start().await;
    let (one, other) = (authority.login().await.refresh, authority.login().await.refresh);
    authority.refresh(&one).await.good();
    authority.time_passes("11 seconds").await;
    authority.refresh(&one).await.is_refused("invalid_grant");
    authority.refresh(&other).await.good();
}

#[tokio::test]
async fn parallel_refreshes_of_one_token_all_succeed_and_get_the_same_one() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    let answers = join_all((0..20).map(|_| authority.refresh(&first))).await;
    let next: BTreeSet<String> = answers.into_iter().map(|answer| answer.tokens().refresh).collect();
    assert_eq!(next.len(), 1, "{next:?}");
    assert_eq!(authority.value("select count(*) from refresh_tokens").await, "2");
    authority.refresh(next.first().unwrap()).await.good();
}

#[tokio::test]
async fn a_narrower_scope_narrows_the_access_token_and_not_what_comes_after() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    let form = [("grant_type", "refresh_token"), ("refresh_token", first.as_str()), ("scope", "read")];
    let narrow = authority.token(&form).await.good();
    assert_eq!(narrow.text("scope"), "read");
    assert_eq!(part(narrow.text("access_token"), 1)["scope"], "read");
    let whole = authority.refresh(narrow.text("refresh_token")).await.good();
    assert_eq!(whole.text("scope"), "read run manage");
}

#[tokio::test]
async fn a_scope_that_was_not_agreed_to_is_not_to_be_had_by_refreshing() {
    let authority = Authority::start().await;
    let device = Device::of(&authority.client_post("/oauth/device_authorization", &[("scope", "read")]).await.good());
    authority.approve(&mut authority.browser().await, &device).await;
    let first = authority.poll(&device).await.tokens().refresh;
    for wider in ["read run", "manage", "fly"] {
        let form = [("grant_type", "refresh_token"), ("refresh_token", first.as_str()), ("scope", wider)];
        authority.token(&form).await.is_refused("invalid_scope");
    }
    // A refusal uses nothing up.
    authority.time_passes("11 seconds").await;
    assert_eq!(authority.refresh(&first).await.good().text("scope"), "read");
}

#[tokio::test]
async fn another_clients_refresh_fails_and_disturbs_nothing() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    let form = [("grant_type", "refresh_token"), ("refresh_token", first.as_str()), ("client_id", "somebody")];
    let answer = authority.post("/oauth/token", &form).await;
    assert!(matches!(answer.text("error"), "invalid_client" | "invalid_grant"), "{answer:?}");
    authority.time_passes("11 seconds").await;
    authority.refresh(&first).await.good();
}

#[tokio::test]
async fn a_mistyped_refresh_token_is_no_grant_and_disturbs_nothing() {
    let authority = Authority::start().await;
    let first = authority.login().await.refresh;
    let mut mistyped = first.clone();
    let last = if mistyped.pop() == Some('0') { '1' } else { '0' };
    mistyped.push(last);
    for wrong in [mistyped.as_str(), &first[..first.len() - 1], "nonsense"] {
        authority.refresh(wrong).await.is_refused("invalid_grant");
    }
    authority.refresh(&first).await.good();
}

#[tokio::test]
async fn a_login_ends_ninety_days_after_its_last_use() {
    let authority = Authority::start().await;
    let mut refresh = authority.login().await.refresh;
    for _ in 0..2 {
        authority.time_passes("89 days").await;
        refresh = authority.refresh(&refresh).await.tokens().refresh;
    }
    authority.time_passes("91 days").await;
    authority.refresh(&refresh).await.is_refused("invalid_grant");
}

#[tokio::test]
async fn tokens_are_good_for_what_they_are_and_nothing_else() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    assert_eq!(authority.knocks(&tokens.refresh).await, 401);
    authority.refresh(&tokens.access).await.is_refused("invalid_grant");
    authority.refresh(authority.on.keys().api_key.expose()).await.is_refused("invalid_grant");
}
