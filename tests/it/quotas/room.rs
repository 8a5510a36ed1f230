//! Members and projects: room for one more, asked for in the transaction that adds it.

use ckrv_server::db::members;
use ckrv_server::error::ApiError;
use ckrv_server::quota;
use ckrv_tests::people;
use ckrv_tests::replica::{Installation, Loops};
use ckrv_types::ProjectId;
use ckrv_types::identity::Role;
use ckrv_types::quota::Measure;
use futures::future::join_all;

use super::limit;

/// Makes a project if there is room for one.
async fn project(on: &Installation, number: u32) -> Result<(), ApiError> {
    let org = on.keys().org;
    let mut tx = on.state().db.tenant(org).await?;
    members::lock(&mut tx, org).await?;
    quota::room_for(&mut tx, org, Measure::Projects).await?;
    sqlx::query("insert into projects (id, org_id, name) values ($1, $2, $3)")
        .bind(ProjectId::new().uuid())
        .bind(org.uuid())
        .bind(format!("p{number}"))
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

#[tokio::test]
async fn many_at_once_make_no_more_projects_than_allowed_and_an_archived_one_makes_room() {
    let on = Installation::new(Loops::Off).await;
    limit(&on, on.keys().org, "projects", Some(4)).await;
    let made = join_all((0..8).map(|number| project(&on, number))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 3, "one was there");
    let problem = made.into_iter().find_map(Result::err).unwrap().problem();
    let standing = problem.quota.unwrap();
    assert_eq!((standing.quota, standing.used, standing.limit), (Measure::Projects, 4, Some(4)));
    assert!(problem.detail.unwrap().contains("4 of 4 projects"));
    sqlx::query("update projects set archived_at = now() where name = 'default'")
        .execute(&mut on.sql().await)
        .await
        .unwrap();
    project(&on, 100).await.unwrap();
    project(&on, 101).await.unwrap_err();
}

#[tokio::test]
async fn an_open_invitation_takes_a_members_place_until_it_is_over() {
    let on = Installation::new(Loops::Off).await;
    let org = on.keys().org;
    let mut sql = on.sql().await;
    people::add(&mut sql, org, "ada", Role::Owner).await;
    limit(&on, org, "members", Some(2)).await;
    let room = async || {
        let mut tx = on.state().db.tenant(org).await.unwrap();
        quota::room_for(&mut tx, org, Measure::Members).await.is_ok()
    };
    assert!(room().await);
    sqlx::query(
        "insert into invitations (id, org_id, token_hash, role, service_account_id, invited_by, expires_at)
         select gen_random_uuid(), $1, sha256('x'), 'viewer', id, 'ada', now() + interval '1 day'
         from service_accounts where org_id = $1 limit 1",
    )
    .bind(org.uuid())
    .execute(&mut sql)
    .await
    .unwrap();
    assert!(!room().await);
    for over in ["expires_at = now()", "expires_at = now() + interval '1 day', revoked_at = now()"] {
        let statement = format!("update invitations set {over}");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut sql).await.unwrap();
        assert!(room().await, "{over}");
    }
}
