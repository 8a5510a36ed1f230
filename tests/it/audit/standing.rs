//! What stands in the log stays as it is.

use ckrv_tests::people;
use ckrv_types::identity::Role;
use sqlx::Connection as _;

use super::{Auditor, actions, subjects};

#[tokio::test]
async fn no_role_changes_or_removes_an_entry_nor_does_who_owns_the_table() {
    let auditor = Auditor::new().await;
    let urls = auditor.on.urls();
    for (role, url) in [("app", &urls.app), ("system", &urls.system), ("owner", &urls.owner)] {
        let mut sql = sqlx::PgConnection::connect(url.expose()).await.unwrap();
        for statement in ["update audit_log set action = 'nothing'", "delete from audit_log", "truncate audit_log"] {
            let refused = sqlx::raw_sql(statement).execute(&mut sql).await.unwrap_err();
            assert!(refused.to_string().contains("permission denied"), "{role}: {statement}: {refused}");
        }
    }
}

#[tokio::test]
async fn an_entry_says_what_its_actor_was_called_then_whoever_left_or_was_renamed_since() {
    let auditor = Auditor::new().await;
    let mut sql = auditor.on.sql().await;
    let ada = people::add(&mut sql, auditor.org(), "ada", Role::Owner).await;
    let mut tx = auditor.on.state().db.tenant(auditor.org()).await.unwrap();
    let actor = ckrv_server::db::audit::Actor::User(ada);
    let entry = ckrv_server::db::audit::Entry { actor, ..super::entry(Some(auditor.org()), "test.done", "by ada") };
    ckrv_server::db::audit::write(&mut tx, &entry).await.unwrap();
    tx.commit().await.unwrap();
    for statement in ["update users set name = 'Somebody'", "delete from members"] {
        sqlx::raw_sql(statement).execute(&mut sql).await.unwrap();
    }
    let found = auditor.page(&format!("actor={ada}")).await.items;
    assert_eq!(subjects(&found), ["by ada"]);
    assert_eq!(found[0].actor.name.as_deref(), Some("Ada"));
}

#[tokio::test]
async fn an_organization_sees_its_own_acts_alone() {
    let auditor = Auditor::new().await;
    auditor.on.organization("other").await;
    let other = auditor.on.organization("third").await;
    let mut tx = auditor.on.state().db.system().await.unwrap();
    for org in [Some(other.org), None] {
        ckrv_server::db::audit::write(&mut tx, &super::entry(org, "test.done", "elsewhere")).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert!(auditor.page("action=test.").await.items.is_empty());
    assert!(auditor.export("action=test.").await.is_empty());
    assert!(!actions(&auditor.page("").await.items).is_empty());
}
