//! The keys under the keys: another one while servers serve and jobs run, one that is missing, one that is lost.

use std::path::Path;
use std::process::{Output, Stdio};

use ckrv_server::config::RotateConfig;
use ckrv_server::db::credentials;
use ckrv_server::vault::data_keys::Refusal;
use ckrv_server::vault::envelope::Bound;
use ckrv_server::{admin, vault};
use ckrv_tests::acting::{SOON, work_on};
use ckrv_tests::replica::{Installation, Loops, Replica, spec, submit};
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{Options, Stack, program, restrict};
use ckrv_types::credential::CredentialKind;
use ckrv_types::{CredentialId, JobSpec, Secret};
use futures::future::join_all;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Api, actions, audited, git_token};
use crate::git_host::GitHost;

const TOKEN: &str = "t0ken-of-the-forge";
/// Base64 of `bot:` and that.
const LOGIN: &str = "Ym90OnQwa2VuLW9mLXRoZS1mb3JnZQ==";

fn line(id: &str, byte: &str) -> String {
    format!("{id}:{}\n", byte.repeat(32))
}

/// `admin rotate-vault-key` with these keys.
fn config(on: &Installation, keys: &str, data_keys: bool) -> RotateConfig {
    let database = on.state().config.database.clone();
    let vault = ckrv_server::config::VaultConfig { vault_key_file: None, vault_key: Some(Secret::new(keys)) };
    RotateConfig { database, vault, secret_key: Secret::new("07".repeat(32)), data_keys }
}

async fn given(on: &Installation, replica: &Replica, job_of: &Secret) -> Vec<String> {
    let runner = on.runner(64).await;
    let spec = JobSpec { repo: "https://git.example.com/team/app.git".to_owned(), ..spec() };
    let job = submit(&replica.client(job_of), spec).await.id;
    let started = work_on(replica, &runner, job).await.started;
    assert!(started.unreadable_credentials.is_empty());
    started.credentials.iter().map(|given| given.secret.0.expose().to_owned()).collect()
}

#[tokio::test]
async fn a_new_key_takes_an_old_ones_place_and_what_was_sealed_by_it_opens_all_the_while() {
    let on = Installation::with(Loops::On, &["--vault-key", &line("k1", "0a")]).await;
    let key = &on.keys().api_key;
    let api = Api::new(on.replica.url(), key);
    let other = on.organization("other").await;
    api.create(&git_token("forge", "git.example.com", TOKEN)).await.credential();
    Api::new(on.replica.url(), &other.api_key)
        .create(&git_token("x", "git.example.com", "of-another"))
        .await
        .credential();

    let both = line("k2", "0b") + &line("k1", "0a");
    let during = on.another_replica_with(Loops::Off, &["--vault-key", &both]).await;
    during.state.vault.check(&during.state.db).await.unwrap();
    assert_eq!(given(&on, &during, key).await, [TOKEN]);
    let alone = on.another_replica_with(Loops::Off, &["--vault-key", &line("k2", "0b")]).await;
    let refusal = alone.state.vault.check(&alone.state.db).await.unwrap_err();
    assert!(matches!(&refusal, Refusal::NotListed { kek, count: 2 } if kek == "k1"), "{refusal}");
    // The same name over another key.
    let wrong = on.another_replica_with(Loops::Off, &["--vault-key", &line("k1", "0c")]).await;
    assert!(matches!(wrong.state.vault.check(&wrong.state.db).await, Err(Refusal::Another { kek }) if kek == "k1"));

    let db = &on.state().db;
    let done = admin::rotate_vault_key(db, &config(&on, &both, false)).await.unwrap();
    assert_eq!((done.data_keys, done.secrets, done.unreadable.len()), (2, 0, 0));
    let again = admin::rotate_vault_key(db, &config(&on, &both, false)).await.unwrap();
    assert_eq!(again.data_keys, 0, "there was nothing left");
    alone.state.vault.check(&alone.state.db).await.unwrap();
    assert_eq!(given(&on, &alone, key).await, [TOKEN]);
    assert_eq!(given(&on, &during, key).await, [TOKEN]);
    let mut sql = on.sql().await;
    let done = audited(&mut sql, on.keys().org).await;
    let rotated = done.iter().find(|(action, _)| action == "vault.rotated").expect("it is audited");
    assert_eq!(rotated.1, json!({"data_key": 1, "from": "k1", "to": "k2"}));
    assert!(actions(&mut sql, other.org).await.contains(&"vault.rotated".to_owned()));

    // And new data keys below it.
    let done = admin::rotate_vault_key(db, &config(&on, &line("k2", "0b"), true)).await.unwrap();
    assert_eq!((done.data_keys, done.secrets, done.unreadable.len()), (0, 2, 0));
    assert_eq!(given(&on, &alone, key).await, [TOKEN]);
    let versions: Vec<i32> = sqlx::query_scalar("select version from data_keys").fetch_all(&mut sql).await.unwrap();
    assert_eq!(versions, [2, 2], "the old ones are gone");
}

#[tokio::test]
async fn what_does_not_open_is_told_and_does_not_keep_the_rest_from_being_done() {
    let on = Installation::with(Loops::Off, &["--vault-key", &line("k1", "0a")]).await;
    let other = on.organization("other").await;
    for key in [&on.keys().api_key, &other.api_key] {
        Api::new(on.replica.url(), key).create(&git_token("forge", "git.example.com", TOKEN)).await.credential();
    }
    let mut sql = on.sql().await;
    sqlx::query("update data_keys set sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) where org_id = $1")
        .bind(other.org.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let both = line("k2", "0b") + &line("k1", "0a");
    let done = admin::rotate_vault_key(&on.state().db, &config(&on, &both, false)).await.unwrap();
    assert_eq!(done.data_keys, 1);
    assert!(done.unreadable.len() == 1 && done.unreadable[0].contains(&other.org.to_string()), "{:?}", done.unreadable);
}

/// Until somebody waits for a lock of the database by a statement like this.
async fn somebody_waits(sql: &mut PgConnection, statement: &str) {
    loop {
        let waits: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock' and query like $1)",
        )
        .bind(statement)
        .fetch_one(&mut *sql)
        .await
        .unwrap();
        if waits {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn of_two_rotations_at_once_the_second_is_refused_and_every_secret_opens() {
    let k1 = line("k1", "0a");
    let on = Installation::with(Loops::On, &["--vault-key", &k1]).await;
    let key = &on.keys().api_key;
    Api::new(on.replica.url(), key).create(&git_token("forge", "git.example.com", TOKEN)).await.credential();
    let (mut sql, mut watching) = (on.sql().await, on.sql().await);
    let mut lock = sql.begin().await.unwrap();
    sqlx::query("select from data_keys for update").execute(&mut *lock).await.unwrap();
    let (db, wanted) = (on.state().db.clone(), config(&on, &k1, true));
    let first = tokio::spawn(async move { admin::rotate_vault_key(&db, &wanted).await });
    somebody_waits(&mut watching, "%from data_keys%").await;
    let second = timeout(SOON, admin::rotate_vault_key(&on.state().db, &config(&on, &k1, true))).await;
    let refused = second.expect("it does not wait").unwrap_err();
    assert!(matches!(refused, admin::RotateError::Underway), "{refused}");
    lock.rollback().await.unwrap();
    assert_eq!(first.await.unwrap().unwrap().secrets, 1);
    assert_eq!(given(&on, &on.replica, key).await, [TOKEN]);
    assert_eq!(admin::rotate_vault_key(&on.state().db, &config(&on, &k1, true)).await.unwrap().secrets, 1);
}

#[tokio::test]
async fn what_is_written_by_the_old_data_key_meanwhile_is_sealed_by_the_new_one_too() {
    let k1 = line("k1", "0a");
    let on = Installation::with(Loops::Off, &["--vault-key", &k1]).await;
    let (state, org) = (on.state(), on.keys().org);
    // Before the other one in the order of ids, which is the order of the work.
    let late = CredentialId::new();
    let api = Api::new(on.replica.url(), &on.keys().api_key);
    api.create(&git_token("forge", "git.example.com", TOKEN)).await.credential();
    let bound = Bound {
        org,
        credential: late,
        version: 1,
        name: "late",
        kind: CredentialKind::GitToken,
        host: "git.example.org",
        username: Some("bot"),
        project: None,
        known_hosts: None,
    };
    let sealed = state.vault.seal(&state.db, &bound, &Secret::new(TOKEN)).await.unwrap();

    let (mut sql, mut watching) = (on.sql().await, on.sql().await);
    let mut lock = sql.begin().await.unwrap();
    sqlx::query("select from credentials for update").execute(&mut *lock).await.unwrap();
    let (db, wanted) = (state.db.clone(), config(&on, &k1, true));
    let rotation = tokio::spawn(async move { admin::rotate_vault_key(&db, &wanted).await });
    somebody_waits(&mut watching, "%from credentials%").await;
    let mut writing = state.db.tenant(org).await.unwrap();
    credentials::insert(&mut writing, &bound, None, &sealed).await.unwrap();
    lock.rollback().await.unwrap();
    somebody_waits(&mut watching, "%data_keys%").await;
    writing.commit().await.unwrap();

    let done = rotation.await.unwrap().unwrap();
    assert_eq!((done.secrets, done.unreadable.len()), (2, 0));
    let mut sql = on.sql().await;
    let kept: Vec<i32> = sqlx::query_scalar("select version from data_keys").fetch_all(&mut sql).await.unwrap();
    assert_eq!(kept, [2]);
}

#[tokio::test]
async fn new_data_keys_are_made_for_all_though_the_vault_key_of_one_is_not_listed() {
    let on = Installation::with(Loops::Off, &["--vault-key", &line("k1", "0a")]).await;
    let (other, third) = (on.organization("other").await, on.organization("third").await);
    let elsewhere = on.another_replica_with(Loops::Off, &["--vault-key", &line("k2", "0b")]).await;
    for (replica, key) in
        [(&elsewhere, &on.keys().api_key), (&on.replica, &other.api_key), (&elsewhere, &third.api_key)]
    {
        Api::new(replica.url(), key).create(&git_token("forge", "git.example.com", TOKEN)).await.credential();
    }
    let done = admin::rotate_vault_key(&on.state().db, &config(&on, &line("k2", "0b"), true)).await.unwrap();
    assert_eq!(done.secrets, 2);
    let told =
        |what: &str| done.unreadable.iter().any(|told| told.starts_with(what) && told.contains(&other.org.to_string()));
    assert!(done.unreadable.len() == 2 && told("credential ") && told("data key 1 "), "{:?}", done.unreadable);
}

#[tokio::test]
async fn another_secret_key_without_a_vault_key_is_told_with_a_way_back() {
    let on = Installation::new(Loops::Off).await;
    Api::new(on.replica.url(), &on.keys().api_key)
        .create(&git_token("forge", "git.example.com", TOKEN))
        .await
        .credential();
    let other = on.another_replica_with(Loops::Off, &["--secret-key", &"08".repeat(32)]).await;
    let refusal = other.state.vault.check(&other.state.db).await.unwrap_err();
    assert!(matches!(refusal, Refusal::OtherSecretKey { count: 1, .. }), "{refusal}");
    assert!(refusal.to_string().contains("another CKRV_SECRET_KEY: restore that one"), "{refusal}");
}

#[tokio::test]
async fn a_server_without_a_key_that_is_needed_does_not_start_until_it_is_listed_again_or_forgotten() {
    let mut stack = Stack::with(Options { slots: 0, ..Options::default() }).await;
    let file = stack.home.path().join("vault-keys");
    let path = file.display().to_string();
    std::fs::write(&file, line("k1", "0a")).unwrap();
    stack.kill_server().await;
    stack.set_server("CKRV_VAULT_KEY_FILE", &path);
    stack.start_server().await;
    let api = Api::new(stack.server_url().parse().unwrap(), &stack.keys.api_key);
    api.create(&git_token("forge", "git.example.com", TOKEN)).await.credential();
    std::fs::write(&file, line("k2", "0b")).unwrap();
    stack.kill_server().await;
    stack.launch_server();
    assert_eq!(stack.server_died(ckrv_tests::stack::START).await.code(), Some(1));
    let log = stack.log("server.log");
    for told in ["the server refuses to start", "sealed by the key `k1`, which is not listed", "forget-vault-key k1"] {
        assert!(log.contains(told), "{told}: {log}");
    }
    std::fs::write(&file, line("k2", "0b") + &line("k1", "0a")).unwrap();
    stack.start_server().await;
    assert_eq!(api.list().await.len(), 1);
    stack.kill_server().await;
    let listed = admin_command(&stack, &["forget-vault-key", "k1"], Some(&file)).output().await.unwrap();
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(!listed.status.success() && said.contains("`k1` is not lost"), "{said}");
    std::fs::write(&file, line("k2", "0b")).unwrap();
    let done = administer(&stack, &["forget-vault-key", "k1"], Some(&file)).await;
    assert_eq!(String::from_utf8_lossy(&done.stdout), "credentials: 1\n");
    stack.start_server().await;
    assert!(api.list().await.is_empty());
    let mut sql = PgConnection::connect(stack.superuser_url().expose()).await.unwrap();
    assert_eq!(actions(&mut sql, stack.keys.org).await, ["credential.created", "credential.removed"]);
    assert_eq!(vault::rotate::forget(&db(&stack), "k1").await.unwrap(), 0);
}

fn db(stack: &Stack) -> ckrv_server::db::Db {
    let config = ckrv_server::config::DatabaseConfig {
        database_url: stack.urls().app.clone(),
        system_database_url: stack.urls().system.clone(),
        database_connections: 2,
    };
    ckrv_server::db::Db::new(&config).unwrap()
}

/// `ckrv-server admin …`, which must work.
async fn administer(stack: &Stack, arguments: &[&str], keys: Option<&Path>) -> Output {
    let output = admin_command(stack, arguments, keys).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn admin_command(stack: &Stack, arguments: &[&str], keys: Option<&Path>) -> Command {
    let mut command = Command::new(program("ckrv-server"));
    command
        .arg("admin")
        .args(arguments)
        .env("CKRV_DATABASE_URL", stack.urls().app.expose())
        .env("CKRV_SYSTEM_DATABASE_URL", stack.urls().system.expose())
        .env("CKRV_SECRET_KEY", stack.secret_key().expose())
        .envs(keys.map(|keys| ("CKRV_VAULT_KEY_FILE", keys)))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn jobs_that_run_while_everything_is_sealed_anew_all_have_their_token() {
    let (folder, repo) = (tempfile::TempDir::new().unwrap(), Repo::new());
    let keys = folder.path().join("keys");
    // What was sealed before anybody had configured a key goes on to open.
    let mut stack = Stack::start().await;
    let host = GitHost::start(repo.path(), LOGIN).await;
    let api = Api::new(stack.server_url().parse().unwrap(), &stack.keys.api_key);
    let forge = api.create(&git_token("forge", "127.0.0.1", TOKEN)).await.credential();
    std::fs::write(&keys, line("k1", "0a")).unwrap();
    restrict(&keys);
    stack.kill_server().await;
    stack.set_server("CKRV_VAULT_KEY_FILE", keys.display().to_string());
    stack.start_server().await;
    let (stack, url) = (&stack, host.url(".git"));
    let jobs = join_all((0..6).map(async |_| stack.wait(url.as_str(), &[], "echo the agent ran").await.exits(0)));
    let rotations = async {
        for _ in 0..4 {
            administer(stack, &["rotate-vault-key", "--data-keys"], Some(&keys)).await;
        }
    };
    let (_, ()) = tokio::join!(jobs, rotations);
    let mut sql = PgConnection::connect(stack.superuser_url().expose()).await.unwrap();
    let keks: Vec<(String, i32)> =
        sqlx::query_as("select kek, version from data_keys").fetch_all(&mut sql).await.unwrap();
    assert_eq!(keks, [("k1".to_owned(), 5)]);
    assert_eq!(api.list().await[0].version, forge.version, "the secret is the same");
    stack.wait(url.as_str(), &[], "true").await.exits(0);
}
