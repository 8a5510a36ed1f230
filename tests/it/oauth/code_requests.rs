//! RFC 6749, section 4.1.1, RFC 7636 and RFC 8252: which authorization requests people are asked about, and where errors go.

use super::*;

/// A good request but for one parameter; none: without it.
fn but<'a>(pkce: &'a Pkce, name: &'a str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut request = pkce.request();
    request.retain(|(known, _)| *known != name);
    request.extend(value.map(|value| (name, value)));
    request
}

/// The error that the client is sent.
async fn sent_back(authority: &Authority, browser: &mut Browser, request: &[(&str, &str)]) -> String {
    let page = browser.open(authority.authorize_url(request)).await;
    let back = page.leaves_for.unwrap_or_else(|| panic!("{request:?}: stays at {}: {}", page.url, page.text));
    assert!(back.as_str().starts_with(REDIRECT), "{back}");
    assert_eq!(parameter(&back, "iss"), Some(authority.issuer()), "{back}");
    assert_eq!(parameter(&back, "code"), None, "{back}");
    parameter(&back, "error").unwrap_or_else(|| panic!("no error: {back}"))
}

/// The person is told, and nobody is sent anywhere.
async fn stays(authority: &Authority, browser: &mut Browser, request: &[(&str, &str)]) {
    let page = browser.open(authority.authorize_url(request)).await;
    assert!(page.leaves_for.is_none() && page.status == 400, "{request:?}: {} {:?}", page.status, page.leaves_for);
    assert!(page.forms().iter().all(|form| form.action().path() != "/oauth/authorize/decide"), "{}", page.text);
}

#[tokio::test]
async fn a_code_comes_back_to_loopback_at_any_port() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    for uri in ["http://127.0.0.1:1/callback", "http://127.0.0.1:65535/callback", "http://[::1]:51004/callback"] {
        let pkce = Pkce::new();
        let request = authority.authorize_url(&but(&pkce, "redirect_uri", Some(uri)));
        let back = people::authorize(&mut browser, &request).await;
        assert!(back.as_str().starts_with(&format!("{uri}?")), "{back}");
    }
}

#[tokio::test]
async fn a_code_comes_back_to_no_other_place() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    let pkce = Pkce::new();
    for uri in [
        "https://evil.example/callback",
        "http://evil.example:51004/callback",
        "http://127.0.0.1.evil.example:51004/callback",
        "http://127.0.0.1:51004@evil.example/callback",
        "http://evil.example@127.0.0.1:51004/callback",
        "http://localhost:51004/callback",
        "http://127.0.0.2:51004/callback",
        "http://0.0.0.0:51004/callback",
        "http://2130706433:51004/callback",
        "https://127.0.0.1:51004/callback",
        "http://127.0.0.1:51004/",
        "http://127.0.0.1:51004/callback/",
        "http://127.0.0.1:51004/callback/../elsewhere",
        "http://127.0.0.1:51004/callback?next=https://evil.example",
        "http://127.0.0.1:51004/callback#fragment",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:/callback\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "/callback",
        "",
    ] {
        stays(&authority, &mut browser, &but(&pkce, "redirect_uri", Some(uri))).await;
    }
    stays(&authority, &mut browser, &but(&pkce, "redirect_uri", None)).await;
}

#[tokio::test]
async fn nobody_is_sent_anywhere_for_an_unknown_client() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    let pkce = Pkce::new();
    stays(&authority, &mut browser, &but(&pkce, "client_id", Some("somebody"))).await;
    stays(&authority, &mut browser, &but(&pkce, "client_id", None)).await;
}

#[tokio::test]
async fn a_code_is_given_with_a_challenge_by_s256_alone() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    let pkce = Pkce::new();
    for request in [
        but(&pkce, "code_challenge_method", Some("plain")),
        but(&pkce, "code_challenge_method", Some("s256")),
        // Which means `plain` (RFC 7636, section 4.3).
        but(&pkce, "code_challenge_method", None),
        but(&pkce, "code_challenge", None),
        but(&pkce, "code_challenge", Some("")),
        but(&pkce, "code_challenge", Some("too-short")),
        but(&pkce, "code_challenge", Some("not+base64url/not+base64url/not+base64url/n")),
    ] {
        assert_eq!(sent_back(&authority, &mut browser, &request).await, "invalid_request", "{request:?}");
    }
}

#[tokio::test]
async fn a_request_for_anything_but_a_code_is_sent_back() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    let pkce = Pkce::new();
    for kind in ["token", "id_token", "code token"] {
        let request = but(&pkce, "response_type", Some(kind));
        assert_eq!(sent_back(&authority, &mut browser, &request).await, "unsupported_response_type", "{kind}");
    }
    let without = but(&pkce, "response_type", None);
    assert_eq!(sent_back(&authority, &mut browser, &without).await, "invalid_request");
}

#[tokio::test]
async fn a_request_for_an_unknown_scope_is_sent_back() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let request = but(&pkce, "scope", Some("read fly"));
    assert_eq!(sent_back(&authority, &mut authority.browser().await, &request).await, "invalid_scope");
}

#[tokio::test]
async fn an_error_is_sent_back_with_the_clients_state() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let request = authority.authorize_url(&but(&pkce, "code_challenge_method", Some("plain")));
    let back = authority.browser().await.open(request).await.leaves_for.unwrap();
    assert_eq!(parameter(&back, "state").as_deref(), Some("of the client"));
}

#[tokio::test]
async fn a_parameter_that_comes_twice_spoils_a_request() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    let pkce = Pkce::new();
    for name in ["client_id", "redirect_uri", "scope", "state", "code_challenge", "response_type"] {
        let mut request = pkce.request();
        request.push(("scope", "read"));
        let again = request.iter().find(|(known, _)| *known == name).copied().unwrap();
        request.push(again);
        let page = browser.open(authority.authorize_url(&request)).await;
        let error = page.leaves_for.as_ref().and_then(|back| parameter(back, "error"));
        assert!(page.status == 400 || error.as_deref() == Some("invalid_request"), "{name}: {} {error:?}", page.status);
    }
}

#[tokio::test]
async fn an_unknown_parameter_is_ignored() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let request =
        authority.authorize_url(&[&pkce.request()[..], &[("resource", "x"), ("prompt", "none of ours")]].concat());
    let back = people::authorize(&mut authority.browser().await, &request).await;
    assert!(parameter(&back, "code").is_some(), "{back}");
}

#[tokio::test]
async fn a_request_without_state_is_answered_without() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let request = authority.authorize_url(&but(&pkce, "state", None));
    let back = people::authorize(&mut authority.browser().await, &request).await;
    assert!(parameter(&back, "code").is_some() && parameter(&back, "state").is_none(), "{back}");
}

#[tokio::test]
async fn who_has_not_signed_in_does_so_first_and_then_sees_the_same_request() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let mut browser = Browser::new();
    let page = browser.open(authority.authorize_url(&pkce.request())).await;
    assert_eq!(page.url.path(), "/login");
    let page = browser.submit(page.form("/login").fill("login", ADA).fill("password", people::PASSWORD)).await;
    let page = browser.submit(page.form("/oauth/authorize/decide").press("decision", "approve")).await;
    let code = parameter(&page.leaves_for.expect("the browser goes back"), "code").unwrap();
    authority.exchange(&code, &pkce.verifier).await.good();
}

#[tokio::test]
async fn no_code_is_given_without_consent_whatever_was_agreed_to_before() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    authority.login_by(&mut browser).await;
    people::authorize(&mut browser, &authority.authorize_url(&Pkce::new().request())).await;
    // RFC 8252, section 8.6: anybody can say that they are a public client.
    let page = browser.open(authority.authorize_url(&Pkce::new().request())).await;
    assert!(page.leaves_for.is_none(), "{:?}", page.leaves_for);
    page.form("/oauth/authorize/decide");
}

#[tokio::test]
async fn consent_needs_the_forms_own_csrf_token() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    for token in [None, Some("nonsense")] {
        let page = browser.open(authority.authorize_url(&Pkce::new().request())).await;
        let form = page.form("/oauth/authorize/decide").press("decision", "approve").forge("csrf", token);
        let page = browser.submit(form).await;
        assert!(page.status == 403 && page.leaves_for.is_none(), "{}", page.status);
    }
    assert_eq!(authority.value("select count(*) from authorization_codes").await, "0");
}

#[tokio::test]
async fn a_consent_that_was_tampered_with_is_checked_again() {
    let authority = Authority::start().await;
    let mut browser = authority.browser().await;
    for (name, value) in [
        ("redirect_uri", "http://127.0.0.1.evil.example:51004/callback"),
        ("client_id", "somebody"),
        ("code_challenge_method", "plain"),
        ("response_type", "token"),
        ("scope", "fly"),
    ] {
        let pkce = Pkce::new();
        let page = browser.open(authority.authorize_url(&pkce.request())).await;
        let forged = authority.authorize_url(&but(&pkce, name, Some(value)));
        let form = page.form("/oauth/authorize/decide").press("decision", "approve").forge("request", forged.query());
        let page = browser.submit(form).await;
        let code = page.leaves_for.as_ref().and_then(|back| parameter(back, "code"));
        assert_eq!(code, None, "{name}");
    }
    assert_eq!(authority.value("select count(*) from authorization_codes").await, "0");
}
