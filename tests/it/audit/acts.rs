//! What is in the log: acts on runners, sessions and passwords, and what an installation begins with. Others stand with their
//! own tests.

use ckrv_server::admin;
use ckrv_tests::database;
use ckrv_tests::people;
use ckrv_types::Secret;
use ckrv_types::audit::AuditActorKind;
use ckrv_types::identity::{CreateRunner, Role, UpdateRunner};

use super::{Auditor, actions};

#[tokio::test]
async fn what_an_installation_begins_with_is_in_the_log() {
    let auditor = Auditor::new().await;
    let all = auditor.export("").await;
    assert_eq!(actions(&all), ["org.created", "service-account.created", "key.created", "runner.created"]);
    assert!(all.iter().all(|entry| entry.actor.kind == AuditActorKind::System));
    assert_eq!(all[0].subject, Some(auditor.org().to_string()));
}

#[tokio::test]
async fn who_makes_binds_changes_and_revokes_a_runner_is_in_the_log_once() {
    let auditor = Auditor::new().await;
    let client = auditor.on.client();
    let made = client.create_runner(&CreateRunner { name: "one".to_owned(), allow: [].into() }).await.unwrap();
    let id = made.item.id;
    for _ in 0..2 {
        auditor.on.replica.runner(&Secret::new(made.token.clone()), 1, &[]).await;
    }
    let allow = [("*".to_owned(), auditor.on.keys().project)].into();
    client.update_runner(id, &UpdateRunner { allow }).await.unwrap();
    for _ in 0..2 {
        client.revoke_runner(id).await.unwrap();
    }
    let of_it = auditor.export(&format!("subject={id}")).await;
    assert_eq!(actions(&of_it), ["runner.created", "runner.bound", "runner.changed", "runner.revoked"]);
    let actor = |at: usize| (of_it[at].actor.kind, of_it[at].actor.name.as_deref());
    assert_eq!(actor(1), (AuditActorKind::Runner, Some("one")));
    assert_eq!(actor(3), (AuditActorKind::Key, Some("bootstrap")));
    assert_eq!(of_it[2].detail["allow"]["*"], auditor.on.keys().project.to_string());
}

#[tokio::test]
async fn an_act_that_is_refused_or_repeated_is_not_in_the_log() {
    let auditor = Auditor::new().await;
    let client = auditor.on.client();
    let wanted = CreateRunner { name: "one".to_owned(), allow: [].into() };
    client.create_runner(&wanted).await.unwrap();
    client.create_runner(&wanted).await.unwrap_err();
    let made = auditor.page("action=runner.created").await.items;
    assert_eq!(made.len(), 2, "one by the installation, one by the key");
}

#[tokio::test]
async fn the_organization_that_somebody_chooses_is_in_its_log() {
    let auditor = Auditor::new().await;
    let mut sql = auditor.on.sql().await;
    let ada = people::add(&mut sql, auditor.org(), "ada", Role::Owner).await;
    let other = auditor.on.organization("other").await.org;
    people::join(&mut sql, other, ada, Role::Viewer).await;
    let mut browser = people::sign_in(&auditor.on.replica.url(), "ada").await;
    let page = browser.open(auditor.on.replica.url().join("/account").unwrap()).await;
    let form = page.form("/account/org").fill("org", &auditor.org().to_string());
    browser.submit(form).await;
    let chosen = auditor.page("action=session.org-chosen").await.items;
    assert_eq!(chosen.len(), 1);
    assert_eq!(chosen[0].actor.name.as_deref(), Some("Ada"));
}

#[tokio::test]
async fn a_password_that_is_changed_is_in_the_operators_log() {
    let auditor = Auditor::new().await;
    people::add(&mut auditor.on.sql().await, auditor.org(), "ada", Role::Owner).await;
    let db = database::db(auditor.on.urls());
    assert!(admin::set_password(&db, "ada", &Secret::new("another one that is long")).await.unwrap());
    assert!(!admin::set_password(&db, "nobody", &Secret::new("another one that is long")).await.unwrap());
    let count: i64 =
        sqlx::query_scalar("select count(*) from audit_log where action = 'password.changed' and org_id is null")
            .fetch_one(&mut auditor.on.sql().await)
            .await
            .unwrap();
    assert_eq!(count, 1);
}
