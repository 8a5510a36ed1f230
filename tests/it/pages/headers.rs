//! What every page says beside its text.

use ckrv_tests::browser::{Browser, Page};
use reqwest::StatusCode;

use super::Site;

const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Each page that there is, by name; also what is shown when something is wrong.
pub async fn every_page(site: &Site) -> Vec<(&'static str, Page)> {
    site.user("ada").await;
    let mut nobody = Browser::new();
    let mut pages = vec![
        ("sign in", nobody.open(site.url("/login")).await),
        ("sign in, refused", site.sign_in(&mut nobody, "ada", "wrong").await),
        ("unknown asset", nobody.open(site.url("/assets/none.css")).await),
        ("authorize, broken", nobody.open(site.url("/oauth/authorize?client_id=none")).await),
        ("form without a field", nobody.post(site.url("/login"), &[("login", "x")], None).await),
    ];
    let mut ada = site.browser_of("ada").await;
    site.browser_of("ada").await;
    site.let_in(&mut ada, "laptop").await;
    let (code, _) = site.device("laptop").await;
    let (denied, _) = site.device("laptop").await;
    pages.extend([
        ("account", ada.open(site.url("/account")).await),
        ("password", ada.open(site.url("/account/password")).await),
        ("account, done", ada.open(site.url("/account?done=browser")).await),
        ("device", ada.open(site.url("/device?code=BCDF")).await),
        ("device, wrong code", site.question(&mut ada, "BCDF-GHJK").await),
        ("authorize", ada.open(site.authorize_url("laptop")).await),
    ]);
    for (code, decision, name) in [(code, "approve", "approved"), (denied, "deny", "denied")] {
        let question = site.question(&mut ada, &code).await;
        let form = question.form("/device/decide").press("decision", decision);
        pages.push(("question", question));
        pages.push((name, ada.submit(form).await));
    }
    let form = ada.open(site.url("/account")).await.form("/logout");
    pages.push(("signed out", ada.submit(form).await));
    pages
}

#[tokio::test]
async fn every_page_keeps_scripts_frames_and_other_sites_out_and_is_kept_by_nobody() {
    let site = Site::new().await;
    for (name, page) in every_page(&site).await {
        let policy = page.header("content-security-policy");
        if name == "authorize" {
            let wider = POLICY.replace("form-action 'self'", "form-action 'self' http://127.0.0.1:4711");
            assert_eq!(policy, wider, "{name}");
        } else {
            assert_eq!(policy, POLICY, "{name}");
        }
        assert_eq!(page.header("referrer-policy"), "same-origin", "{name}");
        assert_eq!(page.header("cache-control"), "no-store", "{name}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{name}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{name}");
        assert!(!page.header("x-request-id").is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_method_or_a_thing_that_is_not_there_is_a_page_too() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    let csrf = browser.open(site.url("/account")).await.form("/logout").value("csrf").unwrap().to_owned();
    for path in ["/account/sessions/nonsense/revoke", "/account/logins/lgn-01k9zj3m5r8w2t6y4x0v7q1n5d/revoke"] {
        let page = browser.post(site.url(path), &[("csrf", &csrf)], None).await;
        assert_eq!((page.status, page.heading().as_str()), (StatusCode::NOT_FOUND, "There is no such page"), "{path}");
    }
    let page = browser.open(site.url("/logout")).await;
    assert_eq!(page.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(page.header("content-type").starts_with("text/html") && page.header("allow") == "POST");
}

#[tokio::test]
async fn when_the_database_is_away_a_page_says_so_and_when_to_come_back() {
    let nowhere = "postgres://ckrv_app:x@127.0.0.1:9/ckrv";
    let site = Site::with(&["--database-url", nowhere, "--system-database-url", nowhere]).await;
    let mut browser = Browser::new();
    browser.set_cookie("ckrv-session", &"ab".repeat(32));
    let page = browser.open(site.url("/account")).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.header("retry-after"), "5");
    assert!(page.alert().unwrap().contains("database cannot be reached"), "{}", page.text);
    assert!(page.text.contains(page.header("x-request-id")), "the request is named, for whoever looks into it");
    assert!(!page.text.contains("127.0.0.1:9"), "{}", page.text);
    let form = Browser::new().open(site.url("/login")).await;
    assert_eq!(form.status, StatusCode::OK, "the sign-in page itself needs none");
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_by_a_page_when_to_come_back() {
    let site = Site::with(&["--rate-per-address", "2"]).await;
    let mut browser = Browser::new();
    for _ in 0..2 {
        assert_eq!(browser.open(site.url("/login")).await.status, StatusCode::OK);
    }
    let page = browser.open(site.url("/login")).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.header("retry-after").parse::<u64>().unwrap() <= 30);
    assert!(page.alert().unwrap().contains("Try again in "), "{}", page.text);
    assert_eq!(page.header("content-security-policy"), POLICY);
}

#[tokio::test]
async fn the_style_is_kept_for_good_under_a_name_that_changes_with_it() {
    let site = Site::new().await;
    let mut browser = Browser::new();
    let page = browser.open(site.url("/login")).await;
    let links: Vec<String> = {
        let html = page.html();
        let link = ckrv_tests::browser::css("link");
        html.select(&link).map(|link| link.attr("href").unwrap().to_owned()).collect()
    };
    assert_eq!(links.len(), 2, "{links:?}");
    for (link, media_type) in links.iter().zip(["image/svg+xml", "text/css; charset=utf-8"]) {
        let asset = browser.open(site.url(link)).await;
        assert_eq!((asset.status, asset.header("content-type")), (StatusCode::OK, media_type));
        assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
    }
    let style = links.last().unwrap();
    let other = style.replacen(&style["/assets/ckrv.".len()..][..16], "0123456789abcdef", 1);
    let asset = browser.open(site.url(&other)).await;
    assert_eq!((asset.status, asset.header("cache-control")), (StatusCode::OK, "no-store"), "of another release");
}
