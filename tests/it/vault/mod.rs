//! Credentials that an organization lends to its jobs: what the API takes and never tells, who is given them, that nothing
//! but the vault can change them, and that real jobs clone by them.

mod canary;
mod given;
mod jobs;
mod jobs_ssh;
mod model;
mod rotation;
mod routes;
mod tampered;

use ckrv_types::credential::Credential;
use ckrv_types::{OrgId, Page, Problem, Secret};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgConnection;
use url::Url;

/// `/v1/credentials` as one who calls it.
pub struct Api {
    http: reqwest::Client,
    server: Url,
    token: Secret,
}

/// What was answered, and every byte of its body.
pub struct Answer {
    pub status: StatusCode,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn problem(&self) -> Problem {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    #[track_caller]
    pub fn credential(&self) -> Credential {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Api {
    pub fn new(server: Url, token: &Secret) -> Self {
        ckrv_client::install_crypto_provider();
        Self { http: reqwest::Client::new(), server, token: token.clone() }
    }

    /// Asks; `idempotency_key` where it is not empty.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>, idempotency_key: &str) -> Answer {
        let url = self.server.join(&format!("/v1/credentials{path}")).expect("a path follows an address");
        let mut request = self.http.request(method, url).bearer_auth(self.token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        if !idempotency_key.is_empty() {
            request = request.header("idempotency-key", idempotency_key);
        }
        let answer = request.send().await.expect("the server answers");
        Answer { status: answer.status(), text: answer.text().await.expect("the answer ends") }
    }

    pub async fn create(&self, body: &Value) -> Answer {
        self.ask(Method::POST, "", Some(body), "").await
    }

    pub async fn replace(&self, credential: &Credential, secret: &str) -> Answer {
        self.ask(Method::PUT, &format!("/{}/secret", credential.id), Some(&json!({ "secret": secret })), "").await
    }

    pub async fn remove(&self, credential: &Credential) -> Answer {
        self.ask(Method::DELETE, &format!("/{}", credential.id), None, "").await
    }

    pub async fn list(&self) -> Vec<Credential> {
        let answer = self.ask(Method::GET, "", None, "").await;
        serde_json::from_str::<Page<Credential>>(&answer.text).unwrap_or_else(|_| panic!("{}", answer.text)).items
    }
}

/// A token for git over HTTP.
pub fn git_token(name: &str, host: &str, secret: &str) -> Value {
    json!({ "name": name, "kind": "git_token", "host": host, "username": "bot", "secret": secret })
}

/// The actions of the organization's audit log about credentials, in order, with their details.
pub async fn audited(sql: &mut PgConnection, org: OrgId) -> Vec<(String, Value)> {
    sqlx::query_as(
        "select action, detail from audit_log
         where org_id = $1 and (action like 'credential.%' or action like 'vault.%') order by id",
    )
    .bind(org.uuid())
    .fetch_all(sql)
    .await
    .expect("the audit log can be read")
}

/// Only the actions.
pub async fn actions(sql: &mut PgConnection, org: OrgId) -> Vec<String> {
    audited(sql, org).await.into_iter().map(|(action, _)| action).collect()
}
