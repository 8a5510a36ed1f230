use ckrv_types::{Problem, ProblemCode, limits};
use reqwest::{Method, StatusCode};

use super::Plain;

#[tokio::test]
async fn every_refusal_is_a_problem_that_names_the_request() {
    let plain = Plain::with(&[]).await;
    let too_large = "x".repeat(limits::BODY_BYTES + 1);
    let long_header = "x".repeat(limits::HEADER_BYTES + 1);
    let post = |content_type: &str, body: &str| {
        let request = plain.http.post(plain.url("/v1/jobs")).bearer_auth(plain.key());
        request.header("content-type", content_type.to_owned()).body(body.to_owned())
    };
    let get = |path: &str| plain.http.get(plain.url(path)).bearer_auth(plain.key());
    for (request, code) in [
        (get("/nowhere"), ProblemCode::NotFound),
        (get("/v1/nowhere"), ProblemCode::NotFound),
        (get("/v1/jobs/job-nonsense"), ProblemCode::NotFound),
        (get("/v1/jobs?limit=many"), ProblemCode::BadRequest),
        (
            plain.http.request(Method::PUT, plain.url("/v1/jobs")).bearer_auth(plain.key()),
            ProblemCode::MethodNotAllowed,
        ),
        (plain.http.get(plain.url("/v1/jobs")), ProblemCode::Unauthenticated),
        (plain.http.get(plain.url("/v1/jobs")).bearer_auth("ck_live_nonsense"), ProblemCode::Unauthenticated),
        (post("text/plain", "{}"), ProblemCode::UnsupportedMediaType),
        (post("application/json", "{"), ProblemCode::BadRequest),
        (post("application/json", "{}"), ProblemCode::Invalid),
        (post("application/json", &too_large), ProblemCode::TooLarge),
        (get("/v1/whoami").header("x-long", &long_header), ProblemCode::HeadersTooLarge),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), code.status(), "{code:?}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{code:?}");
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let problem: Problem = response.json().await.unwrap();
        assert_eq!((problem.code, problem.request_id), (code, Some(id)));
    }
}

#[tokio::test]
async fn a_fault_of_ours_is_told_in_fixed_words_and_by_its_request_and_nothing_of_it_is_shown() {
    let plain = Plain::with(&[]).await;
    let mut sql = plain.installation.sql().await;
    sqlx::raw_sql("alter table projects rename column settings to no_column_of_ours").execute(&mut sql).await.unwrap();
    let response = plain.http.get(plain.url("/v1/projects")).bearer_auth(plain.key()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let text = response.text().await.unwrap();
    let problem: Problem = serde_json::from_str(&text).unwrap();
    assert_eq!((problem.code, problem.request_id.as_deref()), (ProblemCode::Internal, Some(id.as_str())));
    assert_eq!(problem.detail.as_deref(), Some("Something went wrong on our side; it has been logged."));
    for ours in ["settings", "column", "projects", "select", "42703", ".rs"] {
        assert!(!text.contains(ours), "`{ours}` is in {text}");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_answered_with_those_it_has() {
    let plain = Plain::with(&[]).await;
    let response = plain.http.delete(plain.url("/v1/jobs")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    let allow = response.headers()["allow"].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
}

#[tokio::test]
async fn a_senders_request_id_comes_back_if_it_is_sane() {
    let plain = Plain::with(&[]).await;
    let ask = async |id: &str| {
        let response = plain.http.get(plain.url("/healthz")).header("x-request-id", id).send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask("build-42.step_7").await, "build-42.step_7");
    let replaced = ask("with space").await;
    assert!(replaced != "with space" && !replaced.is_empty());
}

#[tokio::test]
async fn every_answer_forbids_a_browser_to_make_something_of_it() {
    let plain = Plain::with(&[]).await;
    for path in ["/healthz", "/v1/whoami", "/nowhere"] {
        let response = plain.http.get(plain.url(path)).bearer_auth(plain.key()).send().await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(response.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    }
}
