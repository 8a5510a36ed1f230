//! What an administrator does with the database's own rights, outside of the API: the first organization of a new
//! installation.

use ckrv_types::identity::Bootstrapped;
use ckrv_types::token::TokenKind;
use ckrv_types::{KeyId, OrgId, ProjectId, RunnerId};

use crate::auth::tokens;
use crate::db::{Db, Tx, runners};

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("this installation has an organization already")]
    Done,
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
}

/// Makes the first organization, its project `default`, an API key and the token of a runner of that organization. The
/// tokens are in the answer and nowhere else.
///
/// `namespaces` of the runner's cluster: jobs that are made there by hand go into that project.
pub async fn bootstrap(db: &Db, org_name: &str, namespaces: &[String]) -> Result<Bootstrapped, BootstrapError> {
    let mut tx = db.system().await?;
    // Two at once would each find no organization.
    sqlx::query("lock table orgs in share row exclusive mode").execute(&mut *tx).await?;
    if sqlx::query_scalar("select exists (select from orgs)").fetch_one(&mut *tx).await? {
        return Err(BootstrapError::Done);
    }
    let made = insert(&mut tx, org_name, namespaces).await?;
    tx.commit().await?;
    Ok(made)
}

async fn insert(tx: &mut Tx, org_name: &str, namespaces: &[String]) -> Result<Bootstrapped, sqlx::Error> {
    let (org, project, key, runner) = (OrgId::new(), ProjectId::new(), KeyId::new(), RunnerId::new());
    let (api_key, runner_token) = (tokens::random(TokenKind::Live, key), tokens::random(TokenKind::Runner, runner));
    sqlx::query("insert into orgs (id, name) values ($1, $2)")
        .bind(org.uuid())
        .bind(org_name)
        .execute(&mut **tx)
        .await?;
    sqlx::query("insert into projects (id, org_id, name) values ($1, $2, 'default')")
        .bind(project.uuid())
        .bind(org.uuid())
        .execute(&mut **tx)
        .await?;
    sqlx::query("insert into api_keys (id, org_id, name, token_hash) values ($1, $2, 'bootstrap', $3)")
        .bind(key.uuid())
        .bind(org.uuid())
        .bind(tokens::hash(api_key.expose()))
        .execute(&mut **tx)
        .await?;
    sqlx::query("insert into runners (id, org_id, name, token_hash) values ($1, $2, 'default', $3)")
        .bind(runner.uuid())
        .bind(org.uuid())
        .bind(tokens::hash(runner_token.expose()))
        .execute(&mut **tx)
        .await?;
    sqlx::query("insert into runner_feeds (runner_id) values ($1)").bind(runner.uuid()).execute(&mut **tx).await?;
    let allow = namespaces.iter().map(|namespace| (namespace.clone(), project)).collect();
    runners::allow(tx, org, runner, &allow).await?;
    Ok(Bootstrapped { org, project, api_key, runner, runner_token })
}
