//! What an ID token may not be: OpenID Connect Core 1.0, section 3.1.3.7.

use ckrv_tests::browser::Browser;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::scripted::{Scripted, Signing};
use super::{CLIENT, Vouching, is_in};

/// Nobody is let in, and the audit log says why.
async fn refused(on: &Vouching, acme: &Scripted, claims: &Value, why: &str) {
    let mut browser = Browser::new();
    let page = on.through(&mut browser, acme, claims.clone()).await;
    assert_eq!((page.status, page.heading().as_str()), (StatusCode::FORBIDDEN, "You are not signed in"), "{claims}");
    assert!(!is_in(&browser) && on.people().await == 0, "{claims}");
    let told = &on.told("session.refused").await[0];
    assert_eq!(told["reason"], "unsound", "{claims}: {told}");
    assert!(told["what"].as_str().unwrap().contains(why), "{claims}: {told}");
}

#[tokio::test]
async fn an_id_token_whose_claims_are_wrong_lets_nobody_in() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    for (claims, why) in [
        (json!({ "nonce": "of another sign-in" }), "is of another sign-in"),
        (json!({ "nonce": null }), "is of another sign-in"),
        (json!({ "iss": "https://evil.example" }), "is another issuer's"),
        (json!({ "iss": format!("{}/", acme.issuer()) }), "is another issuer's"),
        (json!({ "aud": "another" }), "is for another client"),
        (json!({ "aud": [CLIENT, "another"] }), "is for another client"),
        (json!({ "aud": [] }), "is for another client"),
        (json!({ "azp": "another" }), "is for another client"),
        (json!({ "exp": 1_700_000_000 }), "has expired"),
        (json!({ "exp": null }), "cannot be read"),
        (json!({ "sub": "" }), "names nobody"),
        (json!({ "sub": " " }), "names nobody"),
        (json!({ "sub": null }), "cannot be read"),
        (json!({ "no_id_token": true }), "gave no ID token"),
    ] {
        refused(&on, &acme, &claims, why).await;
    }
}

#[tokio::test]
async fn an_id_token_that_its_issuer_did_not_sign_lets_nobody_in() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    for signing in [Signing::None, Signing::Secret, Signing::Borrowed, Signing::Key(1)] {
        acme.script().signing = signing;
        refused(&on, &acme, &json!({}), "is not signed by a key of its issuer").await;
    }
}

#[tokio::test]
async fn a_provider_that_is_not_the_one_it_should_be_is_not_gone_to() {
    for discovery in [
        json!({ "issuer": "https://evil.example" }),
        json!({ "token_endpoint": "http://evil.example/token" }),
        json!({ "jwks_uri": "http://evil.example/jwks" }),
        json!({ "authorization_endpoint": null }),
    ] {
        let acme = Scripted::start().await;
        acme.script().discovery = discovery.clone();
        let on = Vouching::open(&acme).await;
        let page = Browser::new().open(on.site.url("/login/acme")).await;
        assert!(page.leaves_for.is_none(), "{discovery}");
        assert!(page.status.is_client_error() || page.status.is_server_error(), "{discovery}: {}", page.text);
    }
}
