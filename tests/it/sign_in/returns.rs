//! Coming back from a provider: to the sign-in that this browser began there, once, and in time.

use ckrv_tests::browser::{Browser, Page};
use ckrv_tests::replica::Loops;
use ckrv_types::limits;
use reqwest::StatusCode;
use serde_json::json;

use super::scripted::{Scripted, refuses};
use super::{Vouching, entry, is_in, links};

fn is_over(page: &Page) -> bool {
    page.status == StatusCode::BAD_REQUEST
        && page.heading() == "This sign-in is over"
        && links(page, "Start again").len() == 1
}

#[tokio::test]
async fn another_browser_cannot_finish_a_sign_in_and_the_one_that_began_it_still_can() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let (mut mine, mut theirs) = (Browser::new(), Browser::new());
    let back = acme.agrees(&on.go(&mut mine, "/login/acme").await, json!({}));
    // Who is led to a link of mine would be signed in as me.
    assert!(is_over(&theirs.open(&back).await), "with no cookie");
    on.go(&mut theirs, "/login/acme").await;
    assert!(is_over(&theirs.open(&back).await), "with a sign-in of their own");
    assert!(!is_in(&theirs) && on.people().await == 0);
    assert_eq!(on.told("session.refused").await[0]["reason"], "unknown");
    assert_eq!(mine.open(&back).await.url.path(), "/account");
}

#[tokio::test]
async fn a_return_is_good_once() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let mut browser = Browser::new();
    let back = acme.agrees(&on.go(&mut browser, "/login/acme").await, json!({}));
    assert_eq!(browser.open(&back).await.status, StatusCode::OK);
    assert!(is_over(&browser.open(&back).await));
    assert!(is_in(&browser), "and what it did stays");
}

#[tokio::test]
async fn two_sign_ins_of_one_browser_do_not_disturb_each_other() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let mut browser = Browser::new();
    let first = on.go(&mut browser, "/login/acme?return_to=/device").await;
    let second = on.go(&mut browser, "/login/acme").await;
    assert_eq!(browser.open(acme.agrees(&second, json!({}))).await.url.path(), "/account");
    assert_eq!(browser.open(acme.agrees(&first, json!({}))).await.url.path(), "/device");
}

#[tokio::test]
async fn a_return_is_good_for_ten_minutes_at_any_replica() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let mut browser = Browser::new();
    let late = acme.agrees(&on.go(&mut browser, "/login/acme").await, json!({}));
    sqlx::query("update sign_ins set expires_at = expires_at - interval '10 minutes'")
        .execute(&mut on.site.on.sql().await)
        .await
        .unwrap();
    assert!(is_over(&browser.open(late).await));

    let back = acme.agrees(&on.go(&mut browser, "/login/acme").await, json!({}));
    let file = on.site.on.state().config.sign_in_providers.clone().unwrap();
    let other = on.site.on.another_replica_with(Loops::Off, &["--sign-in-providers", file.to_str().unwrap()]).await;
    let mut there = other.url().join(back.path()).unwrap();
    there.set_query(back.query());
    assert_eq!(browser.open(there).await.url.path(), "/account");
}

#[tokio::test]
async fn what_one_provider_sent_back_is_nothing_to_another() {
    let (acme, evil) = (Scripted::start().await, Scripted::start().await);
    let providers = entry("acme", &acme, "open") + &entry("evil", &evil, "open");
    let on = Vouching::with(&providers, &[]).await;
    let mut browser = Browser::new();
    let back = acme.agrees(&on.go(&mut browser, "/login/acme").await, json!({}));
    let mixed = back.as_str().replace("/login/acme/", "/login/evil/");
    assert!(is_over(&browser.open(mixed).await) && !is_in(&browser));
}

#[tokio::test]
async fn a_provider_that_names_itself_must_be_the_one_that_was_gone_to() {
    for (says, iss, good) in [
        (false, None, true),
        (false, Some("https://evil.example"), false),
        (true, None, false),
        (true, Some("https://evil.example"), false),
        (true, Some(""), false),
    ] {
        let acme = Scripted::start().await;
        acme.script().discovery = json!({ "authorization_response_iss_parameter_supported": says });
        let on = Vouching::open(&acme).await;
        let mut browser = Browser::new();
        let mut back = acme.agrees(&on.go(&mut browser, "/login/acme").await, json!({}));
        if let Some(iss) = iss {
            back.query_pairs_mut().append_pair("iss", iss);
        }
        let page = browser.open(back).await;
        assert_eq!((page.status == StatusCode::OK, is_in(&browser)), (good, good), "{says} {iss:?}: {}", page.text);
    }
}

#[tokio::test]
async fn who_names_itself_rightly_is_believed() {
    let acme = Scripted::start().await;
    acme.script().discovery = json!({ "authorization_response_iss_parameter_supported": true });
    let on = Vouching::open(&acme).await;
    let mut browser = Browser::new();
    let mut back = acme.agrees(&on.go(&mut browser, "/login/acme").await, json!({}));
    back.query_pairs_mut().append_pair("iss", acme.issuer());
    assert_eq!(browser.open(back).await.url.path(), "/account");
}

#[tokio::test]
async fn who_was_refused_there_is_told_what_to_do_here() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    for (error, status, reason) in [
        ("access_denied", StatusCode::FORBIDDEN, "denied"),
        ("temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE, "away"),
        ("<b>invalid_request</b>", StatusCode::FORBIDDEN, "provider"),
    ] {
        let mut browser = Browser::new();
        let back = refuses(&on.go(&mut browser, "/login/acme?return_to=/device").await, error);
        let page = browser.open(&back).await;
        assert_eq!(page.status, status, "{error}: {}", page.text);
        assert!(page.alert().is_some() && !page.text.contains("<b>"), "{error}: {}", page.text);
        assert_eq!(links(&page, "Start again"), [on.site.url("/login?return_to=%2Fdevice")], "{error}");
        assert_eq!(on.told("session.refused").await[0]["reason"], reason);
        assert!(is_over(&browser.open(back).await), "once");
    }
}

#[tokio::test]
async fn nobody_is_led_anywhere_but_to_a_page_of_ours() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    for attack in ["https%3A%2F%2Fevil.example", "%2F%2Fevil.example", "%2F%5Cevil.example", ""] {
        let mut browser = Browser::new();
        let asked = on.go(&mut browser, &format!("/login/acme?return_to={attack}")).await;
        let page = browser.open(acme.agrees(&asked, json!({}))).await;
        assert_eq!((page.url.path(), page.leaves_for.is_none()), ("/account", true), "{attack}");
        let page = browser.open(on.site.url(&format!("/login/acme?return_to={attack}"))).await;
        assert_eq!((page.url.path(), page.leaves_for.is_none()), ("/account", true), "{attack} when signed in");
    }
}

#[tokio::test]
async fn made_up_returns_are_written_down_so_often_and_no_more() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let mut browser = Browser::new();
    for number in 0..limits::SIGN_IN_FAILURES_ADDRESS {
        assert!(is_over(&browser.open(on.site.url("/login/acme/callback?state=x&code=y")).await), "{number}");
    }
    let page = browser.open(on.site.url("/login/acme/callback?state=x&code=y")).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!page.header("retry-after").is_empty());
    assert_eq!(on.told("session.refused").await.len(), usize::try_from(limits::SIGN_IN_FAILURES_ADDRESS).unwrap());
    // Any page could have had the browser ask: nobody is kept out by it.
    on.site.user("ada").await;
    on.site.browser_of("ada").await;
    assert_eq!(on.through(&mut Browser::new(), &acme, json!({})).await.url.path(), "/account");
    assert_eq!(browser.open(on.site.url("/login/nobody")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.open(on.site.url("/login/nobody/callback?state=x")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn sign_ins_that_come_to_nothing_are_limited_by_address_and_others_are_not() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let deny = async || {
        let mut browser = Browser::new();
        let back = refuses(&on.go(&mut browser, "/login/acme").await, "access_denied");
        browser.open(back).await
    };
    for number in 1..limits::SIGN_IN_FAILURES_ADDRESS {
        assert_eq!(deny().await.status, StatusCode::FORBIDDEN, "{number}");
    }
    for _ in 0..3 {
        assert_eq!(on.through(&mut Browser::new(), &acme, json!({})).await.url.path(), "/account");
    }
    assert_eq!(deny().await.status, StatusCode::FORBIDDEN, "what was good is not counted");
    let written = on.told("session.refused").await.len();

    let page = deny().await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!page.header("retry-after").is_empty());
    let mut browser = Browser::new();
    let back = acme.agrees(&on.go(&mut browser, "/login/acme").await, json!({}));
    let page = browser.open(back).await;
    assert_eq!((page.status, is_in(&browser)), (StatusCode::TOO_MANY_REQUESTS, false));
    assert_eq!(acme.unasked(), 1, "the provider was not asked about the code");
    assert_eq!(on.told("session.refused").await.len(), written, "and nothing is written down");
}

#[tokio::test]
async fn an_address_begins_so_many_sign_ins_and_no_page_does_it_in_its_place() {
    let acme = Scripted::start().await;
    let limits = ["--rate-per-address", "6000", "--logins-per-address", "2"];
    let on = Vouching::with(&entry("acme", &acme, "open"), &limits).await;
    let fetched = reqwest::Client::new().get(on.site.url("/login/acme")).header("sec-fetch-dest", "image");
    assert_eq!(fetched.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    for _ in 0..2 {
        on.go(&mut Browser::new(), "/login/acme").await;
    }
    let page = Browser::new().open(on.site.url("/login/acme")).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.header("retry-after").parse::<u64>().is_ok_and(|wait| wait <= 1801));
    let kept: i64 =
        sqlx::query_scalar("select count(*) from sign_ins").fetch_one(&mut on.site.on.sql().await).await.unwrap();
    assert_eq!(kept, 2);
}
