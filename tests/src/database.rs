//! A database with the schema, the roles and a first organization, as `ckrv-server` wants it.

use ckrv_dev::testing::{self, TestDatabase};
use ckrv_server::config::DatabaseConfig;
use ckrv_server::db::Db;
use ckrv_server::db::roles::{self, RoleUrls};
use ckrv_types::Secret;
use ckrv_types::identity::Bootstrapped;

/// A migrated database, its roles' URLs, and its first organization with an API key and a runner.
pub struct Prepared {
    pub database: TestDatabase,
    pub urls: RoleUrls,
    pub keys: Bootstrapped,
}

/// Makes one. Roles belong to the shared server, so all tests give them the same password.
pub async fn prepare() -> Prepared {
    prepare_in(testing::database().await).await
}

/// Makes one of an empty database.
pub async fn prepare_in(database: TestDatabase) -> Prepared {
    let password = Secret::new("of-the-tests");
    let urls = roles::bootstrap(&database.url, &password).await.expect("the roles can be made");
    ckrv_server::migrate::run(&urls.owner).await.expect("the schema can be made");
    let keys = ckrv_server::admin::bootstrap(&db(&urls), "tests", &[]).await.expect("the organization can be made");
    Prepared { database, urls, keys }
}

/// The server's own way to the database.
pub fn db(urls: &RoleUrls) -> Db {
    let config = DatabaseConfig {
        database_url: urls.app.clone(),
        system_database_url: urls.system.clone(),
        database_connections: 8,
    };
    Db::new(&config).expect("the URLs are good")
}
