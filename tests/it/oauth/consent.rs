//! RFC 8628, sections 3.3 and 5: what a person is asked before a device is let in, and how nobody is made to agree.

use super::*;

/// Spelled as people type, and as they should not have to care.
fn spellings(code: &str) -> [String; 6] {
    let bare = code.replace('-', "");
    [
        code.to_owned(),
        code.to_lowercase(),
        bare.clone(),
        format!(" {} {} ", &bare[..2], bare[2..].to_lowercase()),
        format!("{}.{}/", &bare[..5], &bare[5..]),
        code.replace('-', "\u{2013}"),
    ]
}

#[tokio::test]
async fn a_user_code_is_read_without_case_and_punctuation() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    let device = authority.device().await;
    for spelling in spellings(&device.user_code) {
        assert!(authority.is_asked(&mut browser, &spelling).await, "{spelling:?}");
    }
}

#[tokio::test]
async fn a_link_with_the_code_fills_it_in_and_approves_nothing() {
    let authority = Authority::start().await;
    let answer = authority.client_post("/oauth/device_authorization", &[]).await.good();
    let mut browser = authority.browser().await;
    let page = browser.open(answer.text("verification_uri_complete")).await;
    assert_eq!(page.form("/device").value("code"), Some(answer.text("user_code")));
    assert!(!people::asks(&page), "it asks before the person has looked at the code:\n{}", page.text);
    let state = "select state || coalesce(user_id::text, '') from device_codes";
    assert_eq!(authority.value(state).await, "pending");
}

#[tokio::test]
async fn a_link_cannot_decide() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    for query in ["code", "user_code"] {
        let link = format!("/device/decide?{query}={}&decision=approve", device.user_code);
        assert_eq!(browser.open(authority.url(&link)).await.status, 405);
    }
    authority.poll(&device).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn who_follows_a_link_signs_in_and_comes_back_to_the_code() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = Browser::new();
    let page = browser.open(authority.url(&format!("/device?code={}", device.user_code))).await;
    assert_eq!(page.url.path(), "/login");
    let page = browser.submit(page.form("/login").fill("login", ADA).fill("password", people::PASSWORD)).await;
    assert_eq!(page.form("/device").value("code"), Some(device.user_code.as_str()));
}

#[tokio::test]
async fn the_question_names_the_client_the_address_the_host_the_time_and_the_scopes() {
    let authority = Authority::start().await;
    let ask = [("scope", "read run"), ("host", "ada's laptop")];
    let device = Device::of(&authority.client_post("/oauth/device_authorization", &ask).await.good());
    let page = authority.types(&mut authority.browser().await, &device.user_code).await;
    let shown = page.texts("main").join(" ");
    let date = authority.value("select to_char(now() at time zone 'utc', 'FMDD Mon YYYY')").await;
    for wanted in ["127.0.0.1", "ada's laptop", &date, &device.user_code] {
        assert!(shown.contains(wanted), "no {wanted}: {shown}");
    }
    assert!(shown.contains("ckrv"), "{shown}");
    assert!(shown.to_lowercase().contains("only") && shown.to_lowercase().contains("if you started"), "{shown}");
    assert!(!shown.to_lowercase().contains("manage"), "it did not ask for that: {shown}");
}

#[tokio::test]
async fn what_a_device_says_of_itself_is_text_of_bounded_length() {
    let authority = Authority::start().await;
    let host = format!("<script>alert(1)</script>\u{202e}\u{7}{}", "x".repeat(500));
    let ask = [("host", host.as_str())];
    let device = Device::of(&authority.client_post("/oauth/device_authorization", &ask).await.good());
    let page = authority.types(&mut authority.browser().await, &device.user_code).await;
    let shown = page.texts("main").join(" ");
    assert!(!page.text.contains("<script") && shown.contains("<script>alert(1)</script>"), "{}", page.text);
    assert!(!page.text.contains(&"x".repeat(100)) && !page.text.contains(['\u{202e}', '\u{7}']), "{}", page.text);
}

#[tokio::test]
async fn a_decision_needs_the_forms_own_csrf_token() {
    let authority = Authority::start().await;
    authority.person("eve", Role::Viewer).await;
    let device = authority.device().await;
    let (mut browser, mut eves) = (authority.browser().await, authority.browser_of("eve").await);
    let hers = authority.types(&mut eves, &device.user_code).await.form("/device/decide");
    let foreign = hers.value("csrf").expect("the form has a token").to_owned();
    for token in [None, Some(""), Some("nonsense"), Some(&foreign)] {
        let page = authority.types(&mut browser, &device.user_code).await;
        let form = page.form("/device/decide").press("decision", "approve").forge("csrf", token);
        assert_eq!(browser.submit(form).await.status, 403, "{token:?}");
    }
    authority.poll(&device).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn a_decision_sent_from_another_site_is_none() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    let form = authority.types(&mut browser, &device.user_code).await.form("/device/decide");
    let own = |name: &str| form.value(name).unwrap_or_default().to_owned();
    let (csrf, code, org) = (own("csrf"), own("code"), own("org"));
    let fields = [("csrf", csrf.as_str()), ("code", &code), ("org", &org), ("decision", "approve")];
    let page = browser.post(authority.url("/device/decide"), &fields, Some("https://evil.example")).await;
    assert_eq!(page.status, 403);
    authority.poll(&device).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn nobody_decides_without_having_signed_in() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let fields = [("code", device.user_code.as_str()), ("decision", "approve")];
    let page = Browser::new().post(authority.url("/device/decide"), &fields, None).await;
    assert!(page.url.path() == "/login" || page.status == 403, "{} {}", page.status, page.url);
    authority.poll(&device).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn a_decision_is_made_once() {
    let authority = Authority::start().await;
    let (kept, device) = (authority.device().await, authority.device().await);
    let mut browser = authority.browser().await;
    let form = async |browser: &mut Browser| authority.types(browser, &device.user_code).await.form("/device/decide");
    let (first, second) = (form(&mut browser).await, form(&mut browser).await);
    browser.submit(first.press("decision", "deny")).await;
    browser.submit(second.press("decision", "approve")).await;
    assert!(!authority.is_asked(&mut browser, &device.user_code).await, "it is asked about again");
    authority.poll(&device).await.is_refused("access_denied");
    authority.poll(&kept).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn a_device_acts_only_in_an_organization_of_the_persons_own() {
    let authority = Authority::start().await;
    let foreign = another_organization(&authority, "neighbours").await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    let form = authority.types(&mut browser, &device.user_code).await.form("/device/decide");
    let forged = form.press("decision", "approve").forge("org", Some(&foreign.to_string()));
    assert!(browser.submit(forged).await.status.is_client_error());
    authority.poll(&device).await.is_refused("authorization_pending");
}

#[tokio::test]
async fn a_person_of_several_organizations_says_which_one_a_device_acts_in() {
    let authority = Authority::start().await;
    let other = another_organization(&authority, "neighbours").await;
    people::join(&mut authority.on.sql().await, other, authority.ada, Role::Viewer).await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    let form = authority.types(&mut browser, &device.user_code).await.form("/device/decide");
    browser.submit(form.fill("org", &other.to_string()).press("decision", "approve")).await;
    let tokens = authority.poll(&device).await.tokens();
    let answer = Answer::of(authority.http.get(authority.url("/v1/whoami")).bearer_auth(tokens.access)).await.good();
    assert_eq!((answer.text("org"), answer.text("org_name")), (other.to_string().as_str(), "neighbours"));
}

#[tokio::test]
async fn no_page_of_a_decision_runs_scripts_or_lets_itself_be_framed_or_stored() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let mut browser = authority.browser().await;
    let asked = authority.types(&mut browser, &device.user_code).await;
    let consent = browser.open(authority.authorize_url(&Pkce::new().request())).await;
    for page in [asked, consent] {
        let policy = page.header("content-security-policy");
        for wanted in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(wanted), "{}: {policy}", page.url);
        }
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
        assert!(page.header("cache-control").contains("no-store"), "{}", page.url);
        assert!(!page.text.contains("<script") && !page.text.contains(" style="), "{}", page.text);
    }
}

#[tokio::test]
async fn an_organization_that_has_suspended_somebody_is_never_the_one_that_is_chosen() {
    let authority = Authority::start().await;
    let (device, here) = (authority.device().await, authority.on.keys().org);
    let other = another_organization(&authority, "other").await;
    people::join(&mut authority.on.sql().await, other, authority.ada, Role::Viewer).await;
    let mut browser = authority.browser().await;
    authority.sql(&format!("update web_sessions set org_id = '{}'", here.uuid())).await;
    authority.sql(&format!("update members set suspended_at = now() where org_id = '{}'", here.uuid())).await;
    let form = authority.types(&mut browser, &device.user_code).await.form("/device/decide");
    assert_eq!(form.value("org"), Some(other.to_string().as_str()));
    let page = browser.submit(form.press("decision", "approve")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    authority.poll(&device).await.tokens();
}
