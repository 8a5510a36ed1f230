//! RFC 8414: what the metadata says is so.

use serde_json::json;

use super::*;

const METADATA: &str = "/.well-known/oauth-authorization-server";

async fn metadata(authority: &Authority) -> Value {
    let answer = Answer::of(authority.http.get(authority.url(METADATA))).await.good();
    assert_eq!(answer.header("content-type"), "application/json");
    answer.body
}

fn list<'a>(metadata: &'a Value, member: &str) -> Vec<&'a str> {
    let values = metadata[member].as_array().unwrap_or_else(|| panic!("no {member}: {metadata}"));
    values.iter().map(|value| value.as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_metadata_names_the_issuer_and_only_addresses_of_its_own() {
    let authority = Authority::with(&["--public-url", "https://ckrv.example.com"]).await;
    let Value::Object(metadata) = metadata(&authority).await else { panic!("not an object") };
    assert_eq!(metadata["issuer"], "https://ckrv.example.com");
    let addresses = metadata.iter().filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri");
    let addresses: Vec<_> = addresses.map(|(_, address)| address.as_str().unwrap()).collect();
    assert_eq!(addresses.len(), 5, "{addresses:?}");
    assert!(addresses.iter().all(|address| address.starts_with("https://ckrv.example.com/")), "{addresses:?}");
}

#[tokio::test]
async fn every_address_in_the_metadata_is_served() {
    let authority = Authority::start().await;
    let metadata = metadata(&authority).await;
    let at = |member: &str| metadata[member].as_str().unwrap_or_else(|| panic!("no {member}")).to_owned();
    for endpoint in ["token_endpoint", "device_authorization_endpoint", "revocation_endpoint"] {
        let answer = Answer::of(authority.http.post(at(endpoint)).form(&[("client_id", CLIENT)])).await;
        let expected = if endpoint == "device_authorization_endpoint" { 200 } else { 400 };
        assert_eq!(answer.status, expected, "{endpoint}: {answer:?}");
        assert_eq!(Answer::of(authority.http.get(at(endpoint))).await.status, 405, "{endpoint}");
    }
    assert!(Answer::of(authority.http.get(at("jwks_uri"))).await.good().body["keys"].is_array());
    let page = authority.browser().await.open(at("authorization_endpoint")).await;
    assert_eq!(page.status, 400, "{}", page.text);
}

#[tokio::test]
async fn the_grants_in_the_metadata_are_those_that_are_taken() {
    let authority = Authority::start().await;
    let metadata = metadata(&authority).await;
    let mut supported = list(&metadata, "grant_types_supported");
    supported.sort_unstable();
    assert_eq!(supported, ["authorization_code", "refresh_token", DEVICE_GRANT]);
    for grant in supported {
        let answer = authority.token(&[("grant_type", grant)]).await;
        assert_eq!(answer.text("error"), "invalid_request", "{grant}: its parameters are missing");
    }
    for grant in ["password", "client_credentials", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer"] {
        authority.token(&[("grant_type", grant)]).await.is_refused("unsupported_grant_type");
    }
}

#[tokio::test]
async fn the_metadata_promises_what_is_kept_and_nothing_more() {
    let authority = Authority::start().await;
    let metadata = metadata(&authority).await;
    assert_eq!(list(&metadata, "response_types_supported"), ["code"]);
    assert_eq!(list(&metadata, "code_challenge_methods_supported"), ["S256"]);
    // Its default would be `client_secret_basic`, and clients here have no secret.
    assert_eq!(list(&metadata, "token_endpoint_auth_methods_supported"), ["none"]);
    assert_eq!(list(&metadata, "revocation_endpoint_auth_methods_supported"), ["none"]);
    assert_eq!(list(&metadata, "scopes_supported"), ["read", "run", "manage"]);
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], json!(true));
    if let Some(modes) = metadata.get("response_modes_supported") {
        assert_eq!(modes, &json!(["query"]));
    }
}

#[tokio::test]
async fn each_scope_in_the_metadata_can_be_asked_for() {
    let authority = Authority::start().await;
    for scope in list(&metadata(&authority).await, "scopes_supported") {
        authority.client_post("/oauth/device_authorization", &[("scope", scope)]).await.good();
    }
}

#[tokio::test]
async fn the_metadata_and_the_keys_are_anybodys_to_read() {
    let authority = Authority::start().await;
    for path in [METADATA, "/oauth/jwks.json"] {
        let request = authority.http.get(authority.url(path)).bearer_auth("nonsense");
        assert_eq!(Answer::of(request).await.status, 200, "{path}");
    }
}
