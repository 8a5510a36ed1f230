//! The pages, in a browser that keeps cookies and reads forms.

mod account;
mod forms;
mod headers;
mod letting_in;
mod markup;
mod password;
mod sessions;
mod sign_in;
mod users;

use ckrv_server::admin::{self, NewUser};
use ckrv_tests::browser::{Browser, Page};
use ckrv_tests::replica::{Installation, Loops};
use ckrv_types::identity::Role;
use ckrv_types::{Secret, UserId};
use serde_json::Value;

pub const PASSWORD: &str = "correct horse battery";
const ORG: &str = "tests";
/// What PKCE's example is made of (RFC 7636, appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// An installation with people in it.
pub struct Site {
    pub on: Installation,
}

impl Site {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(arguments: &[&str]) -> Self {
        Self { on: Installation::with(Loops::Off, arguments).await }
    }

    pub fn url(&self, path: &str) -> String {
        self.on.replica.url().join(path).unwrap().into()
    }

    /// Makes somebody with this login name and [`PASSWORD`].
    pub async fn user(&self, login: &str) -> UserId {
        let user = NewUser {
            login: login.to_owned(),
            name: format!("{login} the Great"),
            email: None,
            org: ORG.to_owned(),
            role: Role::Editor,
            password: Secret::new(PASSWORD),
        };
        admin::create_user(&self.on.state().db, &user).await.unwrap()
    }

    /// Opens the sign-in page and fills it in.
    pub async fn sign_in(&self, browser: &mut Browser, login: &str, password: &str) -> Page {
        let form = browser.open(self.url("/login")).await.form("/login");
        browser.submit(form.fill("login", login).fill("password", password)).await
    }

    /// A browser in which this person has just signed in.
    pub async fn browser_of(&self, login: &str) -> Browser {
        let mut browser = Browser::new();
        let page = self.sign_in(&mut browser, login, PASSWORD).await;
        assert_eq!((page.url.path(), page.status.as_u16()), ("/account", 200), "{}", page.text);
        browser
    }

    /// Has a device ask to be let in; its user's code and its own.
    pub async fn device(&self, host: &str) -> (String, String) {
        let form = [("client_id", "ckrv-cli"), ("host", host)];
        let request = reqwest::Client::new().post(self.url("/oauth/device_authorization")).form(&form);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        (text("user_code"), text("device_code"))
    }

    /// What the device is answered now: the HTTP status and the body.
    pub async fn poll(&self, device_code: &str) -> (u16, Value) {
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let form = [("grant_type", grant), ("client_id", "ckrv-cli"), ("device_code", device_code)];
        let answer = reqwest::Client::new().post(self.url("/oauth/token")).form(&form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Where a program sends its user's browser.
    pub fn authorize_url(&self, host: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", "ckrv-cli")
            .append_pair("redirect_uri", "http://127.0.0.1:4711/callback")
            .append_pair("state", "of the program")
            .append_pair("code_challenge", CHALLENGE)
            .append_pair("code_challenge_method", "S256")
            .append_pair("host", host)
            .finish();
        self.url(&format!("/oauth/authorize?{query}"))
    }

    /// The question that this device's code leads to.
    pub async fn question(&self, browser: &mut Browser, code: &str) -> Page {
        let form = browser.open(self.url("/device")).await.form("/device");
        browser.submit(form.fill("code", code)).await
    }

    /// Lets a device in, and answers its tokens.
    pub async fn let_in(&self, browser: &mut Browser, host: &str) -> Value {
        let (user_code, device_code) = self.device(host).await;
        let question = self.question(browser, &user_code).await;
        browser.submit(question.form("/device/decide").press("decision", "approve")).await;
        let (status, tokens) = self.poll(&device_code).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    /// How many lines of this action the audit log has.
    pub async fn audited(&self, action: &str) -> i64 {
        let count = sqlx::query_scalar("select count(*) from audit_log where action = $1").bind(action);
        count.fetch_one(&mut self.on.sql().await).await.unwrap()
    }
}
