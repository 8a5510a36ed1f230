//! Schemas that hold something already: what was there goes on working.

use ckrv_dev::testing;
use ckrv_server::auth::tokens;
use ckrv_server::db::roles::{self, RoleUrls};
use ckrv_server::db::{MIGRATOR, keys};
use ckrv_tests::database::db;
use ckrv_types::identity::{Role, Scope};
use ckrv_types::token::TokenKind;
use ckrv_types::{KeyId, OrgId, ProjectId, Secret};
use sqlx::{Connection as _, PgConnection};

/// The last schema without teams.
const BEFORE_TEAMS: i64 = 8;

async fn schema_before_teams(superuser: &Secret) -> RoleUrls {
    let urls = roles::bootstrap(superuser, &Secret::new("of-the-tests")).await.unwrap();
    let mut owner = PgConnection::connect(urls.owner.expose()).await.unwrap();
    MIGRATOR.run_to(BEFORE_TEAMS, &mut owner).await.unwrap();
    urls
}

#[tokio::test]
async fn keys_from_before_teams_may_what_they_might() {
    let database = testing::database().await;
    let urls = schema_before_teams(&database.url).await;
    let (org, project) = (OrgId::new(), ProjectId::new());
    let [whole, narrow] = [KeyId::new(), KeyId::new()].map(|key| (key, tokens::random(TokenKind::Live, key)));
    let mut sql = PgConnection::connect(database.url.expose()).await.unwrap();
    for insert in [
        sqlx::query("insert into orgs (id, name) values ($1, 'old')").bind(org.uuid()),
        sqlx::query("insert into projects (id, org_id, name) values ($1, $2, 'default')")
            .bind(project.uuid())
            .bind(org.uuid()),
    ] {
        insert.execute(&mut sql).await.unwrap();
    }
    for ((key, token), project) in [(&whole, None), (&narrow, Some(project))] {
        sqlx::query("insert into api_keys (id, org_id, project_id, name, token_hash) values ($1, $2, $3, 'old', $4)")
            .bind(key.uuid())
            .bind(org.uuid())
            .bind(project.map(ProjectId::uuid))
            .bind(&tokens::hash(token.expose())[..])
            .execute(&mut sql)
            .await
            .unwrap();
    }

    ckrv_server::migrate::run(&urls.owner).await.unwrap();

    let db = db(&urls);
    for ((key, token), projects) in [(&whole, vec![]), (&narrow, vec![project])] {
        let mut tx = db.system().await.unwrap();
        let found = keys::find_by_hash(&mut *tx, &tokens::hash(token.expose())).await.unwrap().unwrap();
        assert_eq!((found.id, found.org, found.role), (*key, org, Role::Owner));
        assert_eq!(found.scopes, Scope::ALL);
        assert_eq!(found.reach.projects(), projects);
    }
}
