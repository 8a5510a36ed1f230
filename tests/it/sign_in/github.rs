//! Through GitHub, which is no OpenID provider: a server of a test's own speaks as its documentation says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode as Status};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ckrv_tests::browser::{Browser, Page};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use super::{CLIENT, SECRET, Vouching, form, is_in};

const CODE: &str = "4f2a";

/// What it says of whoever asks.
struct Script {
    challenge: String,
    user: (u16, Value),
    token: Value,
}

struct GitHub {
    url: String,
    script: Arc<Mutex<Script>>,
    server: JoinHandle<()>,
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl GitHub {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let user = json!({ "login": "octocat", "id": 583_231, "name": "The Octocat", "email": null, "type": "User" });
        let token = json!({ "access_token": "gho_16C7", "token_type": "bearer", "scope": "" });
        let script = Script { challenge: String::new(), user: (200, user), token };
        let script = Arc::new(Mutex::new(script));
        let router = Router::new()
            .route("/login/oauth/access_token", post(token_endpoint))
            .route("/api/v3/user", get(user_endpoint))
            .with_state(Arc::clone(&script));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, script, server }
    }

    /// Somebody agreed to what the browser was sent with.
    fn agrees(&self, asked: &Url) -> Url {
        assert!(asked.as_str().starts_with(&format!("{}/login/oauth/authorize?", self.url)), "{asked}");
        let given: HashMap<String, String> = asked.query_pairs().into_owned().collect();
        assert_eq!((given["client_id"].as_str(), given["code_challenge_method"].as_str()), (CLIENT, "S256"));
        assert!(!given.contains_key("scope"), "nothing is asked for that not everybody may read");
        self.script.lock().unwrap().challenge.clone_from(&given["code_challenge"]);
        let mut back: Url = given["redirect_uri"].parse().unwrap();
        assert_eq!(back.path(), "/login/github/callback");
        back.query_pairs_mut().append_pair("code", CODE).append_pair("state", &given["state"]);
        back
    }

    fn is(&self, user: Value) {
        self.script.lock().unwrap().user.1 = user;
    }

    async fn site(&self, sign_up: &str) -> Vouching {
        let entry = format!(
            "  - {{ id: github, kind: github, url: '{}', client_id: {CLIENT}, client_secret: '{SECRET}', sign_up: {sign_up} }}",
            self.url
        );
        Vouching::with(&entry, &[]).await
    }

    async fn through(&self, on: &Vouching, browser: &mut Browser) -> Page {
        let asked = on.go(browser, "/login/github").await;
        browser.open(self.agrees(&asked)).await
    }
}

/// Refusals have the status 200 too.
async fn token_endpoint(State(script): State<Arc<Mutex<Script>>>, headers: HeaderMap, body: String) -> Json<Value> {
    let (script, form) = (script.lock().unwrap(), form(&body));
    // Without it the answer would be a form's.
    assert_eq!(headers["accept"], "application/json");
    let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
    let good = (form["client_id"].as_str(), form["client_secret"].as_str(), form["code"].as_str());
    if good == (CLIENT, SECRET, CODE) && proof == script.challenge {
        return Json(script.token.clone());
    }
    Json(json!({ "error": "bad_verification_code", "error_description": "The code passed is incorrect or expired." }))
}

async fn user_endpoint(State(script): State<Arc<Mutex<Script>>>, headers: HeaderMap) -> (Status, Json<Value>) {
    let script = script.lock().unwrap();
    assert_eq!(
        (&headers["authorization"], headers.contains_key("user-agent")),
        (&"Bearer gho_16C7".parse().unwrap(), true)
    );
    (Status::from_u16(script.user.0).unwrap(), Json(script.user.1.clone()))
}

#[tokio::test]
async fn somebody_comes_in_by_their_number_whatever_they_are_called() {
    let github = GitHub::start().await;
    let on = github.site("open").await;
    let mut browser = Browser::new();
    let page = github.through(&on, &mut browser).await;
    assert_eq!((page.url.path(), page.status), ("/account", StatusCode::OK), "{}", page.text);
    assert!(page.texts("main").join("").contains("GitHub As octocat"), "{}", page.text);
    let made = on.told("user.created").await;
    assert_eq!(
        made,
        [json!({ "provider": "github", "issuer": format!("github:{}", github.url), "subject": "583231" })]
    );

    github.is(json!({ "login": "monalisa", "id": 583_231 }));
    let page = github.through(&on, &mut Browser::new()).await;
    assert!(page.texts("main").join("").contains("GitHub As monalisa") && on.people().await == 1, "{}", page.text);

    github.is(json!({ "login": "octocat", "id": 999 }));
    github.through(&on, &mut Browser::new()).await;
    assert_eq!(on.people().await, 2, "a name that was given up is another's");
}

#[tokio::test]
async fn an_answer_without_a_number_lets_nobody_in() {
    let github = GitHub::start().await;
    let on = github.site("open").await;
    for user in [
        json!({ "login": "octocat" }),
        json!({ "login": "octocat", "id": null }),
        json!({ "login": "octocat", "id": 0 }),
        json!({ "login": "octocat", "id": -1 }),
        json!({ "login": "octocat", "id": "583231" }),
        json!([]),
    ] {
        github.is(user.clone());
        let mut browser = Browser::new();
        let page = github.through(&on, &mut browser).await;
        assert_eq!((page.status, is_in(&browser)), (StatusCode::FORBIDDEN, false), "{user}");
        assert_eq!(on.told("session.refused").await[0]["reason"], "unsound", "{user}");
    }
    assert_eq!(on.people().await, 0);
}

#[tokio::test]
async fn a_refusal_that_looks_like_an_answer_is_one_and_an_outage_is_told_from_it() {
    let github = GitHub::start().await;
    let on = github.site("open").await;
    let mut browser = Browser::new();
    let asked = on.go(&mut browser, "/login/github").await;
    let back = github.agrees(&asked).as_str().replace(CODE, "other");
    let page = browser.open(back).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.alert().unwrap().contains("GitHub refused: bad_verification_code."), "{}", page.text);

    github.script.lock().unwrap().token = json!({ "access_token": "" });
    assert_eq!(github.through(&on, &mut browser).await.status, StatusCode::FORBIDDEN);

    github.script.lock().unwrap().token = json!({ "access_token": "gho_16C7" });
    for (status, wanted) in
        [(502, StatusCode::SERVICE_UNAVAILABLE), (429, StatusCode::SERVICE_UNAVAILABLE), (401, StatusCode::FORBIDDEN)]
    {
        github.script.lock().unwrap().user.0 = status;
        assert_eq!(github.through(&on, &mut browser).await.status, wanted, "{status}");
    }
    assert!(!is_in(&browser) && on.people().await == 0);
}

#[tokio::test]
async fn a_stranger_is_told_as_whom_they_came() {
    let github = GitHub::start().await;
    let on = github.site("invited").await;
    let page = github.through(&on, &mut Browser::new()).await;
    assert!(page.alert().unwrap().contains("You came as octocat at GitHub"), "{}", page.text);
    on.knows(on.site.user("ada").await, &format!("github:{}", github.url), "583231").await;
    let page = github.through(&on, &mut Browser::new()).await;
    assert!(page.texts("main").join("").contains("signed in as ada the Great"), "{}", page.text);
}
