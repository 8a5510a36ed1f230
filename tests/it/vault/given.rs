//! Who is given a credential, by the worker's protocol.

use std::time::Duration;

use ckrv_tests::acting::{Worker, assignment_of, refused, start, work_on};
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::credential::CredentialKind;
use ckrv_types::job::SubmitJob;
use ckrv_types::worker::WorkerPhase;
use ckrv_types::{Cause, JobSpec, ProblemCode, ProjectId};
use serde_json::{Value, json};

use super::{Api, audited, git_token};

fn api(on: &Installation) -> Api {
    Api::new(on.replica.url(), &on.keys().api_key)
}

/// What a worker has, as (name, secret).
fn given(worker: &Worker) -> Vec<(&str, &str)> {
    let credentials = &worker.started.credentials;
    credentials.iter().map(|credential| (credential.name.as_str(), credential.secret.0.expose())).collect()
}

fn of_forge(secrets: &[&str]) -> JobSpec {
    let secrets = secrets.iter().map(|name| (*name).to_owned()).collect();
    JobSpec { repo: "https://git.example.com/team/app.git".to_owned(), secrets, ..spec() }
}

/// Of each time that the audit log says a credential was given, its version.
async fn used_versions(on: &Installation) -> Vec<Value> {
    let entries = audited(&mut on.sql().await, on.keys().org).await;
    let used = entries.into_iter().filter(|(action, _)| action == "credential.used");
    used.map(|(_, detail)| detail["version"].clone()).collect()
}

#[tokio::test]
async fn the_one_worker_of_an_attempt_is_given_what_the_job_needs_and_names_and_nothing_else() {
    let on = Installation::new(Loops::On).await;
    let (api, runner) = (api(&on), on.runner(8).await);
    api.create(&git_token("forge", "git.example.com", "of-the-forge")).await.credential();
    api.create(&git_token("other", "git.example.org", "of-another")).await.credential();
    let key = json!({"name": "claude", "kind": "model_key", "host": "anthropic", "secret": "of-the-model"});
    api.create(&key).await.credential();
    let job = submit(&on.client(), of_forge(&["claude"])).await.id;
    let assignment = assignment_of(&runner, job).await;
    let worker = start(&on.replica, &assignment, 1).await.unwrap();
    assert_eq!(given(&worker), [("claude", "of-the-model"), ("forge", "of-the-forge")]);
    let forge = &worker.started.credentials[1];
    assert_eq!((forge.kind, forge.host.as_str()), (CredentialKind::GitToken, "git.example.com"));
    assert_eq!(forge.username.as_deref(), Some("bot"));
    assert!(!format!("{:?}", worker.started).contains("of-the-"), "it prints itself");

    assert_eq!(refused(start(&on.replica, &assignment, 2).await.map(drop)), ProblemCode::OtherInstance);
    let again = start(&on.replica, &assignment, 1).await.unwrap();
    assert_eq!(given(&again), given(&worker));
    let used: Vec<_> = audited(&mut on.sql().await, on.keys().org).await;
    let used: Vec<_> = used.iter().filter(|(action, _)| action == "credential.used").collect();
    assert_eq!(used.len(), 2, "once for each attempt: {used:?}");
    for (_, detail) in used {
        assert_eq!((detail["job"].as_str(), detail["attempt"].as_u64()), (Some(job.to_string().as_str()), Some(1)));
    }
    let shown = api.list().await;
    let is_used: Vec<_> = shown.iter().map(|shown| (shown.name.as_str(), shown.last_used_at.is_some())).collect();
    assert_eq!(is_used, [("claude", true), ("forge", true), ("other", false)]);

    worker.beat(WorkerPhase::Running).await.unwrap();
    worker.finish(None).await.unwrap();
    let late = start(&on.replica, &assignment, 1).await.unwrap();
    assert_eq!(given(&late), [], "the attempt is over");
    let plain = submit(&on.client(), spec()).await.id;
    assert_eq!(given(&work_on(&on.replica, &runner, plain).await), []);
}

#[tokio::test]
async fn what_is_replaced_while_an_attempt_begins_is_told_once_more_and_what_is_replaced_later_not_given() {
    let on = Installation::new(Loops::On).await;
    let (api, runner) = (api(&on), on.runner(8).await);
    let forge = api.create(&git_token("forge", "git.example.com", "first-token")).await.credential();
    let job = submit(&on.client(), of_forge(&[])).await.id;
    let assignment = assignment_of(&runner, job).await;
    let worker = start(&on.replica, &assignment, 1).await.unwrap();
    assert_eq!(given(&worker), [("forge", "first-token")]);
    api.replace(&forge, "second-token").await.credential();
    for _ in 0..2 {
        assert_eq!(given(&start(&on.replica, &assignment, 1).await.unwrap()), [("forge", "second-token")]);
    }
    worker.beat(WorkerPhase::Running).await.unwrap();
    api.replace(&forge, "third-token").await.credential();
    assert_eq!(given(&start(&on.replica, &assignment, 1).await.unwrap()), [], "it is at work");
    assert_eq!(used_versions(&on).await, [json!(1), json!(2)]);
}

#[tokio::test]
async fn the_worker_of_a_revoked_runner_begins_nothing() {
    let on = Installation::new(Loops::On).await;
    let (api, client) = (api(&on), on.client());
    let runner = on.runner(8).await;
    api.create(&git_token("forge", "git.example.com", "of-the-forge")).await.credential();
    let (first, second) = (submit(&client, of_forge(&[])).await.id, submit(&client, of_forge(&[])).await.id);
    let (begun, waiting) = (assignment_of(&runner, first).await, assignment_of(&runner, second).await);
    start(&on.replica, &begun, 1).await.unwrap();
    client.revoke_runner(on.keys().runner).await.unwrap();
    for assignment in [&begun, &waiting] {
        let code = refused(start(&on.replica, assignment, 1).await.map(drop));
        // What nobody had begun the sweeper may have ended meanwhile.
        assert!(matches!(code, ProblemCode::Conflict | ProblemCode::Sealed), "{code:?}");
    }
    assert_eq!(used_versions(&on).await.len(), 1);
}

#[tokio::test]
async fn a_retried_attempt_is_given_the_present_version_and_a_removed_one_no_more() {
    let on = Installation::new(Loops::On).await;
    let (api, runner) = (api(&on), on.runner(8).await);
    let forge = api.create(&git_token("forge", "git.example.com", "first-token")).await.credential();
    let job = submit(&on.client(), of_forge(&[])).await.id;
    let first = work_on(&on.replica, &runner, job).await;
    assert_eq!(given(&first), [("forge", "first-token")]);
    api.replace(&forge, "second-token").await.credential();
    assert_eq!(first.finish(Some(Cause::WorkFolder)).await.unwrap().state.as_str(), "failed");
    let mut sql = on.sql().await;
    sqlx::query("update attempts set not_before = now() where job_id = $1")
        .bind(job.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let second = work_on(&on.replica, &runner, job).await;
    assert_eq!(second.started.attempt.number, 2);
    assert_eq!(given(&second), [("forge", "second-token")]);
    api.remove(&forge).await;
    let assignment = assignment_of(&runner, job).await;
    let again = start(&on.replica, &assignment, 1).await.unwrap();
    assert_eq!(given(&again), [], "it is gone");
    assert_eq!(used_versions(&on).await, [json!(1), json!(2)]);
}

#[tokio::test]
async fn a_projects_credential_is_for_its_own_jobs_and_goes_before_the_organizations() {
    let on = Installation::new(Loops::On).await;
    let (api, runner) = (api(&on), on.runner(8).await);
    let second = ProjectId::new();
    let mut sql = on.sql().await;
    sqlx::query("insert into projects (id, org_id, name) values ($1, $2, 'second')")
        .bind(second.uuid())
        .bind(on.keys().org.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let mut own = git_token("zz-own", "git.example.com", "of-the-second");
    own["project"] = json!(second);
    api.create(&own).await.credential();
    // Naming it does not help.
    let job = submit(&on.client(), of_forge(&["zz-own"])).await.id;
    assert_eq!(given(&work_on(&on.replica, &runner, job).await), []);
    api.create(&git_token("aa-all", "git.example.com", "of-everybody")).await.credential();
    let job = submit(&on.client(), of_forge(&[])).await.id;
    assert_eq!(given(&work_on(&on.replica, &runner, job).await), [("aa-all", "of-everybody")]);
    let job = on.client().submit(&SubmitJob { spec: of_forge(&[]), project: Some(second) }).await.unwrap().id;
    assert_eq!(given(&work_on(&on.replica, &runner, job).await), [("zz-own", "of-the-second")]);
}

#[tokio::test]
async fn an_organization_is_not_given_what_is_anothers() {
    let on = Installation::new(Loops::On).await;
    let other = on.organization("other").await;
    let (_, token) = on.platform_runner("shared").await;
    let runner = on.replica.runner(&token, 8, &[]).await;
    api(&on).create(&git_token("forge", "git.example.com", "of-the-first")).await.credential();
    let theirs = on.replica.client(&other.api_key);
    let job = submit(&theirs, of_forge(&["forge"])).await.id;
    assert_eq!(given(&work_on(&on.replica, &runner, job).await), []);
    let job = submit(&on.client(), of_forge(&[])).await.id;
    assert_eq!(given(&work_on(&on.replica, &runner, job).await), [("forge", "of-the-first")]);
    assert!(runner.assignments(Duration::ZERO, None).await.is_ok());
}
