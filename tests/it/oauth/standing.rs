//! What a person's program may do is what the person may do now: suspended, removed or demoted, it is felt on every path.

use serde_json::json;

use super::*;

async fn whoami(authority: &Authority, token: &str, org: Option<&str>) -> Answer {
    let mut request = authority.http.get(authority.url("/v1/whoami")).bearer_auth(token);
    if let Some(org) = org {
        request = request.header(ckrv_types::identity::ORG_HEADER, org);
    }
    Answer::of(request).await
}

async fn submits(authority: &Authority, token: &str) -> u16 {
    let job = ckrv_types::job::SubmitJob { spec: ckrv_tests::replica::spec(), project: None };
    Answer::of(authority.http.post(authority.url("/v1/jobs")).bearer_auth(token).json(&job)).await.status
}

const SUSPEND: &str = "update users set suspended_at = now()";

#[tokio::test]
async fn a_suspended_persons_program_is_refused_on_every_path() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    assert_eq!(authority.knocks(&tokens.access).await, 200);
    authority.sql(SUSPEND).await;
    authority.is_shut_out(&tokens.access).await;
    authority.refresh(&tokens.refresh).await.is_refused("invalid_grant");
}

#[tokio::test]
async fn a_suspended_persons_approval_is_worth_nothing_any_more() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    authority.approve(&mut authority.browser().await, &device).await;
    authority.sql(SUSPEND).await;
    let answer = authority.poll(&device).await;
    assert!(matches!(answer.text("error"), "access_denied" | "invalid_grant"), "{answer:?}");
    authority.exchange(&code, &pkce.verifier).await.is_refused("invalid_grant");
    assert_eq!(authority.value("select count(*) from logins").await, "0");
}

#[tokio::test]
async fn a_suspended_person_approves_nothing() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    let form = authority.types(&mut browser, &device.user_code).await.form("/device/decide");
    authority.sql(SUSPEND).await;
    browser.submit(form.press("decision", "approve")).await;
    authority.poll(&device).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn who_was_removed_from_an_organization_is_out_of_it() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    assert_eq!(authority.knocks(&tokens.access).await, 200);
    authority.sql("delete from members").await;
    authority.is_shut_out(&tokens.access).await;
    wait_for("it is refused", CACHE, async || (submits(&authority, &tokens.access).await == 401).then_some(())).await;
}

#[tokio::test]
async fn who_was_removed_keeps_other_organizations() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    let other = another_organization(&authority, "neighbours").await;
    people::join(&mut authority.on.sql().await, other, authority.ada, Role::Editor).await;
    authority.sql("delete from members where role = 'owner'").await;
    authority.is_shut_out(&tokens.access).await;
    assert_eq!(whoami(&authority, &tokens.access, Some("neighbours")).await.status, 200);
}

#[tokio::test]
async fn a_viewers_program_sees_and_submits_nothing() {
    let authority = Authority::start().await;
    authority.person("eve", Role::Viewer).await;
    let token = authority.login_of("eve").await.access;
    let answer = whoami(&authority, &token, None).await.good();
    assert_eq!((&answer.body["scopes"], &answer.body["user"]["role"]), (&json!(["read"]), &json!("viewer")));
    assert_eq!(submits(&authority, &token).await, 403);
    assert_eq!(Answer::of(authority.http.get(authority.url("/v1/jobs")).bearer_auth(&token)).await.status, 200);
}

#[tokio::test]
async fn an_editors_program_submits_and_manages_nothing() {
    let authority = Authority::start().await;
    authority.person("eve", Role::Editor).await;
    let token = authority.login_of("eve").await.access;
    assert_eq!(submits(&authority, &token).await, 201);
    let project = json!({ "name": "of-eve" });
    let made = Answer::of(authority.http.post(authority.url("/v1/projects")).bearer_auth(&token).json(&project)).await;
    assert_eq!(made.status, 403, "{made:?}");
}

#[tokio::test]
async fn who_is_demoted_loses_the_right_with_tokens_that_are_out() {
    let authority = Authority::start().await;
    let token = authority.login().await.access;
    assert_eq!(submits(&authority, &token).await, 201);
    authority.sql("update members set role = 'viewer'").await;
    wait_for("it is refused", CACHE, async || (submits(&authority, &token).await == 403).then_some(())).await;
    assert_eq!(authority.knocks(&token).await, 200);
}

#[tokio::test]
async fn a_program_may_act_in_another_organization_of_the_persons_own() {
    let authority = Authority::start().await;
    let token = authority.login().await.access;
    let other = another_organization(&authority, "neighbours").await;
    people::join(&mut authority.on.sql().await, other, authority.ada, Role::Viewer).await;
    for name in [other.to_string().as_str(), "neighbours"] {
        let answer = whoami(&authority, &token, Some(name)).await.good();
        assert_eq!((answer.text("org_name"), &answer.body["user"]["role"]), ("neighbours", &json!("viewer")));
        assert_eq!(answer.body["scopes"], json!(["read"]), "the role is that of the organization");
    }
    assert_eq!(whoami(&authority, &token, None).await.good().text("org_name"), "tests");
}

#[tokio::test]
async fn a_foreign_organization_is_as_one_that_does_not_exist() {
    let authority = Authority::start().await;
    let other = another_organization(&authority, "neighbours").await;
    let token = authority.login().await.access;
    for name in [other.to_string().as_str(), "neighbours", &OrgId::new().to_string(), "nobodys", "", "\u{fc}"] {
        let answer = whoami(&authority, &token, Some(name)).await;
        assert_eq!((answer.status, answer.text("code")), (404, "not_found"), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn the_organization_in_the_header_means_nothing_with_an_api_key() {
    let authority = Authority::start().await;
    another_organization(&authority, "neighbours").await;
    let key = authority.on.keys().api_key.expose();
    assert_eq!(whoami(&authority, key, Some("neighbours")).await.good().text("org_name"), "tests");
}

#[tokio::test]
async fn a_login_that_ended_ends_its_access_tokens() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    authority.time_passes("91 days").await;
    authority.is_shut_out(&tokens.access).await;
}

#[tokio::test]
async fn who_is_asked_by_whoami_is_shown_no_token() {
    let authority = Authority::start().await;
    let tokens = authority.login().await;
    let answer = whoami(&authority, &tokens.access, None).await.good();
    assert_eq!(answer.body["user"]["id"], json!(authority.ada));
    assert_eq!(answer.body["user"]["memberships"][0]["org_name"], "tests");
    assert!(!answer.body.to_string().contains("ck_refresh"), "{answer:?}");
}
