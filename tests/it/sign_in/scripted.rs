//! An OpenID provider that says what a test has it say. It is honest about what a client must do: PKCE, client
//! authentication and the redirect URI are checked as RFC 6749 and RFC 7636 have it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use super::{CLIENT, SECRET, form};

/// Test keys of RFC 8032, section 7.1: seed and public key.
const KEYS: [(&str, &str); 2] = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ),
];

/// How an ID token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// By one of the two keys, under its own name.
    Key(usize),
    /// By the second, under the first one's name.
    Borrowed,
    /// Not at all.
    None,
    /// By the client's secret.
    Secret,
}

/// What it does differently from now on.
pub struct Script {
    pub signing: Signing,
    /// The key that it publishes.
    pub published: usize,
    /// Members that go into its discovery document, or out of it (null).
    pub discovery: Value,
    /// What the token endpoint answers, instead of tokens.
    pub refusal: Option<(u16, Value)>,
    /// What the user info endpoint answers.
    pub user_info: Value,
    /// Whether it answers at all.
    pub away: bool,
    /// How often its keys were asked for.
    pub key_requests: usize,
}

struct Asked {
    redirect_uri: String,
    challenge: String,
    claims: Value,
}

struct Inner {
    issuer: String,
    script: Mutex<Script>,
    codes: Mutex<HashMap<String, Asked>>,
}

pub struct Scripted {
    inner: Arc<Inner>,
    server: JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Scripted {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script = Script {
            signing: Signing::Key(0),
            published: 0,
            discovery: json!({}),
            refusal: None,
            user_info: json!({}),
            away: false,
            key_requests: 0,
        };
        let inner = Arc::new(Inner { issuer, script: Mutex::new(script), codes: Mutex::default() });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(keys))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .with_state(Arc::clone(&inner));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, server }
    }

    pub fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.inner.script.lock().unwrap()
    }

    /// How many codes nobody has asked about.
    pub fn unasked(&self) -> usize {
        self.inner.codes.lock().unwrap().len()
    }

    /// Somebody agreed to what the browser was sent with; where it is sent back. `claims` go before what is usual in the ID
    /// token; null takes one out.
    pub fn agrees(&self, asked: &Url, claims: Value) -> Url {
        assert!(asked.as_str().starts_with(&format!("{}/authorize?", self.issuer())), "{asked}");
        let given: HashMap<String, String> = asked.query_pairs().into_owned().collect();
        assert_eq!(given["response_type"], "code");
        assert_eq!(given["client_id"], CLIENT);
        assert_eq!(given["code_challenge_method"], "S256");
        assert_eq!(given["scope"], "openid profile email");
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let mut all = json!({
            "iss": self.issuer(), "aud": CLIENT, "sub": "248289761001", "nonce": given["nonce"], "iat": now, "exp": now + 60,
            "name": "Jane Doe", "preferred_username": "j.doe", "email": "jane@example.com",
        });
        merge(&mut all, claims);
        let code = format!("code-{:032x}", rand::random::<u128>());
        let asked = Asked {
            redirect_uri: given["redirect_uri"].clone(),
            challenge: given["code_challenge"].clone(),
            claims: all,
        };
        let mut back: Url = asked.redirect_uri.parse().unwrap();
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &given["state"]);
        self.inner.codes.lock().unwrap().insert(code, asked);
        back
    }
}

/// Where somebody is sent back who did not agree.
pub fn refuses(asked: &Url, error: &str) -> Url {
    let given: HashMap<String, String> = asked.query_pairs().into_owned().collect();
    let mut back: Url = given["redirect_uri"].parse().unwrap();
    back.query_pairs_mut().append_pair("error", error).append_pair("state", &given["state"]);
    back
}

fn merge(into: &mut Value, from: Value) {
    let (Value::Object(into), Value::Object(from)) = (into, from) else { panic!("objects are merged") };
    for (name, value) in from {
        if value.is_null() {
            into.remove(&name)
        } else {
            into.insert(name, value)
        };
    }
}

type Answer = (StatusCode, Json<Value>);

async fn discovery(State(inner): State<Arc<Inner>>) -> Answer {
    let script = inner.script.lock().unwrap();
    let at = |path: &str| format!("{}/{path}", inner.issuer);
    let mut document = json!({
        "issuer": inner.issuer, "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
        "jwks_uri": at("jwks"), "userinfo_endpoint": at("userinfo"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        // What it says here must not decide.
        "id_token_signing_alg_values_supported": ["none", "HS256", "EdDSA"],
    });
    merge(&mut document, script.discovery.clone());
    (if script.away { StatusCode::BAD_GATEWAY } else { StatusCode::OK }, Json(document))
}

async fn keys(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let mut script = inner.script.lock().unwrap();
    script.key_requests += 1;
    let x = URL_SAFE_NO_PAD.encode(hex::decode(KEYS[script.published].1).unwrap());
    let kid = format!("key-{}", script.published);
    Json(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA" }] }))
}

async fn user_info(State(inner): State<Arc<Inner>>) -> Json<Value> {
    Json(inner.script.lock().unwrap().user_info.clone())
}

async fn token(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: String) -> Answer {
    let (script, form) = (inner.script.lock().unwrap(), form(&body));
    if let Some((status, body)) = &script.refusal {
        return (StatusCode::from_u16(*status).unwrap(), Json(body.clone()));
    }
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error })));
    if !is_client(&headers, &form) {
        return refused("invalid_client");
    }
    let asked = form.get("code").and_then(|code| inner.codes.lock().unwrap().remove(code));
    let Some(asked) = asked else { return refused("invalid_grant") };
    let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
    let same = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == asked.challenge;
    if !same || form.get("redirect_uri") != Some(&asked.redirect_uri) {
        return refused("invalid_grant");
    }
    let id_token = signed(script.signing, &asked.claims);
    let mut tokens = json!({ "access_token": "access", "token_type": "Bearer", "id_token": id_token });
    if asked.claims.get("no_id_token").is_some() {
        merge(&mut tokens, json!({ "id_token": null }));
    }
    (StatusCode::OK, Json(tokens))
}

/// By Basic, or by the form if the discovery document said so: RFC 6749, section 2.3.1.
fn is_client(headers: &HeaderMap, form: &HashMap<String, String>) -> bool {
    if form.get("client_secret").is_some_and(|secret| secret == SECRET) {
        return form.get("client_id").is_some_and(|id| id == CLIENT);
    }
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = STANDARD.encode(format!("{}:{}", encode(CLIENT), encode(SECRET)));
    headers.get("authorization").is_some_and(|given| given.to_str().unwrap() == format!("Basic {basic}"))
}

fn signed(signing: Signing, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (alg, kid, key) = match signing {
        Signing::Key(key) => ("EdDSA", Some(key), Some(key)),
        Signing::Borrowed => ("EdDSA", Some(0), Some(1)),
        Signing::None => ("none", None, None),
        Signing::Secret => ("HS256", None, None),
    };
    let mut header = json!({ "alg": alg, "typ": "JWT" });
    if let Some(kid) = kid {
        merge(&mut header, json!({ "kid": format!("key-{kid}") }));
    }
    let message = format!("{}.{}", part(&header), part(claims));
    let signature = match (signing, key) {
        (_, Some(key)) => jsonwebtoken::crypto::sign(message.as_bytes(), &encoding_key(key), Algorithm::EdDSA).unwrap(),
        (Signing::Secret, _) => {
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(message.as_bytes());
            URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
        }
        _ => String::new(),
    };
    format!("{message}.{signature}")
}

/// PKCS #8 with the public key in it (RFC 8410, section 7).
fn encoding_key(key: usize) -> EncodingKey {
    let (seed, public) = KEYS[key];
    let der = format!("3053020101300506032b657004220420{seed}a123032100{public}");
    EncodingKey::from_ed_der(&hex::decode(der).unwrap())
}
