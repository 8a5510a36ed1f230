//! RFC 6749, sections 3 and 5.2: the form of requests and of refusals.

use super::*;

const ENDPOINTS: [&str; 3] = ["/oauth/token", "/oauth/device_authorization", "/oauth/revoke"];

#[tokio::test]
async fn a_parameter_that_comes_twice_spoils_a_request() {
    let authority = Authority::start().await;
    let device = authority.device().await;
    let refresh = authority.login().await.refresh;
    let requests: [(&str, Vec<(&str, &str)>); 3] = [
        ("/oauth/token", vec![("grant_type", DEVICE_GRANT), ("device_code", &device.code), ("client_id", CLIENT)]),
        ("/oauth/device_authorization", vec![("scope", "read"), ("client_id", CLIENT)]),
        ("/oauth/revoke", vec![("token", &refresh), ("client_id", CLIENT)]),
    ];
    for (path, form) in requests {
        for twice in &form {
            // As it was, and as somebody would slip it in.
            for value in [twice.1, "something else"] {
                let form = [&form[..], &[(twice.0, value)]].concat();
                authority.post(path, &form).await.is_refused("invalid_request");
            }
        }
    }
    authority.poll(&device).await.is_refused("authorization_pending");
    authority.refresh(&refresh).await.good();
}

#[tokio::test]
async fn a_parameter_without_a_value_counts_as_left_out() {
    let authority = Authority::start().await;
    authority.token(&[("grant_type", "")]).await.is_refused("invalid_request");
    let answer = authority.client_post("/oauth/device_authorization", &[("scope", "")]).await.good();
    let device = Device::of(&answer);
    authority.approve(&mut authority.browser().await, &device).await;
    assert_eq!(authority.poll(&device).await.good().text("scope"), "read run manage");
}

#[tokio::test]
async fn a_parameter_that_nobody_knows_is_ignored() {
    let authority = Authority::start().await;
    let refresh = authority.login().await.refresh;
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str()), ("audience", "x"), ("x", "")];
    authority.token(&form).await.good();
}

#[tokio::test]
async fn a_grant_without_its_parameters_is_no_request() {
    let authority = Authority::start().await;
    authority.token(&[]).await.is_refused("invalid_request");
    for grant in ["refresh_token", "authorization_code", DEVICE_GRANT] {
        authority.token(&[("grant_type", grant)]).await.is_refused("invalid_request");
    }
}

#[tokio::test]
async fn what_stands_in_the_address_is_not_read() {
    let authority = Authority::start().await;
    let refresh = authority.login().await.refresh;
    let address = format!("/oauth/token?grant_type=refresh_token&client_id={CLIENT}&refresh_token={refresh}");
    let answer = authority.post(&address, &[]).await;
    assert!(matches!(answer.text("error"), "invalid_request" | "invalid_client"), "{answer:?}");
}

#[tokio::test]
async fn a_request_is_a_form_and_nothing_else() {
    let authority = Authority::start().await;
    for path in ENDPOINTS {
        let json = serde_json::json!({ "client_id": CLIENT, "grant_type": "refresh_token", "token": "x" });
        let answer = Answer::of(authority.http.post(authority.url(path)).json(&json)).await;
        assert!(matches!(answer.status, 400 | 415), "{path}: {answer:?}");
        assert_eq!(answer.text("error"), "invalid_request", "{path}");
        let garbled = authority.http.post(authority.url(path)).body("client_id=%ff%fe&=&&");
        let garbled = garbled.header("content-type", "application/x-www-form-urlencoded");
        let answer = Answer::of(garbled).await;
        assert!((400..500).contains(&answer.status) && answer.body["error"].is_string(), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_form_may_name_its_charset() {
    let authority = Authority::start().await;
    let request = authority.http.post(authority.url("/oauth/device_authorization")).body(format!("client_id={CLIENT}"));
    let request = request.header("content-type", "application/x-www-form-urlencoded;charset=UTF-8");
    assert_eq!(Answer::of(request).await.status, 200);
}

#[tokio::test]
async fn a_refusal_is_json_in_plain_ascii_that_nobody_may_store() {
    let authority = Authority::start().await;
    let form = [("grant_type", "\"schlüssel\\\u{1}\"")];
    let refusals = [
        authority.token(&form).await,
        authority.token(&[("grant_type", "refresh_token"), ("refresh_token", "ck_\"ü")]).await,
        authority.client_post("/oauth/device_authorization", &[("scope", "\"ü\\")]).await,
        authority.client_post("/oauth/revoke", &[]).await,
    ];
    for answer in refusals {
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
        // RFC 6749, section 5.2.
        let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(answer.body["error_description"].as_str().unwrap_or_default().bytes().all(allowed), "{answer:?}");
    }
}

#[tokio::test]
async fn a_refusal_repeats_no_secret() {
    let authority = Authority::start().await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", "ck_refresh_somebodys_secret")];
    let answer = authority.token(&form).await;
    assert!(!answer.body.to_string().contains("secret"), "{answer:?}");
}

#[tokio::test]
async fn a_request_of_any_size_is_answered_and_a_huge_one_is_not_read() {
    let authority = Authority::start().await;
    let huge = "x".repeat(ckrv_types::limits::BODY_BYTES + 1);
    for path in ENDPOINTS {
        let answer = authority.client_post(path, &[("token", &huge)]).await;
        assert!(matches!(answer.status, 400 | 413), "{path}: {}", answer.status);
    }
}

#[tokio::test]
async fn endpoints_for_programs_are_not_for_other_sites_scripts() {
    let authority = Authority::start().await;
    for path in ENDPOINTS {
        let request = authority.http.post(authority.url(path)).form(&[("client_id", CLIENT)]);
        let answer = Answer::of(request.header("origin", "https://evil.example")).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
}
