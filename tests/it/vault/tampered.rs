//! What anybody but the vault has changed in the database is an error for the job, and never a secret.

use ckrv_client::runner::RunnerClient;
use ckrv_tests::acting::work_on;
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::credential::Credential;
use ckrv_types::worker::Started;
use ckrv_types::{JobSpec, OrgId};
use sqlx::PgConnection;

use super::{Api, git_token};

/// An organization with a credential and a runner.
struct Setup {
    on: Installation,
    api: Api,
    runner: RunnerClient,
    forge: Credential,
}

impl Setup {
    async fn new() -> Self {
        let on = Installation::new(Loops::On).await;
        let api = Api::new(on.replica.url(), &on.keys().api_key);
        let runner = on.runner(64).await;
        let forge = api.create(&git_token("forge", "git.example.com", "the-first-token")).await.credential();
        Self { on, api, runner, forge }
    }

    /// SQL as somebody whom no rule of the database binds.
    async fn sql(&self) -> PgConnection {
        let mut sql = self.on.sql().await;
        sqlx::query("set session_replication_role = replica").execute(&mut sql).await.unwrap();
        sql
    }

    /// What the worker of the next job hears.
    async fn started(&self) -> Started {
        let spec = JobSpec { repo: "https://git.example.com/team/app.git".to_owned(), ..spec() };
        let job = submit(&self.on.client(), spec).await.id;
        work_on(&self.on.replica, &self.runner, job).await.started
    }

    async fn is_given(&self, secret: &str) {
        let started = self.started().await;
        let given: Vec<_> = started.credentials.iter().map(|given| given.secret.0.expose()).collect();
        assert_eq!((given, started.unreadable_credentials.len()), (vec![secret], 0));
    }

    async fn is_refused(&self, how: &str) {
        let started = self.started().await;
        assert!(started.credentials.is_empty(), "{how}: {:?}", started.credentials[0].secret.0.expose());
        assert_eq!(started.unreadable_credentials, ["forge"], "{how}");
    }
}

#[tokio::test]
async fn a_row_that_was_changed_does_not_open_whatever_was_changed_in_it() {
    let setup = Setup::new().await;
    setup.is_given("the-first-token").await;
    let mut sql = setup.sql().await;
    for (how, restored) in [
        ("sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)", true),
        ("sealed = set_byte(sealed, 0, get_byte(sealed, 0) # 128)", true),
        ("version = version + 1", false),
        ("username = 'root'", false),
        ("known_hosts = ''", false),
        ("id = gen_random_uuid()", false),
        ("host = 'git.example.com:443'", false),
    ] {
        sqlx::query("create temp table kept as table credentials").execute(&mut sql).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("update credentials set {how}"))).execute(&mut sql).await.unwrap();
        setup.is_refused(how).await;
        if restored {
            // What is changed back is what it was.
            sqlx::query(sqlx::AssertSqlSafe(format!("update credentials set {how}"))).execute(&mut sql).await.unwrap();
            setup.is_given("the-first-token").await;
        }
        sqlx::query("delete from credentials").execute(&mut sql).await.unwrap();
        sqlx::query("insert into credentials table kept").execute(&mut sql).await.unwrap();
        sqlx::query("drop table kept").execute(&mut sql).await.unwrap();
    }
    setup.is_given("the-first-token").await;
    let data_key = "update data_keys set sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1)";
    sqlx::query(data_key).execute(&mut sql).await.unwrap();
    setup.is_refused(data_key).await;
}

#[tokio::test]
async fn an_older_secret_that_is_put_back_does_not_open_and_the_database_refuses_to_count_back() {
    let setup = Setup::new().await;
    let mut sql = setup.sql().await;
    let (sealed, data_key): (Vec<u8>, i32) =
        sqlx::query_as("select sealed, data_key from credentials").fetch_one(&mut sql).await.unwrap();
    setup.api.replace(&setup.forge, "the-second-token").await.credential();
    setup.is_given("the-second-token").await;
    let put_back = "update credentials set sealed = $1, data_key = $2";
    sqlx::query(put_back).bind(&sealed).bind(data_key).execute(&mut sql).await.unwrap();
    setup.is_refused(put_back).await;

    // With its version beside it: the roles of the server cannot.
    setup.api.replace(&setup.forge, "the-third-token").await.credential();
    setup.is_given("the-third-token").await;
    let mut app = setup.on.sql_as_app().await;
    let org = setup.on.keys().org.uuid().to_string();
    sqlx::query("select set_config('ckrv.org', $1, false)").bind(org).execute(&mut app).await.unwrap();
    for version in [1, 3] {
        let error = sqlx::query("update credentials set sealed = $1, version = $2")
            .bind(&sealed)
            .bind(version)
            .execute(&mut app)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("does not follow"), "{error}");
    }
    setup.is_given("the-third-token").await;
}

#[tokio::test]
async fn what_is_swapped_between_two_organizations_opens_in_neither() {
    let setup = Setup::new().await;
    let other = setup.on.organization("other").await;
    let theirs = Api::new(setup.on.replica.url(), &other.api_key);
    theirs.create(&git_token("forge", "git.example.com", "the-others-token")).await.credential();
    let mut sql = setup.sql().await;
    let swap = async |sql: &mut PgConnection, column: &str, table: &str| {
        let swap = format!("update {table} a set {column} = b.{column} from {table} b where a.org_id <> b.org_id");
        sqlx::query(sqlx::AssertSqlSafe(swap)).execute(sql).await.unwrap();
    };
    // Secrets; data keys; both, so that each secret lies beside the key that it was sealed by.
    swap(&mut sql, "sealed", "credentials").await;
    setup.is_refused("secrets").await;
    swap(&mut sql, "sealed", "data_keys").await;
    setup.is_refused("both").await;
    swap(&mut sql, "sealed", "credentials").await;
    setup.is_refused("data keys").await;
    swap(&mut sql, "sealed", "data_keys").await;
    setup.is_given("the-first-token").await;

    // The other's whole row under our name.
    let org: OrgId = setup.on.keys().org;
    for statement in ["delete from credentials where org_id = $1", "update credentials set org_id = $1"] {
        sqlx::query(statement).bind(org.uuid()).execute(&mut sql).await.unwrap();
    }
    setup.is_refused("the other's row").await;
}
