//! The ways to lose it.

use std::process::Stdio;

use ckrv_server::auth::KeyOwner;
use ckrv_tests::stack::program;
use ckrv_tests::wait::wait_for;
use ckrv_types::{ProblemCode, ProjectId};
use tempfile::TempDir;
use tokio::process::Command;

use super::{EVERYWHERE, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_on_every_path() {
    let scene = Scene::new().await;
    let (id, token) = scene.key(KeyOwner::ServiceAccount(scene.account().await), &[]).await;
    let revoke = async || scene.on.client().revoke_key(id).await.unwrap();
    scene.is_felt_everywhere(&[&token], ProblemCode::Unauthenticated, revoke).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_refused_on_every_path_when_it_expires() {
    let scene = Scene::new().await;
    let (id, token) = scene.key(KeyOwner::ServiceAccount(scene.account().await), &[]).await;
    let expire = format!("update api_keys set expires_at = now() where id = '{}'", id.uuid());
    scene.is_felt_everywhere(&[&token], ProblemCode::Unauthenticated, async || scene.sql(&expire).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_service_account_is_refused_on_every_path() {
    let scene = Scene::new().await;
    let account = scene.account().await;
    let (_, token) = scene.key(KeyOwner::ServiceAccount(account), &[]).await;
    let suspend = format!("update service_accounts set suspended_at = now() where id = '{}'", account.uuid());
    scene.is_felt_everywhere(&[&token], ProblemCode::Unauthenticated, async || scene.sql(&suspend).await).await;
}

/// Login and key of a person to whom `statement` is done.
async fn a_person_loses_it(statement: &str) {
    let scene = Scene::new().await;
    let user = scene.person("edith").await;
    let ((_, login), (_, key)) = (scene.login(user).await, scene.key(KeyOwner::User(user), &[]).await);
    let lose = async || scene.sql(&format!("{statement} '{}'", user.uuid())).await;
    scene.is_felt_everywhere(&[&login, &key], ProblemCode::Unauthenticated, lose).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_refused_on_every_path_by_login_and_by_key() {
    a_person_loses_it("delete from members where user_id =").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_member_is_refused_on_every_path_by_login_and_by_key() {
    a_person_loses_it("update members set suspended_at = now() where user_id =").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_user_is_refused_on_every_path_by_login_and_by_key() {
    a_person_loses_it("update users set suspended_at = now() where id =").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_login_is_refused_on_every_path() {
    let scene = Scene::new().await;
    let user = scene.person("edith").await;
    let (id, token) = scene.login(user).await;
    let revoke = format!("update logins set revoked_at = now(), revoked_for = 'user' where id = '{}'", id.uuid());
    scene.is_felt_everywhere(&[&token], ProblemCode::Unauthenticated, async || scene.sql(&revoke).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_loses_a_project_finds_nothing_of_it_on_any_path() {
    let scene = Scene::new().await;
    let (project, other) = (scene.on.keys().project, ProjectId::new());
    let (org, other_id) = (scene.on.keys().org.uuid(), other.uuid());
    scene.sql(&format!("insert into projects (id, org_id, name) values ('{other_id}', '{org}', 'other')")).await;
    let (id, token) = scene.key(KeyOwner::ServiceAccount(scene.account().await), &[project, other]).await;
    let lose =
        format!("delete from api_key_projects where key_id = '{}' and project_id = '{}'", id.uuid(), project.uuid());
    scene.is_felt_everywhere(&[&token], ProblemCode::NotFound, async || scene.sql(&lose).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_follows_a_log_at_the_terminal_is_told_why_it_ends() {
    let scene = Scene::new().await;
    let (id, token) = scene.key(KeyOwner::ServiceAccount(scene.account().await), &[]).await;
    let home = TempDir::new().unwrap();
    let printed = home.path().join("printed");
    let child = Command::new(program("ckrv"))
        .args(["logs", "--follow", &scene.job.to_string()])
        .env("CKRV_HOME", home.path())
        .env("CKRV_SERVER", scene.on.replica.url().as_str())
        .env("CKRV_TOKEN", &token)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&printed).unwrap())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    wait_for("it prints what there is", EVERYWHERE, async || {
        std::fs::read_to_string(&printed).unwrap().contains("begun").then_some(())
    })
    .await;
    scene.on.client().revoke_key(id).await.unwrap();
    let output = tokio::time::timeout(EVERYWHERE, child.wait_with_output()).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("unknown, expired or revoked"), "{said}");
}
