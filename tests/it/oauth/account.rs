//! What was let in, programs and browsers, is listed, and ended by whoever let it in and by nobody else.

use ckrv_types::{LoginId, SessionId};

use super::*;

async fn newest_login(authority: &Authority) -> LoginId {
    let id = authority.value("select id from logins order by created_at desc limit 1").await;
    LoginId::from_uuid(id.parse().unwrap())
}

async fn newest_session(authority: &Authority) -> SessionId {
    let id = authority.value("select id from web_sessions order by created_at desc limit 1").await;
    SessionId::from_uuid(id.parse().unwrap())
}

#[tokio::test]
async fn a_person_sees_a_program_that_was_let_in_and_ends_its_login() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    let ask = [("host", "ada's laptop")];
    let device = Device::of(&authority.client_post("/oauth/device_authorization", &ask).await.good());
    authority.approve(&mut browser, &device).await;
    let tokens = authority.poll(&device).await.tokens();
    assert_eq!(authority.knocks(&tokens.access).await, 200);
    let page = browser.open(authority.url("/account")).await;
    assert!(page.texts("main").join(" ").contains("ada's laptop"), "{}", page.text);
    let path = format!("/account/logins/{}/revoke", newest_login(&authority).await);
    browser.submit(page.form(&path)).await;
    authority.refresh(&tokens.refresh).await.is_refused("invalid_grant");
    authority.is_shut_out(&tokens.access).await;
    assert_eq!(authority.value("select revoked_for from logins").await, "user");
    let page = browser.open(authority.url("/account")).await;
    assert!(page.forms().iter().all(|form| form.action().path() != path), "it is still listed");
}

#[tokio::test]
async fn a_person_ends_a_session_of_another_browser() {
    let authority = Authority::start().await;
    let (mut here, mut there) = (authority.browser().await, authority.browser().await);
    let path = format!("/account/sessions/{}/revoke", newest_session(&authority).await);
    let form = here.open(authority.url("/account")).await.form(&path);
    here.submit(form).await;
    assert_eq!(there.open(authority.url("/account")).await.url.path(), "/login");
    assert_eq!(here.open(authority.url("/account")).await.url.path(), "/account");
}

#[tokio::test]
async fn nobody_ends_what_is_another_persons() {
    let authority = Authority::start().await;
    authority.person("eve", Role::Owner).await;
    let mut browser = authority.browser().await;
    let tokens = authority.login_by(&mut browser).await;
    let (login, session) = (newest_login(&authority).await, newest_session(&authority).await);
    let mut eves = authority.browser_of("eve").await;
    authority.login_by(&mut eves).await;
    let page = eves.open(authority.url("/account")).await;
    let csrf = page.forms().iter().find_map(|form| form.value("csrf").map(str::to_owned)).expect("there is a form");
    for path in [format!("/account/logins/{login}/revoke"), format!("/account/sessions/{session}/revoke")] {
        eves.post(authority.url(&path), &[("csrf", &csrf)], None).await;
    }
    authority.refresh(&tokens.refresh).await.good();
    assert_eq!(browser.open(authority.url("/account")).await.url.path(), "/account");
}
