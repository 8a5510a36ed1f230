//! Makes the three roles of a new installation, for those who have a superuser at hand: the embedded default and
//! the tests. Other installations make them once by hand; docs/configuration.md has the same statements.

use std::str::FromStr;

use ckrv_types::Secret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use url::Url;

use super::locks::Lock;

/// Owns the schema and is used by `migrate` alone.
pub const OWNER: &str = "ckrv_owner";
/// The tenants' role: sees the organization that its transaction has set.
pub const APP: &str = "ckrv_app";
/// Sees all organizations, in the tables granted to it.
pub const SYSTEM: &str = "ckrv_system";

/// The URLs of one database for the three roles.
#[derive(Debug, Clone)]
pub struct RoleUrls {
    pub owner: Secret,
    pub app: Secret,
    pub system: Secret,
}

/// Makes the roles with this password each, gives the database of `superuser` to the owner, and answers the roles' URLs.
/// Doing it again changes nothing but the passwords.
pub async fn bootstrap(superuser: &Secret, password: &Secret) -> Result<RoleUrls, sqlx::Error> {
    let options = PgConnectOptions::from_str(superuser.expose())?;
    let mut server = PgConnection::connect_with(&options.clone().database("postgres")).await?;
    // Roles belong to the whole server, so the lock is taken in the database that every server has.
    sqlx::query("select pg_advisory_lock($1)").bind(Lock::Roles.key()).execute(&mut server).await?;
    for role in [OWNER, APP, SYSTEM] {
        make_role(&mut server, role, password).await?;
    }
    server.close().await?;

    let mut database = PgConnection::connect_with(&options).await?;
    let name: String = sqlx::query_scalar("select quote_ident(current_database())").fetch_one(&mut database).await?;
    for statement in [
        format!("alter database {name} owner to {OWNER}"),
        format!("alter schema public owner to {OWNER}"),
        format!("revoke all on database {name} from public"),
        "revoke all on schema public from public".to_owned(),
        format!("grant connect on database {name} to {APP}, {SYSTEM}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut database).await?;
    }
    database.close().await?;
    let url = |role| with_role(superuser, role, password);
    Ok(RoleUrls { owner: url(OWNER)?, app: url(APP)?, system: url(SYSTEM)? })
}

async fn make_role(server: &mut PgConnection, role: &str, password: &Secret) -> Result<(), sqlx::Error> {
    // CREATE ROLE takes no parameters: format() quotes the password.
    let statement: String = sqlx::query_scalar(
        "select format(
            '%s role %I with login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password %L',
            case when exists (select from pg_roles where rolname = $1) then 'alter' else 'create' end, $1, $2)",
    )
    .bind(role)
    .bind(password.expose())
    .fetch_one(&mut *server)
    .await?;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(server).await?;
    Ok(())
}

fn with_role(superuser: &Secret, role: &str, password: &Secret) -> Result<Secret, sqlx::Error> {
    let configuration = |error: url::ParseError| sqlx::Error::Configuration(Box::new(error));
    let mut url = Url::parse(superuser.expose()).map_err(configuration)?;
    url.set_username(role)
        .and_then(|()| url.set_password(Some(password.expose())))
        .map_err(|()| sqlx::Error::Configuration("the superuser's URL cannot carry a user name".into()))?;
    Ok(Secret::new(url.to_string()))
}
