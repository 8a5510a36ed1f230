//! Requests that cannot be: each is told what is wrong, by code and field.

use ckrv_tests::replica::{Installation, Loops, spec};
use reqwest::{Method, Response};
use serde_json::{Value, json};

struct Api {
    on: Installation,
    http: reqwest::Client,
}

impl Api {
    async fn new() -> Self {
        Self { on: Installation::new(Loops::Off).await, http: reqwest::Client::new() }
    }

    async fn send(&self, method: Method, path: &str, media_type: &str, body: impl Into<reqwest::Body>) -> Response {
        let url = self.on.replica.url().join(path).unwrap();
        let request = self.http.request(method, url).bearer_auth(self.on.keys().api_key.expose());
        request.header("content-type", media_type).body(body).send().await.unwrap()
    }

    /// Posts a job; status, code and fields of the problem.
    async fn refuse(&self, media_type: &str, body: impl Into<reqwest::Body>) -> (u16, String, Vec<String>) {
        problem(self.send(Method::POST, "/v1/jobs", media_type, body).await).await
    }
}

async fn problem(answer: Response) -> (u16, String, Vec<String>) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert!(body["request_id"].is_string(), "{body}");
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    let fields = errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect();
    (status, body["code"].as_str().unwrap().to_owned(), fields)
}

fn seen(status: u16, code: &str, fields: &[&str]) -> (u16, String, Vec<String>) {
    (status, code.to_owned(), fields.iter().map(|&field| field.to_owned()).collect())
}

#[tokio::test]
async fn a_body_that_cannot_be_a_job_is_told_why() {
    let api = Api::new().await;
    let json = "application/json";
    assert_eq!(api.refuse("text/plain", "{}").await, seen(415, "unsupported_media_type", &[]));
    assert_eq!(api.refuse(json, "{").await, seen(400, "bad_request", &[]));
    assert_eq!(api.refuse(json, "x".repeat(1024 * 1024 + 1)).await, seen(413, "too_large", &[]));
    let typo = json!({"spec": {"repo": "https://a.example/x", "promt": "x"}}).to_string();
    assert_eq!(api.refuse(json, typo).await, seen(422, "invalid", &["spec.promt"]));
    let number = json!({"spec": {"repo": "https://a.example/x", "limits": {"run": "long"}}}).to_string();
    assert_eq!(api.refuse(json, number).await, seen(422, "invalid", &["spec.limits.run"]));
    let mut broken = json!({"spec": spec()});
    broken["spec"]["repo"] = json!("ext::sh -c x");
    broken["spec"]["limits"]["run"] = json!(0);
    broken["spec"]["env"] = json!({"A": "nul \0"});
    let answer = api.refuse(json, broken.to_string()).await;
    assert_eq!(answer, seen(422, "invalid", &["spec.repo", "spec.env", "spec.limits.run"]));
    let nowhere = json!({"spec": spec(), "project": ckrv_types::ProjectId::new()}).to_string();
    assert_eq!(api.refuse(json, nowhere).await, seen(422, "invalid", &["project"]));
}

#[tokio::test]
async fn an_id_that_cannot_exist_is_not_found_and_a_query_that_cannot_be_is_told_its_field() {
    let api = Api::new().await;
    for path in
        ["/v1/jobs/x", "/v1/jobs/job-", "/v1/jobs/%00", "/v1/jobs/x/explain", "/v1/jobs/x/events", "/v1/nothing"]
    {
        let answer = problem(api.send(Method::GET, path, "application/json", "").await).await;
        assert_eq!((answer.0, answer.1.as_str()), (404, "not_found"), "{path}");
    }
    for (query, field) in [("limit=0", "limit"), ("state=x", "state"), ("label=x", "label"), ("cursor=x", "cursor")] {
        let path = format!("/v1/jobs?{query}");
        let answer = problem(api.send(Method::GET, &path, "application/json", "").await).await;
        assert_eq!(answer, seen(400, "bad_request", &[field]), "{query}");
    }
    let answer = problem(api.send(Method::PUT, "/v1/jobs", "application/json", "").await).await;
    assert_eq!((answer.0, answer.1.as_str()), (405, "method_not_allowed"));
}

#[tokio::test]
async fn a_local_repository_is_refused_where_the_installation_does_not_allow_it() {
    let api = Api::new().await;
    for repo in ["file:///etc", "/etc", "http://example.com/x", "https://10.0.0.1/x"] {
        let body = json!({"spec": {"repo": repo, "command": ["true"]}}).to_string();
        assert_eq!(api.refuse("application/json", body).await, seen(422, "invalid", &["spec.repo"]), "{repo}");
    }
}

#[tokio::test]
async fn whoami_says_who_and_never_the_token() {
    let api = Api::new().await;
    let answer = api.send(Method::GET, "/v1/whoami", "application/json", "").await;
    let body = answer.text().await.unwrap();
    let secret = ckrv_types::token::parse(api.on.keys().api_key.expose()).unwrap().secret.to_owned();
    assert!(!body.contains(&secret));
    let who: ckrv_types::identity::WhoAmI = serde_json::from_str(&body).unwrap();
    assert_eq!((who.org, who.project), (api.on.keys().org, api.on.keys().project));
    assert_eq!(who.project_name, "default");
    assert!(who.key.is_some_and(|key| key.last_used_at.is_some()) && who.user.is_none());
}
