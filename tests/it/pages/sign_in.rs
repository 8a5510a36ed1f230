//! By a local account.

use ckrv_tests::browser::{Browser, Page};
use ckrv_tests::replica::Loops;
use ckrv_types::limits;
use reqwest::StatusCode;

use super::{PASSWORD, Site};

const SESSION: &str = "ckrv-session";

/// What a page says, but for what its visitor typed and what is random.
fn said(page: &Page) -> (StatusCode, Vec<String>, Option<String>) {
    (page.status, page.texts("body"), page.alert())
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_are_told_the_same() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = Browser::new();
    let wrong = site.sign_in(&mut browser, "ada", "a wrong password").await;
    let unknown = site.sign_in(&mut browser, "nobody", "a wrong password").await;
    assert_eq!(said(&wrong), said(&unknown));
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    assert_eq!(wrong.alert().unwrap(), "This name and password do not belong together.");
    assert_eq!(wrong.form("/login").value("login"), Some("ada"), "the name is kept");
    assert!(!wrong.text.contains("a wrong password") && browser.cookie(SESSION).is_none());
    assert_eq!(site.audited("session.refused").await, 2);
    let named = "select count(*) from audit_log where detail::text like '%nobody%'";
    let named: i64 = sqlx::query_scalar(named).fetch_one(&mut site.on.sql().await).await.unwrap();
    assert_eq!(named, 0, "what is no name may be a password");

    let page = site.sign_in(&mut browser, "  ADA ", PASSWORD).await;
    assert_eq!((page.url.path(), page.status), ("/account", StatusCode::OK), "names have no case");
    assert_eq!(site.audited("session.begun").await, 1);
}

#[tokio::test]
async fn a_name_has_so_many_failures_and_then_must_wait_wherever_it_is_tried() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("bob").await;
    let mut browser = Browser::new();
    for number in 0..limits::SIGN_IN_FAILURES_LOGIN {
        let page = site.sign_in(&mut browser, "ada", "guess after guess").await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "failure {number}");
    }
    let other = site.on.another_replica(Loops::Off).await;
    for url in [site.url("/login"), other.url().join("/login").unwrap().to_string()] {
        let form = browser.open(url).await.form("/login");
        let page = browser.submit(form.fill("login", "ada").fill("password", PASSWORD)).await;
        assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "the right one is not told from a wrong one");
        let seconds: u64 = page.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "one a minute is forgotten, not one in {seconds} s");
        assert!(page.alert().unwrap().starts_with("There were too many failed attempts. Try again in "));
    }
    let page = site.sign_in(&mut browser, "bob", PASSWORD).await;
    assert_eq!(page.url.path(), "/account", "another name is let in from the same address");
}

#[tokio::test]
async fn an_address_has_so_many_failures_over_all_names() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = Browser::new();
    for number in 0..limits::SIGN_IN_FAILURES_ADDRESS {
        let page = site.sign_in(&mut browser, &format!("name{number}"), "the same password").await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "failure {number}");
    }
    let page = site.sign_in(&mut browser, "ada", PASSWORD).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn who_signs_in_well_is_not_counted() {
    let site = Site::new().await;
    site.user("ada").await;
    for _ in 0..=limits::SIGN_IN_FAILURES_LOGIN {
        site.browser_of("ada").await;
    }
}

#[tokio::test]
async fn a_suspended_account_is_told_so_by_its_password_alone() {
    let site = Site::new().await;
    site.user("ada").await;
    sqlx::query("update users set suspended_at = now()").execute(&mut site.on.sql().await).await.unwrap();
    let mut browser = Browser::new();
    let page = site.sign_in(&mut browser, "ada", "a wrong password").await;
    assert_eq!(page.alert().unwrap(), "This name and password do not belong together.");
    let page = site.sign_in(&mut browser, "ada", PASSWORD).await;
    assert!(page.alert().unwrap().contains("suspended") && browser.cookie(SESSION).is_none());
}

#[tokio::test]
async fn nobody_is_led_anywhere_but_to_a_page_of_ours() {
    let site = Site::new().await;
    site.user("ada").await;
    let attacks = [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "/\t/evil.example/",
        "/\n/evil.example/",
        " //evil.example",
        "javascript:alert(1)",
        "evil.example",
        "http:/evil.example",
        "",
    ];
    for attack in attacks {
        let mut browser = Browser::new();
        let mut url: url::Url = site.url("/login").parse().unwrap();
        url.query_pairs_mut().append_pair("return_to", attack);
        let form = browser.open(&url).await.form("/login").fill("login", "ada").fill("password", PASSWORD);
        assert_eq!(form.value("return_to"), Some("/account"), "{attack:?}");
        let page = browser.submit(form.forge("return_to", Some(attack))).await;
        assert_eq!((page.url.path(), page.leaves_for.is_none()), ("/account", true), "{attack:?}");
        let page = browser.open(&url).await;
        assert_eq!((page.url.path(), page.leaves_for.is_none()), ("/account", true), "{attack:?} when signed in");
    }
}

#[tokio::test]
async fn whoever_wanted_a_page_is_led_back_to_it_with_all_they_had() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = Browser::new();
    let page = browser.open(site.url("/device?code=BCDF-GHJK")).await;
    assert_eq!((page.url.path(), page.heading().as_str()), ("/login", "Sign in"));
    let page = browser.submit(page.form("/login").fill("login", "ada").fill("password", "wrong")).await;
    let page = browser.submit(page.form("/login").fill("password", PASSWORD)).await;
    assert_eq!(page.url.path(), "/device");
    assert_eq!(page.form("/device").value("code"), Some("BCDF-GHJK"));
    let page = browser.open(site.url("/login?return_to=/device")).await;
    assert_eq!(page.url.path(), "/device", "who is signed in is not asked again");
    assert_eq!(browser.open(site.url("/")).await.url.path(), "/account");
}

#[tokio::test]
async fn what_can_be_nobodys_name_is_as_any_unknown_one_and_a_nul_is_refused() {
    let site = Site::new().await;
    let mut browser = Browser::new();
    let page = site.sign_in(&mut browser, "no such name at all!", PASSWORD).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let csrf = browser.open(site.url("/login")).await.form("/login").value("csrf").unwrap().to_owned();
    for (login, password) in [("a\0", PASSWORD), ("ada", "of\0nobody")] {
        let fields = [("csrf", csrf.as_str()), ("login", login), ("password", password)];
        let page = browser.post(site.url("/login"), &fields, None).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{login:?}: {}", page.text);
    }
}
