//! What the API takes, refuses and answers.

use std::process::Command;

use ckrv_tests::replica::{Installation, Loops};
use ckrv_types::credential::CredentialKind;
use ckrv_types::{CredentialId, ProblemCode};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Api, actions, git_token};

const SECRET: &str = "pat-0123456789";

fn api(on: &Installation) -> Api {
    Api::new(on.replica.url(), &on.keys().api_key)
}

#[tokio::test]
async fn a_credential_is_shown_without_its_secret_and_each_change_is_audited() {
    let on = Installation::new(Loops::Off).await;
    let api = api(&on);
    let made = api.create(&git_token("forge", "Git.Example.com", SECRET)).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let credential = made.credential();
    assert_eq!((credential.name.as_str(), credential.host.as_str()), ("forge", "git.example.com"));
    assert_eq!((credential.kind, credential.version), (CredentialKind::GitToken, 1));
    let replaced = api.replace(&credential, "pat-9876543210").await;
    assert_eq!(replaced.credential().version, 2);
    let listed = api.ask(Method::GET, "", None, "").await;
    for answer in [&made, &replaced, &listed] {
        assert!(!answer.text.contains("pat-") && !answer.text.contains("secret"), "{}", answer.text);
    }
    assert_eq!(api.list().await[0].version, 2);
    assert_eq!(api.remove(&credential).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.remove(&credential).await.problem().code, ProblemCode::NotFound);
    assert_eq!(api.replace(&credential, SECRET).await.problem().code, ProblemCode::NotFound);
    let done = actions(&mut on.sql().await, on.keys().org).await;
    assert_eq!(done, ["credential.created", "credential.replaced", "credential.removed"]);
}

#[tokio::test]
async fn what_no_job_could_use_is_refused_by_field_and_without_the_secret() {
    let on = Installation::new(Loops::Off).await;
    let api = api(&on);
    let locked = ssh_key("open sesame");
    let key = |secret: &str, known_hosts: Value| json!({"name": "deploy", "kind": "deploy_key", "host": "git.example.com", "secret": secret, "known_hosts": known_hosts});
    let good = ssh_key("");
    let known = "git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    for (body, field, told) in [
        (git_token("x", "https://git.example.com", SECRET), "host", "host:port"),
        (git_token("x", "git.example.com", "short"), "secret", "8 characters"),
        (
            json!({"name": "x", "kind": "git_token", "host": "git.example.com", "secret": SECRET}),
            "username",
            "user name",
        ),
        (key(&locked, json!(known)), "secret", "passphrase"),
        (key(SECRET, json!(known)), "secret", "OpenSSH"),
        (key(&good, Value::Null), "known_hosts", "known_hosts"),
        (key(&good, json!("git.example.org ssh-ed25519 AAAA")), "known_hosts", "line 1"),
        (json!({"name": "x", "kind": "model_key", "host": "antropic", "secret": SECRET}), "host", "anthropic"),
        (json!({"name": "x", "kind": "model_key", "host": "anthropic", "secret": 123_456_789}), "secret", "a string"),
        (
            json!({"name": "x", "kind": "model_key", "host": "anthropic", "secret": SECRET, "project": "prj-01k9zj3m5r8w2t6y4x0v7q1n5d"}),
            "project",
            "no such project",
        ),
    ] {
        let answer = api.create(&body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
        let problem = answer.problem();
        let found = problem.errors.iter().find(|error| error.field == field);
        assert!(found.is_some_and(|error| error.message.contains(told)), "{field}: {}", answer.text);
        let secret = body["secret"].to_string();
        assert!(!answer.text.contains(secret.trim_matches('"')), "{}", answer.text);
    }
    assert!(api.list().await.is_empty());
    let made = api.create(&key(&good, json!(known))).await.credential();
    assert!(made.fingerprint.is_some_and(|print| print.starts_with("SHA256:")));
}

/// A new private key, as OpenSSH makes it.
fn ssh_key(passphrase: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(&file);
    assert!(keygen.status().unwrap().success());
    std::fs::read_to_string(file).unwrap()
}

#[tokio::test]
async fn a_repeated_request_makes_one_and_nothing_is_kept_by_which_its_secret_could_be_tried() {
    let on = Installation::new(Loops::Off).await;
    let api = api(&on);
    let body = git_token("forge", "git.example.com", "password");
    let first = api.ask(Method::POST, "", Some(&body), "once").await;
    let again = api.ask(Method::POST, "", Some(&body), "once").await;
    assert_eq!(first.credential(), again.credential());
    let other = api.ask(Method::POST, "", Some(&git_token("forge", "git.example.com", "passw0rd")), "once").await;
    assert_eq!(other.problem().code, ProblemCode::IdempotencyMismatch);
    let twin = api.create(&body).await.problem();
    assert_eq!(twin.code, ProblemCode::Conflict);
    assert!(twin.detail.unwrap().contains("`forge`"));

    // Whoever reads the table must not be able to try passwords on it.
    let bytes = serde_json::to_vec(&body).unwrap();
    let mut framed = Sha256::new();
    framed.update((bytes.len() as u64).to_be_bytes());
    framed.update(&bytes);
    let mut sql = on.sql().await;
    let kept: Vec<u8> = sqlx::query_scalar("select request_hash from idempotency").fetch_one(&mut sql).await.unwrap();
    assert_ne!(kept, framed.finalize().to_vec());
    assert_ne!(kept, Sha256::digest(&bytes).to_vec());
}

#[tokio::test]
async fn credentials_are_for_those_who_manage_their_own_organization() {
    let on = Installation::new(Loops::Off).await;
    let ours = api(&on);
    let credential = ours.create(&git_token("forge", "git.example.com", SECRET)).await.credential();
    let other = on.organization("other").await;
    let theirs = Api::new(on.replica.url(), &other.api_key);
    assert!(theirs.list().await.is_empty());
    assert_eq!(theirs.replace(&credential, SECRET).await.problem().code, ProblemCode::NotFound);
    assert_eq!(theirs.remove(&credential).await.problem().code, ProblemCode::NotFound);
    theirs.create(&git_token("forge", "git.example.com", SECRET)).await.credential();
    assert_eq!(ours.list().await.len(), 1);

    // The same key when its account may no more than run jobs.
    let mut sql = on.sql().await;
    sqlx::query("update service_accounts set role = 'editor' where org_id = $1")
        .bind(other.org.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let editor = on.another_replica(Loops::Off).await;
    let editor = Api::new(editor.url(), &other.api_key);
    let (get, post) =
        (editor.ask(Method::GET, "", None, "").await, editor.create(&git_token("x", "h.example", SECRET)).await);
    for answer in [get, post, editor.remove(&credential).await, editor.replace(&credential, SECRET).await] {
        assert_eq!(answer.problem().code, ProblemCode::Forbidden, "{}", answer.text);
    }
    let nobody = CredentialId::new();
    let answer = ours.ask(Method::DELETE, &format!("/{nobody}"), None, "").await;
    assert_eq!(answer.problem().code, ProblemCode::NotFound);
}

#[tokio::test]
async fn the_role_that_serves_tenants_writes_secrets_and_cannot_read_them() {
    let on = Installation::new(Loops::Off).await;
    api(&on).create(&git_token("forge", "git.example.com", SECRET)).await.credential();
    let mut app = on.sql_as_app().await;
    sqlx::query("select set_config('ckrv.org', $1, false)")
        .bind(on.keys().org.uuid().to_string())
        .execute(&mut app)
        .await
        .unwrap();
    let names: Vec<String> = sqlx::query_scalar("select name from credentials").fetch_all(&mut app).await.unwrap();
    assert_eq!(names, ["forge"]);
    for statement in [
        "select sealed from credentials",
        "select * from credentials",
        "select sealed from data_keys",
        "select count(*) from data_keys",
        "update credentials set host = 'evil.example'",
        "update credentials set known_hosts = ''",
        "delete from data_keys",
    ] {
        let error = sqlx::query(statement).execute(&mut app).await.expect_err(statement);
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{statement}: {error}");
    }
}
