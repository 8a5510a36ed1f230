//! The authorization server as programs and browsers meet it: each rule that it keeps is one test, named by the rule.
//!
//! No test waits for a clock: [`Authority::time_passes`] makes everything older that the database has a time of.

mod access_tokens;
mod account;
mod at_rest;
mod audit;
mod clients;
mod code;
mod code_requests;
mod consent;
mod device;
mod discovery;
mod guesses;
mod other_clients;
mod outage;
mod polls;
mod refresh;
mod requests;
mod revocation;
mod signing_keys;
mod standing;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ckrv_tests::browser::{Browser, Page};
use ckrv_tests::people;
use ckrv_tests::replica::{Installation, Loops, Replica};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::Role;
use ckrv_types::{OrgId, UserId};
use reqwest::header::HeaderMap;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;
use url::Url;

/// The one client.
pub const CLIENT: &str = "ckrv-cli";
/// Where the tests' loopback client listens, or would.
pub const REDIRECT: &str = "http://127.0.0.1:51004/callback";
pub const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// The owner of the first organization.
pub const ADA: &str = "ada";
/// What a credential that was found good is believed for (10 s), with something to spare.
pub const CACHE: Duration = Duration::from_secs(15);

/// A server, and a person who may let programs act for them.
pub struct Authority {
    pub on: Installation,
    pub http: reqwest::Client,
    pub ada: UserId,
}

/// What an endpoint answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

/// Codes that a device was given.
#[derive(Debug, Clone)]
pub struct Device {
    pub code: String,
    pub user_code: String,
}

/// What a program was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Authority {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With further arguments of `ckrv-server serve`.
    pub async fn with(arguments: &[&str]) -> Self {
        let on = Installation::with(Loops::Off, arguments).await;
        let ada = people::add(&mut on.sql().await, on.keys().org, ADA, Role::Owner).await;
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { on, http, ada }
    }

    pub fn url(&self, path: &str) -> Url {
        self.on.replica.url().join(path).unwrap()
    }

    /// What tokens are issued by.
    pub fn issuer(&self) -> String {
        self.on.state().config.issuer()
    }

    /// One more replica, behind the same address for users.
    pub async fn another_replica(&self, loops: Loops, arguments: &[&str]) -> Replica {
        let issuer = self.issuer();
        self.on.another_replica_with(loops, &[&["--public-url", issuer.as_str()], arguments].concat()).await
    }

    // People.

    /// One more member of the first organization.
    pub async fn person(&self, login: &str, role: Role) -> UserId {
        people::add(&mut self.on.sql().await, self.on.keys().org, login, role).await
    }

    /// A browser in which Ada has signed in.
    pub async fn browser(&self) -> Browser {
        self.browser_of(ADA).await
    }

    pub async fn browser_of(&self, login: &str) -> Browser {
        people::sign_in(&self.on.replica.url(), login).await
    }

    pub async fn approve(&self, browser: &mut Browser, device: &Device) {
        people::approve(browser, &self.on.replica.url(), &device.user_code).await;
    }

    pub async fn deny(&self, browser: &mut Browser, device: &Device) {
        people::deny(browser, &self.on.replica.url(), &device.user_code).await;
    }

    /// What a browser shows when somebody types this as a user code.
    pub async fn types(&self, browser: &mut Browser, code: &str) -> Page {
        people::types(browser, &self.on.replica.url(), code).await
    }

    /// Whether typing this has the browser ask for a decision.
    pub async fn is_asked(&self, browser: &mut Browser, code: &str) -> bool {
        people::asks(&self.types(browser, code).await)
    }

    // The database.

    pub async fn sql(&self, statement: &str) {
        let mut sql = self.on.sql().await;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut sql).await.unwrap();
    }

    /// One value, as text.
    pub async fn value(&self, query: &str) -> String {
        let mut sql = self.on.sql().await;
        let query = format!("select coalesce(({query})::text, '')");
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut sql).await.unwrap()
    }

    /// Makes everything older by an interval such as `5 seconds`.
    pub async fn time_passes(&self, interval: &str) {
        self.sql(&format!(
            "do $$ declare aged record; begin
                 for aged in
                     select table_name, string_agg(format('%1$I = %1$I - interval ''{interval}''', column_name), ', ') as sets
                     from information_schema.columns
                     where data_type = 'timestamp with time zone' and table_name = any (array[
                         'device_codes', 'authorization_codes', 'logins', 'refresh_tokens', 'web_sessions', 'rate_limits'])
                     group by table_name
                 loop
                     execute format('update %I set %s', aged.table_name, aged.sets);
                 end loop;
             end $$"
        ))
        .await;
    }

    // Endpoints.

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        Answer::of(self.http.post(self.url(path)).form(form)).await
    }

    /// A form of the client's own.
    pub async fn client_post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post(path, &[form, &[("client_id", CLIENT)]].concat()).await
    }

    pub async fn token(&self, form: &[(&str, &str)]) -> Answer {
        self.client_post("/oauth/token", form).await
    }

    /// A device asks to be let in.
    pub async fn device(&self) -> Device {
        Device::of(&self.client_post("/oauth/device_authorization", &[]).await.good())
    }

    pub async fn poll(&self, device: &Device) -> Answer {
        self.token(&[("grant_type", DEVICE_GRANT), ("device_code", &device.code)]).await
    }

    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    pub async fn exchange(&self, code: &str, verifier: &str) -> Answer {
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT)];
        self.token(&[&form[..], &[("code_verifier", verifier)]].concat()).await
    }

    pub async fn revoke(&self, token: &str) -> Answer {
        self.client_post("/oauth/revoke", &[("token", token)]).await
    }

    // Whole flows.

    /// Ada's program, let in by the device flow.
    pub async fn login(&self) -> Tokens {
        self.login_by(&mut self.browser().await).await
    }

    pub async fn login_of(&self, login: &str) -> Tokens {
        self.login_by(&mut self.browser_of(login).await).await
    }

    pub async fn login_by(&self, browser: &mut Browser) -> Tokens {
        let device = self.device().await;
        self.approve(browser, &device).await;
        self.poll(&device).await.tokens()
    }

    /// Ada's browser agrees to an authorization request of the tests' client; where it is sent.
    pub async fn agree(&self, pkce: &Pkce) -> Url {
        people::authorize(&mut self.browser().await, &self.authorize_url(&pkce.request())).await
    }

    pub fn authorize_url(&self, query: &[(&str, &str)]) -> Url {
        Url::parse_with_params(self.url("/oauth/authorize").as_str(), query).unwrap()
    }

    /// The code that Ada's browser brings back.
    pub async fn code(&self, pkce: &Pkce) -> String {
        let back = self.agree(pkce).await;
        parameter(&back, "code").unwrap_or_else(|| panic!("no code: {back}"))
    }

    // The API.

    /// The status that `GET /v1/whoami` has for this token.
    pub async fn knocks(&self, access_token: &str) -> u16 {
        knocks_at(&self.on.replica, access_token).await
    }

    /// Waits until an access token is refused, for no longer than the cache may keep it.
    pub async fn is_shut_out(&self, access_token: &str) {
        shut_out_of(&self.on.replica, access_token).await;
    }
}

pub async fn knocks_at(replica: &Replica, access_token: &str) -> u16 {
    let whoami = replica.url().join("/v1/whoami").unwrap();
    reqwest::Client::new().get(whoami).bearer_auth(access_token).send().await.unwrap().status().as_u16()
}

pub async fn shut_out_of(replica: &Replica, access_token: &str) {
    wait_for("the access token is refused", CACHE, async || {
        (knocks_at(replica, access_token).await == 401).then_some(())
    })
    .await;
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("no text `{member}`: {self:?}"))
    }

    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }

    /// An error of RFC 6749, section 5.2, or RFC 8628, section 3.5.
    #[track_caller]
    pub fn is_refused(&self, error: &str) {
        assert_eq!((self.status, self.body["error"].as_str()), (400, Some(error)), "{self:?}");
    }

    #[track_caller]
    pub fn tokens(self) -> Tokens {
        let answer = self.good();
        Tokens { access: answer.text("access_token").to_owned(), refresh: answer.text("refresh_token").to_owned() }
    }
}

impl Device {
    pub fn of(answer: &Answer) -> Self {
        Self { code: answer.text("device_code").to_owned(), user_code: answer.text("user_code").to_owned() }
    }
}

/// A secret and what is shown of it first (RFC 7636).
pub struct Pkce {
    pub verifier: String,
    pub challenge: String,
}

impl Pkce {
    pub fn new() -> Self {
        let verifier = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        Self { verifier, challenge }
    }

    /// An authorization request with it.
    pub fn request(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", REDIRECT),
            ("code_challenge", &self.challenge),
            ("code_challenge_method", "S256"),
            ("state", "of the client"),
        ]
    }
}

/// The value of a query parameter.
pub fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The part of a JWT with this number, decoded.
pub fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap_or_else(|| panic!("not a JWT: {token}"));
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// One more organization, to which nobody belongs yet.
pub async fn another_organization(authority: &Authority, name: &str) -> OrgId {
    authority.on.organization(name).await.org
}
