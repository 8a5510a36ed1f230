//! Forms do something only if they come from a page of ours, that was shown to whoever sends them.

use ckrv_tests::browser::{Browser, Form, Page};
use sqlx::Row as _;

use super::{PASSWORD, Site};

/// All that a form can change.
async fn state(site: &Site) -> Vec<String> {
    let row = sqlx::query(
        "select array[
             (select count(*)::text from audit_log),
             (select string_agg(row_to_json(s)::text, ' ' order by id) from
                 (select id, org_id, revoked_at from web_sessions) s),
             (select string_agg(row_to_json(l)::text, ' ' order by id) from (select id, revoked_at from logins) l),
             (select string_agg(state, ' ' order by created_at) from device_codes),
             (select count(*)::text from authorization_codes)
         ]::text[] as state",
    )
    .fetch_one(&mut site.on.sql().await)
    .await
    .unwrap();
    row.get::<Vec<Option<String>>, _>("state").into_iter().map(Option::unwrap_or_default).collect()
}

/// Every form that somebody who is signed in is shown.
async fn forms(site: &Site, browser: &mut Browser) -> Vec<Page> {
    let (code, _) = site.device("laptop").await;
    vec![
        browser.open(site.url("/account")).await,
        browser.open(site.url("/device")).await,
        site.question(browser, &code).await,
        browser.open(site.authorize_url("laptop")).await,
    ]
}

fn all(pages: &[Page]) -> Vec<Form> {
    let forms = pages.iter().flat_map(Page::forms);
    forms.map(|form| if form.value("code") == Some("") { form.fill("code", "BCDF-GHJK") } else { form }).collect()
}

fn decided(form: Form) -> Form {
    if form.action().path().ends_with("/decide") { form.press("decision", "approve") } else { form }
}

#[tokio::test]
async fn a_form_without_its_hidden_field_or_with_anothers_does_nothing() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("mallory").await;
    let other = site.on.organization("other").await;
    let mut sql = site.on.sql().await;
    sqlx::query("insert into members (org_id, user_id, role) select $1, id, 'viewer' from users")
        .bind(other.org.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    site.browser_of("ada").await;
    let mut browser = site.browser_of("ada").await;
    site.let_in(&mut browser, "a-program").await;
    let mut mallory = site.browser_of("mallory").await;
    let foreign = mallory.open(site.url("/account")).await.form("/logout").value("csrf").unwrap().to_owned();
    let anybodys = Browser::new().open(site.url("/login")).await.form("/login").value("csrf").unwrap().to_owned();

    let pages = forms(&site, &mut browser).await;
    let paths: std::collections::BTreeSet<String> =
        all(&pages).iter().map(|form| form.action().path().split('/').take(3).collect::<Vec<_>>().join("/")).collect();
    let expected = [
        "/account/logins",
        "/account/org",
        "/account/sessions",
        "/device",
        "/device/decide",
        "/logout",
        "/oauth/authorize",
    ];
    assert_eq!(paths.iter().collect::<Vec<_>>(), expected);
    let before = state(&site).await;
    for wrong in [None, Some(""), Some(foreign.as_str()), Some(anybodys.as_str())] {
        for form in all(&pages) {
            let path = form.action().path().to_owned();
            let page = browser.submit(decided(form).forge("csrf", wrong)).await;
            assert_eq!(page.status, 403, "{path} with {wrong:?}");
            assert!(page.alert().unwrap().contains("Nothing was done"), "{path}");
        }
    }
    // As a page elsewhere would have it sent, could it know the field.
    for origin in ["https://evil.example", "http://127.0.0.1:1", "data:,"] {
        for form in all(&pages) {
            let form = decided(form);
            let fields: Vec<(&str, &str)> = ["csrf", "code", "org", "decision", "request"]
                .iter()
                .filter_map(|name| Some((*name, form.value(name)?)))
                .collect();
            let page = browser.post(form.action(), &fields, Some(origin)).await;
            assert_eq!(page.status, 403, "{} from {origin}", form.action());
        }
    }
    assert_eq!(state(&site).await, before);
}

#[tokio::test]
async fn nobody_is_signed_in_by_a_form_of_another_site() {
    let site = Site::new().await;
    site.user("mallory").await;
    let (login, password) = (("login", "mallory"), ("password", PASSWORD));
    let mut attacker = Browser::new();
    let known = attacker.open(site.url("/login")).await.form("/login").value("csrf").unwrap().to_owned();
    let mut victim = Browser::new();
    let own = victim.open(site.url("/login")).await.form("/login").value("csrf").unwrap().to_owned();
    let here = site.url("/");
    for (fields, origin) in [
        (vec![login, password], here.as_str()),
        (vec![login, password, ("csrf", known.as_str())], here.as_str()),
        (vec![login, password, ("csrf", own.as_str())], "https://evil.example"),
    ] {
        let page = victim.post(site.url("/login"), &fields, Some(origin)).await;
        assert_eq!((page.status.as_u16(), victim.cookie("ckrv-session")), (403, None), "{fields:?}");
    }
    let page = victim.post(site.url("/login"), &[login, password, ("csrf", &own)], Some(&here)).await;
    assert_eq!(page.url.path(), "/account", "the same with everything right");
}

#[tokio::test]
async fn a_form_of_nobody_leads_to_the_sign_in_page_and_does_nothing() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    site.let_in(&mut browser, "a-program").await;
    let pages = forms(&site, &mut browser).await;
    browser.forget_cookies();
    let before = state(&site).await;
    for form in all(&pages) {
        let path = form.action().path().to_owned();
        let page = browser.submit(decided(form)).await;
        assert_eq!(page.url.path(), "/login", "{path}");
        let back = page.form("/login").value("return_to").unwrap().to_owned();
        assert_eq!(back, if path.starts_with("/device") { "/device" } else { "/account" }, "{path}");
    }
    assert_eq!(state(&site).await, before);
}

#[tokio::test]
async fn a_form_with_a_field_twice_or_of_another_kind_is_refused() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    let csrf = browser.open(site.url("/account")).await.form("/logout").value("csrf").unwrap().to_owned();
    let page = browser.post(site.url("/logout"), &[("csrf", &csrf), ("csrf", &csrf)], None).await;
    assert_eq!(page.status, 400);
    let page = browser.post(site.url("/account/org"), &[("csrf", &csrf), ("org", "no id")], None).await;
    assert_eq!(page.status, 400);
    let request = reqwest::Client::new().post(site.url("/logout")).json(&serde_json::json!({"csrf": csrf}));
    let cookie = format!("ckrv-session={}", browser.cookie("ckrv-session").unwrap());
    assert_eq!(request.header("cookie", cookie).send().await.unwrap().status(), 415);
    assert_eq!(browser.open(site.url("/account")).await.url.path(), "/account");
}
