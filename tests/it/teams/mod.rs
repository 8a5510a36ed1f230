//! Teams as their members meet them: each rule of who may do what to whom is one test, named by the rule.

mod audit;
mod invitation_pages;
mod invitations;
mod keys;
mod members;
mod operator;
mod orgs;
mod projects;
mod rotation;
mod service_accounts;

use std::time::Duration;

use ckrv_tests::replica::{Installation, Replica};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::{ORG_HEADER, Role};
use ckrv_types::{Secret, UserId};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::oauth::{Answer, Authority, Device};

/// An installation with people in it, who sign in and let programs act for them.
pub struct Team {
    pub authority: Authority,
}

/// Whoever has a credential, before the API.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    server: Url,
    token: String,
    org: Option<String>,
}

/// A person with a program that acts for them.
pub struct Person {
    pub user: UserId,
    pub api: Api,
}

impl Team {
    /// Anybody may make organizations. Nobody is a member of the first one, whose service account has a key.
    pub async fn start() -> Self {
        Self::with(&["--org-creation", "anyone"]).await
    }

    pub async fn with(arguments: &[&str]) -> Self {
        let authority = Authority::with(arguments).await;
        authority.sql("delete from members").await;
        Self { authority }
    }

    pub fn on(&self) -> &Installation {
        &self.authority.on
    }

    /// The key that came with the installation, of a service account that owns the first organization.
    pub fn key(&self) -> Api {
        self.by(&self.on().keys().api_key)
    }

    pub fn by(&self, token: &Secret) -> Api {
        self.by_text(token.expose())
    }

    pub fn by_text(&self, token: &str) -> Api {
        let (http, server) = (self.authority.http.clone(), self.on().replica.url());
        Api { http, server, token: token.to_owned(), org: None }
    }

    /// One more member of the first organization, signed in.
    pub async fn person(&self, login: &str, role: Role) -> Person {
        let user = self.authority.person(login, role).await;
        Person { user, api: self.signs_in(login).await }
    }

    /// One more program of somebody.
    pub async fn signs_in(&self, login: &str) -> Api {
        self.by_text(&self.authority.login_of(login).await.access)
    }

    /// One more program of somebody, which asked for these scopes.
    pub async fn lets_in(&self, login: &str, scopes: &str) -> Api {
        let asked = self.authority.client_post("/oauth/device_authorization", &[("scope", scopes)]).await;
        let device = Device::of(&asked.good());
        self.authority.approve(&mut self.authority.browser_of(login).await, &device).await;
        self.by_text(&self.authority.poll(&device).await.tokens().access)
    }

    /// Somebody who belongs to a small organization of their own, signed in there.
    pub async fn stranger(&self, login: &str) -> Person {
        let user = self.authority.person(login, Role::Owner).await;
        let operator = ckrv_server::teams::operator::Who::Id(user);
        let name = format!("{login}s");
        ckrv_server::teams::operator::create_org(&self.on().state().db, &name, &operator, None).await.unwrap();
        self.authority
            .sql(&format!(
                "delete from members where user_id = '{0}' and org_id = '{1}'",
                user.uuid(),
                self.on().keys().org.uuid()
            ))
            .await;
        Person { user, api: self.signs_in(login).await }
    }

    /// How many lines of this action the audit log has.
    pub async fn audited(&self, action: &str) -> usize {
        let count = format!("select count(*) from audit_log where action = '{action}'");
        self.authority.value(&count).await.parse().unwrap()
    }
}

impl Api {
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.http.request(method, self.server.join(path).unwrap()).bearer_auth(&self.token);
        if let Some(org) = &self.org {
            request = request.header(ORG_HEADER, org);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request).await
    }

    /// The same, about another organization.
    pub fn about(&self, org: &str) -> Self {
        Self { org: Some(org.to_owned()), ..self.clone() }
    }

    /// The same, at another replica.
    pub fn at(&self, replica: &Replica) -> Self {
        Self { server: replica.url(), ..self.clone() }
    }

    /// The status of a look at who it is.
    pub async fn knocks(&self) -> u16 {
        self.get("/v1/whoami").await.status
    }

    /// Waits until it is refused, for no longer than what was found good is believed.
    pub async fn is_shut_out_soon(&self) {
        wait_for("the credential is refused", Duration::from_secs(15), async || {
            (self.knocks().await == 401).then_some(())
        })
        .await;
    }

    /// Makes a key by this body; its id, and who has it.
    pub async fn makes_key(&self, body: Value) -> (String, Self) {
        let made = self.post("/v1/keys", body).await.is(201);
        (made.text("id").to_owned(), self.with(made.text("token")))
    }

    /// Makes a service account with a key that has all that it can have.
    pub async fn makes_account(&self, name: &str, role: &str) -> (String, Self) {
        let account = self.post("/v1/service-accounts", json!({ "name": name, "role": role })).await.is(201);
        let id = account.text("id").to_owned();
        let (_, api) = self.makes_key(json!({ "name": "k", "service_account": id })).await;
        (id, api)
    }

    pub async fn makes_project(&self, name: &str, settings: Value) -> String {
        let made = self.post("/v1/projects", json!({ "name": name, "settings": settings })).await.is(201);
        made.text("id").to_owned()
    }

    /// Invites somebody; the invitation's id and its link.
    pub async fn invites(&self, role: &str) -> (String, String) {
        let made = self.post("/v1/invitations", json!({ "role": role })).await.is(201);
        (made.text("id").to_owned(), made.text("token").to_owned())
    }

    pub async fn accepts(&self, link: &str) -> Answer {
        self.post("/v1/invitations/accept", json!({ "token": link })).await
    }

    /// Submits a job with these members of the specification beside the least that it needs, into this project.
    pub async fn submits(&self, project: Option<&str>, more: Value) -> Answer {
        let mut spec = json!({ "repo": "https://example.com/team/app.git", "command": ["true"] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut body = json!({ "spec": spec });
        if let Some(project) = project {
            body["project"] = project.into();
        }
        self.post("/v1/jobs", body).await
    }

    pub fn with(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A problem of this code.
    #[track_caller]
    pub fn refuses(self, code: &str) -> Self {
        assert_eq!(self.body["code"], code, "{self:?}");
        self
    }

    /// What an item of a list has by this name.
    #[track_caller]
    pub fn each(&self, member: &str) -> Vec<String> {
        let items = self.body["items"].as_array().unwrap_or_else(|| panic!("no list: {self:?}"));
        items.iter().map(|item| item[member].as_str().unwrap_or_default().to_owned()).collect()
    }
}
