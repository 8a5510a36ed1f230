//! RFC 9068 and RFC 8725: what an access token says, and which tokens are none.

use ckrv_server::oauth::signing;
use ckrv_types::job::SubmitJob;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::*;

/// Signs what the server itself would not, with the server's own key.
struct Forger {
    authority: Authority,
    genuine: String,
    claims: Value,
    header: Header,
    key: EncodingKey,
}

impl Forger {
    async fn new() -> Self {
        let authority = Authority::start().await;
        let genuine = authority.login().await.access;
        let state = authority.on.state();
        let keys = state.signing_keys.signing(&state.db).await.unwrap();
        let key = signing::due(&keys).unwrap();
        let header =
            Header { typ: Some("at+jwt".to_owned()), kid: Some(key.id.clone()), ..Header::new(Algorithm::EdDSA) };
        let (claims, key) = (part(&genuine, 1), key.encoding.clone());
        Self { authority, genuine, claims, header, key }
    }

    fn signed(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }

    /// A token whose claim is another; `null`: that has none.
    fn with(&self, claim: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        } else {
            claims[claim] = value;
        }
        self.signed(&self.header, &claims)
    }

    async fn is_refused(&self, token: &str, why: &str) {
        assert_eq!(self.authority.knocks(token).await, 401, "{why}: {token}");
    }
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

#[tokio::test]
async fn an_access_token_says_who_for_whom_and_until_when() {
    let authority = Authority::start().await;
    let token = authority.login().await.access;
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    assert!(header["kid"].is_string(), "{header}");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(authority.issuer()), &json!(authority.issuer())));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(authority.ada), &json!(CLIENT)));
    assert_eq!(claims["scope"], "read run manage");
    let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert_eq!(expires - issued, 600);
    assert!((time::OffsetDateTime::now_utc().unix_timestamp() - issued).abs() < 60, "{claims}");
    let other = part(&authority.login().await.access, 1);
    assert!(claims["jti"].is_string() && claims["jti"] != other["jti"]);
}

#[tokio::test]
async fn an_access_token_tells_nothing_of_the_person_but_an_id() {
    let token = Authority::start().await.login().await.access;
    let Value::Object(claims) = part(&token, 1) else { panic!("not claims: {token}") };
    let mut names: Vec<&str> = claims.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["aud", "client_id", "exp", "iat", "iss", "jti", "scope", "sid", "sub"]);
}

#[tokio::test]
async fn a_token_that_is_not_signed_is_none() {
    let forger = Forger::new().await;
    let claims = encoded(&forger.claims);
    for algorithm in ["none", "None", "NONE", ""] {
        let header = encoded(&json!({ "typ": "at+jwt", "alg": algorithm, "kid": forger.header.kid }));
        forger.is_refused(&format!("{header}.{claims}."), algorithm).await;
    }
    let (unsigned, _) = forger.genuine.rsplit_once('.').unwrap();
    forger.is_refused(&format!("{unsigned}."), "the signature was taken away").await;
}

#[tokio::test]
async fn a_token_that_is_signed_with_the_public_key_as_a_shared_secret_is_none() {
    let forger = Forger::new().await;
    let keys = Answer::of(forger.authority.http.get(forger.authority.url("/oauth/jwks.json"))).await.body;
    let key = &keys["keys"][0];
    let x = key["x"].as_str().unwrap();
    let signed = encoded(&json!({ "typ": "at+jwt", "alg": "HS256", "kid": forger.header.kid }));
    let signed = format!("{signed}.{}", encoded(&forger.claims));
    for secret in [URL_SAFE_NO_PAD.decode(x).unwrap(), x.into(), key.to_string().into_bytes()] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        mac.update(signed.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        forger.is_refused(&format!("{signed}.{signature}"), "HS256").await;
    }
}

#[tokio::test]
async fn a_token_with_claims_that_are_not_ours_is_none() {
    let forger = Forger::new().await;
    // What is refused below is refused for its claim, and not because it was not signed well.
    assert_eq!(forger.authority.knocks(&forger.with("jti", json!("another"))).await, 200);
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    for (claim, value) in [
        ("iss", json!("https://evil.example")),
        ("iss", Value::Null),
        ("aud", json!("https://evil.example")),
        ("aud", Value::Null),
        ("exp", json!(now - 60)),
        ("exp", Value::Null),
        ("sid", json!(ckrv_types::LoginId::new())),
        ("sid", Value::Null),
        ("sub", Value::Null),
    ] {
        forger.is_refused(&forger.with(claim, value.clone()), &format!("{claim} is {value}")).await;
    }
}

#[tokio::test]
async fn a_token_of_another_kind_is_none() {
    let forger = Forger::new().await;
    for typ in [Some("JWT"), Some("dpop+jwt"), Some("id+jwt"), None] {
        let header = Header { typ: typ.map(str::to_owned), ..forger.header.clone() };
        forger.is_refused(&forger.signed(&header, &forger.claims), &format!("{typ:?}")).await;
    }
}

#[tokio::test]
async fn a_token_of_anybody_elses_key_is_none() {
    let forger = Forger::new().await;
    let other = Forger::new().await;
    let ours = &forger.header;
    // A key of its own under our key's name, under its own name, and sent along.
    forger.is_refused(&jsonwebtoken::encode(ours, &forger.claims, &other.key).unwrap(), "our name").await;
    forger.is_refused(&other.signed(&other.header, &forger.claims), "its own name").await;
    let theirs = Answer::of(other.authority.http.get(other.authority.url("/oauth/jwks.json"))).await.body;
    let jwk = serde_json::from_value(theirs["keys"][0].clone()).unwrap();
    let sent_along = Header { jwk: Some(jwk), ..ours.clone() };
    forger.is_refused(&other.signed(&sent_along, &forger.claims), "sent along").await;
    let elsewhere = Header { jku: Some(other.authority.url("/oauth/jwks.json").into()), ..other.header.clone() };
    forger.is_refused(&other.signed(&elsewhere, &forger.claims), "at an address of its own").await;
    let nameless = Header { kid: None, ..ours.clone() };
    forger.is_refused(&other.signed(&nameless, &forger.claims), "without a name").await;
}

#[tokio::test]
async fn a_token_that_was_changed_is_none() {
    let forger = Forger::new().await;
    let parts: Vec<&str> = forger.genuine.split('.').collect();
    let mut claims = forger.claims.clone();
    claims["exp"] = json!(claims["exp"].as_i64().unwrap() + 3600);
    forger.is_refused(&format!("{}.{}.{}", parts[0], encoded(&claims), parts[2]), "it lives longer").await;
    forger.is_refused(&forger.genuine[..forger.genuine.len() - 4], "its end is missing").await;
    forger.is_refused(&format!("{}.extra", forger.genuine), "there is more").await;
    forger.is_refused(&format!("{}.{}", parts[0], parts[1]), "there is less").await;
}

#[tokio::test]
async fn a_token_is_taken_from_the_header_alone() {
    let authority = Authority::start().await;
    let token = authority.login().await.access;
    // RFC 6750, section 2.3: addresses are logged.
    let in_address = authority.url(&format!("/v1/whoami?access_token={token}"));
    assert_eq!(Answer::of(authority.http.get(in_address)).await.status, 401);
}

#[tokio::test]
async fn a_token_reaches_no_further_than_its_scopes() {
    let authority = Authority::start().await;
    let login = authority.login().await;
    let narrow = async |scope: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", login.refresh.as_str()), ("scope", scope)];
        let token = authority.token(&form).await.tokens().access;
        let job = SubmitJob { spec: ckrv_tests::replica::spec(), project: None };
        let submit = authority.http.post(authority.url("/v1/jobs")).json(&job);
        let make = authority.http.post(authority.url("/v1/projects")).json(&json!({ "name": "a-project" }));
        let submitted = Answer::of(submit.bearer_auth(&token)).await.status;
        (authority.knocks(&token).await, submitted, Answer::of(make.bearer_auth(&token)).await.status)
    };
    assert_eq!(narrow("read").await, (200, 403, 403));
    assert_eq!(narrow("read run").await, (200, 201, 403));
    assert_eq!(narrow("read run manage").await, (200, 201, 201));
}
