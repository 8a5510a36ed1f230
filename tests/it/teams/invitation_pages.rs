//! Invitations in a browser.

use ckrv_tests::browser::Browser;
use ckrv_tests::people;

use super::*;

#[tokio::test]
async fn who_opens_a_link_signs_in_first_and_is_led_back_to_it() {
    let team = Team::start().await;
    team.stranger("eve").await;
    let (_, link) = team.key().invites("editor").await;
    let mut browser = Browser::new();
    let sign_in = browser.open(&link).await;
    assert_eq!(sign_in.url.path(), "/login");
    let form = sign_in.form("/login").fill("login", "eve").fill("password", people::PASSWORD);
    let page = browser.submit(form).await;
    assert_eq!(page.url.as_str(), link);
    assert_eq!(page.heading(), "Join tests?");
    let facts = page.texts("dd").join(" ");
    assert!(facts.contains("tests") && facts.contains("editor"), "{facts}");
    let done = browser.submit(page.form(page.url.path())).await;
    assert_eq!(done.url.path(), "/account");
    assert!(done.texts("[role=status]").join(" ").contains("joined"), "{}", done.text);
    assert_eq!(done.form("/account/org").value("org"), Some(team.on().keys().org.to_string().as_str()));
    assert_eq!((team.audited("invitation.accepted").await, team.audited("member.joined").await), (1, 2));
}

#[tokio::test]
async fn a_link_that_is_no_good_says_what_to_do() {
    let team = Team::start().await;
    team.stranger("eve").await;
    let mut browser = people::sign_in(&team.on().replica.url(), "eve").await;
    let (id, link) = team.key().invites("editor").await;
    let form = browser.open(&link).await;
    let form = form.form(form.url.path());
    team.key().delete(&format!("/v1/invitations/{id}")).await.is(204);
    for page in [browser.open(&link).await, browser.submit(form).await] {
        assert_eq!(page.status.as_u16(), 404);
        assert!(page.alert().is_some_and(|alert| alert.contains("Ask who invited you")), "{}", page.text);
    }
}

#[tokio::test]
async fn a_member_is_told_that_there_is_nothing_to_do() {
    let team = Team::start().await;
    team.person("vi", Role::Viewer).await;
    let (_, link) = team.key().invites("owner").await;
    let mut browser = people::sign_in(&team.on().replica.url(), "vi").await;
    let page = browser.open(&link).await;
    assert!(page.heading().contains("already") && page.forms().iter().all(|form| form.action().path() == "/logout"));
}

#[tokio::test]
async fn nobody_joins_by_a_form_of_another_site() {
    let team = Team::start().await;
    let eve = team.stranger("eve").await;
    let (_, link) = team.key().invites("editor").await;
    let mut browser = people::sign_in(&team.on().replica.url(), "eve").await;
    let form = browser.open(&link).await;
    let form = form.form(form.url.path());
    assert_eq!(browser.submit(form.forge("csrf", Some("00"))).await.status.as_u16(), 403);
    let csrf = browser.open(&link).await;
    let csrf = csrf.form(csrf.url.path()).value("csrf").unwrap().to_owned();
    let elsewhere = browser.post(&link, &[("csrf", &csrf)], Some("https://evil.example")).await;
    assert_eq!(elsewhere.status.as_u16(), 403);
    assert_eq!(eve.api.about("tests").knocks().await, 404);
}

#[tokio::test]
async fn the_page_has_the_headers_that_all_pages_have() {
    let team = Team::start().await;
    team.stranger("eve").await;
    let (_, link) = team.key().invites("editor").await;
    let mut browser = people::sign_in(&team.on().replica.url(), "eve").await;
    for page in [browser.open(&link).await, browser.open(format!("{link}x")).await] {
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("form-action 'self'"), "{policy}");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "same-origin");
        assert!(!page.text.contains("<script"));
    }
}
