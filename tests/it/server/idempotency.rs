//! `Idempotency-Key`: done once, however often it is sent.

use ckrv_client::ListJobs;
use ckrv_tests::replica::{Installation, Loops, Replica, spec};
use ckrv_types::Secret;
use ckrv_types::job::SubmitJob;
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

async fn post(replica: &Replica, token: &Secret, path: &str, key: &str, body: &Value) -> (StatusCode, Value) {
    let answer = reqwest::Client::new()
        .post(replica.url().join(path).unwrap())
        .bearer_auth(token.expose())
        .header("idempotency-key", key)
        .json(body)
        .send()
        .await
        .unwrap();
    (answer.status(), answer.json().await.unwrap())
}

fn job() -> Value {
    serde_json::to_value(SubmitJob { spec: spec(), project: None }).unwrap()
}

#[tokio::test]
async fn many_who_send_the_same_request_at_once_make_one_job() {
    let on = Installation::new(Loops::Off).await;
    let other = on.another_replica(Loops::Off).await;
    let token = &on.keys().api_key;
    let body = job();
    let replicas = [&on.replica, &other];
    let answers = join_all((0..24).map(|number| post(replicas[number % 2], token, "/v1/jobs", "k-1", &body))).await;
    let mut ids = Vec::new();
    for (status, answer) in answers {
        match status {
            StatusCode::CREATED => ids.push(answer["id"].clone()),
            StatusCode::CONFLICT => assert_eq!(answer["code"], "idempotency_in_progress", "{answer}"),
            other => panic!("{other}: {answer}"),
        }
    }
    assert!(!ids.is_empty());
    let (status, repeated) = post(&on.replica, token, "/v1/jobs", "k-1", &body).await;
    assert_eq!(status, StatusCode::CREATED);
    assert!(ids.iter().all(|id| *id == repeated["id"]), "{ids:?}");
    assert_eq!(on.client().jobs(&ListJobs::default()).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn the_first_answer_is_repeated_word_for_word_even_when_the_job_has_moved_on() {
    let on = Installation::new(Loops::Off).await;
    let token = &on.keys().api_key;
    let first = post(&on.replica, token, "/v1/jobs", "k", &job()).await;
    on.client().cancel(first.1["id"].as_str().unwrap().parse().unwrap()).await.unwrap();
    assert_eq!(post(&on.replica, token, "/v1/jobs", "k", &job()).await, first);
}

#[tokio::test]
async fn a_key_used_for_another_request_is_refused() {
    let on = Installation::new(Loops::Off).await;
    let token = &on.keys().api_key;
    let (_, first) = post(&on.replica, token, "/v1/jobs", "k", &job()).await;
    let mut other = job();
    other["spec"]["priority"] = json!(1);
    let (status, problem) = post(&on.replica, token, "/v1/jobs", "k", &other).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("idempotency_mismatch")));

    // The route is part of what the key means, and so is the job that is retried.
    let id = first["id"].as_str().unwrap();
    on.client().cancel(id.parse().unwrap()).await.unwrap();
    let path = format!("/v1/jobs/{id}/retry");
    let (status, again) = post(&on.replica, token, &path, "k", &Value::Null).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(again["retry_of"], first["id"]);
    let again = again["id"].as_str().unwrap();
    on.client().cancel(again.parse().unwrap()).await.unwrap();
    let (status, _) = post(&on.replica, token, &format!("/v1/jobs/{again}/retry"), "k", &Value::Null).await;
    assert_eq!(status.as_u16(), 422);
}

#[tokio::test]
async fn the_same_key_of_two_principals_makes_two_jobs() {
    let on = Installation::new(Loops::Off).await;
    let other = on.organization("other").await;
    let (_, first) = post(&on.replica, &on.keys().api_key, "/v1/jobs", "k", &job()).await;
    let (_, second) = post(&on.replica, &other.api_key, "/v1/jobs", "k", &job()).await;
    assert_ne!(first["id"], second["id"]);
}

#[tokio::test]
async fn a_repeated_request_for_a_key_shows_the_same_token_and_the_database_never_holds_it() {
    let on = Installation::new(Loops::Off).await;
    for (path, body) in [("/v1/keys", json!({"name": "ci"})), ("/v1/runners", json!({"name": "laptop"}))] {
        let first = post(&on.replica, &on.keys().api_key, path, "k", &body).await;
        assert_eq!(first.0, StatusCode::CREATED, "{}", first.1);
        assert_eq!(post(&on.replica, &on.keys().api_key, path, "k", &body).await, first);
        let token = first.1["token"].as_str().unwrap();
        let secret = ckrv_types::token::parse(token).unwrap().secret.to_owned();
        let mut sql = on.sql().await;
        let kept: Vec<String> = sqlx::query_scalar(
            "select body::text from idempotency union all select k::text from api_keys k union all select r::text from runners r",
        )
        .fetch_all(&mut sql)
        .await
        .unwrap();
        assert!(kept.len() >= 3);
        assert!(kept.iter().all(|row| !row.contains(&secret)));
    }
    let (_, made) = post(&on.replica, &on.keys().api_key, "/v1/keys", "k", &json!({"name": "ci"})).await;
    on.replica.client(&Secret::new(made["token"].as_str().unwrap())).whoami().await.unwrap();
}

#[tokio::test]
async fn without_a_key_each_request_makes_a_job_and_a_bad_key_is_refused() {
    let on = Installation::new(Loops::Off).await;
    let (status, problem) = post(&on.replica, &on.keys().api_key, "/v1/jobs", &"k".repeat(256), &job()).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("bad_request")));
    let http = reqwest::Client::new();
    let send = || {
        http.post(on.replica.url().join("/v1/jobs").unwrap())
            .bearer_auth(on.keys().api_key.expose())
            .json(&job())
            .send()
    };
    let (first, second): (Value, Value) =
        (send().await.unwrap().json().await.unwrap(), send().await.unwrap().json().await.unwrap());
    assert_ne!(first["id"], second["id"]);
}

#[tokio::test]
async fn a_submission_answers_the_job_as_a_look_at_it_shows_it() {
    let on = Installation::new(Loops::Off).await;
    for project in [None, Some(on.keys().project)] {
        let job = on.client().submit(&SubmitJob { spec: spec(), project }).await.unwrap();
        assert_eq!(job.project, on.keys().project);
        assert_eq!(on.client().job(job.id).await.unwrap(), job);
    }
}
