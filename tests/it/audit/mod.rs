//! The audit log as auditors meet it: in pages, as an export that misses nothing, and as the operator's view of everything.

mod acts;
mod export;
mod operator;
mod pages;
mod standing;

use ckrv_server::db::audit::{self, Actor, Entry};
use ckrv_tests::acting::SOON;
use ckrv_tests::replica::{Installation, Loops};
use ckrv_tests::wait::wait_for;
use ckrv_types::audit::AuditEntry;
use ckrv_types::{OrgId, Page, Problem, Secret};
use reqwest::Response;
use serde_json::json;

const NDJSON: &str = "application/x-ndjson";

/// An installation, and somebody who looks at what was done in it.
pub struct Auditor {
    pub on: Installation,
    http: reqwest::Client,
}

impl Auditor {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same with further arguments of `ckrv-server serve`.
    pub async fn with(arguments: &[&str]) -> Self {
        Self { on: Installation::with(Loops::Off, arguments).await, http: reqwest::Client::new() }
    }

    pub fn org(&self) -> OrgId {
        self.on.keys().org
    }

    pub async fn get(&self, query: &str, accept: &str) -> Response {
        self.get_as(&self.on.keys().api_key, query, accept).await
    }

    /// The same by another key.
    pub async fn get_as(&self, key: &Secret, query: &str, accept: &str) -> Response {
        let url = self.on.replica.url().join(&format!("/v1/audit?{query}")).unwrap();
        self.http.get(url).bearer_auth(key.expose()).header("accept", accept).send().await.unwrap()
    }

    pub async fn page(&self, query: &str) -> Page<AuditEntry> {
        let response = self.get(query, "application/json").await;
        assert_eq!(response.status(), 200, "{query}");
        response.json().await.unwrap()
    }

    pub async fn refusal(&self, query: &str, accept: &str) -> Problem {
        let response = self.get(query, accept).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{query}");
        response.json().await.unwrap()
    }

    /// All that has been done, once nothing that began before is open any more: the tests share a PostgreSQL.
    pub async fn export(&self, query: &str) -> Vec<AuditEntry> {
        self.settled().await;
        self.export_now(query).await
    }

    async fn settled(&self) {
        let mut sql = self.on.sql().await;
        let until: String = sqlx::query_scalar("select pg_snapshot_xmax(pg_current_snapshot())::text")
            .fetch_one(&mut sql)
            .await
            .unwrap();
        let is_settled = "select pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8";
        wait_for("all that began before is over", SOON, async || {
            let mut sql = self.on.sql().await;
            let settled: bool = sqlx::query_scalar(is_settled).bind(&until).fetch_one(&mut sql).await.unwrap();
            settled.then_some(())
        })
        .await;
    }

    /// What an export has at this moment.
    pub async fn export_now(&self, query: &str) -> Vec<AuditEntry> {
        let response = self.get(query, NDJSON).await;
        assert_eq!(response.status(), 200, "{query}");
        assert_eq!(response.headers()["content-type"], NDJSON);
        entries(&response.text().await.unwrap())
    }

    /// Acts of nobody in particular, by their subjects.
    pub async fn write(&self, action: &str, subjects: &[&str]) {
        for subject in subjects {
            let mut tx = self.on.state().db.tenant(self.org()).await.unwrap();
            audit::write(&mut tx, &entry(Some(self.org()), action, subject)).await.unwrap();
            tx.commit().await.unwrap();
        }
    }
}

pub fn entry<'a>(org: Option<OrgId>, action: &'a str, subject: &str) -> Entry<'a> {
    let subject = Some(subject.to_owned());
    Entry { org, actor: Actor::System, action, subject, address: None, detail: json!({}) }
}

pub fn entries(lines: &str) -> Vec<AuditEntry> {
    lines.lines().map(|line| serde_json::from_str(line).expect("each line is an entry")).collect()
}

pub fn subjects(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().filter_map(|entry| entry.subject.as_deref()).collect()
}

pub fn actions(entries: &[AuditEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.action.as_str()).collect()
}
