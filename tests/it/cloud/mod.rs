//! `ckrv cloud` against the real control plane. Who approves is the database here: the pages have tests of their own.

mod browser;
mod login;
mod logout;
mod refresh;
mod storage;

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use ckrv_tests::cli::Said;
use ckrv_tests::stack::{Options, START, Stack, program};
use ckrv_tests::wait::wait_for;
use ckrv_types::UserId;
use sqlx::postgres::PgArguments;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// Longer than the interval at which the CLI asks.
const LOGIN: Duration = Duration::from_secs(30);

/// A person with a machine of their own, and a control plane that they may sign in to.
struct Desk {
    stack: Stack,
    home: TempDir,
    user: UserId,
    /// Of every command.
    variables: Vec<(&'static str, String)>,
}

impl Desk {
    /// The keys of their logins are in a file.
    async fn new() -> Self {
        let mut desk = Self::bare().await;
        let path = desk.file("key", &"5a".repeat(32));
        desk.variables.push(("CKRV_KEY_FILE", path));
        desk
    }

    /// They have said nothing of keys, and there is no keyring.
    async fn bare() -> Self {
        let stack = Stack::with(Options { slots: 0, ..Options::default() }).await;
        let desk = Self {
            stack,
            home: TempDir::with_prefix("ckrv-test-desk-").unwrap(),
            user: UserId::new(),
            variables: Vec::new(),
        };
        let mut db = desk.db().await;
        sqlx::query("insert into users (id, name, email) values ($1, 'Ada', 'ada@example.com')")
            .bind(desk.user.uuid())
            .execute(&mut db)
            .await
            .unwrap();
        sqlx::query("insert into members (org_id, user_id, role) values ($1, $2, 'owner')")
            .bind(desk.stack.keys.org.uuid())
            .bind(desk.user.uuid())
            .execute(&mut db)
            .await
            .unwrap();
        desk
    }

    async fn db(&self) -> PgConnection {
        PgConnection::connect(self.stack.superuser_url().expose()).await.unwrap()
    }

    /// A file that only they may read; its path.
    fn file(&self, name: &str, content: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn credentials(&self) -> PathBuf {
        self.home.path().join("ckrv/credentials/default")
    }

    /// What is kept of the login.
    fn kept(&self) -> String {
        std::fs::read_to_string(self.credentials()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("ckrv"));
        command.args(arguments).env_clear().current_dir(self.home.path()).stdin(Stdio::null()).kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.home.path());
        command.env("CKRV_HOME", self.home.path().join("ckrv"));
        // No session bus: neither that of whoever runs the tests nor one that is started for the question.
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    async fn says(&self, arguments: &[&str]) -> Said {
        let output = tokio::time::timeout(START, self.command(arguments).output()).await;
        Said::new(arguments, output.expect("it ends").unwrap())
    }

    /// The same with something on stdin.
    async fn hears(&self, arguments: &[&str], stdin: &str) -> Said {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
        self.end(child).await
    }

    /// Begins a login by a code.
    fn begin(&self, options: &[&str]) -> Child {
        let server = self.stack.server_url();
        let mut command = self.command(&[&["cloud", "login", "--server", &server], options].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Decides on the one request that waits.
    async fn decide(&self, state: &str) {
        let (state, user, org) = (state.to_owned(), self.user.uuid(), self.stack.keys.org.uuid());
        self.when_asked(move || {
            let decide =
                "update device_codes set state = $1, user_id = $2, org_id = $3, shown = 1 where state = 'pending'";
            sqlx::query(decide).bind(state.clone()).bind(user).bind(org)
        })
        .await;
    }

    /// Changes the one request as soon as it is there.
    async fn when_asked(&self, change: impl Fn() -> Query) {
        let db = PgPool::connect(self.stack.superuser_url().expose()).await.unwrap();
        let change = &change;
        let once = async || change().execute(&db).await.unwrap().rows_affected();
        wait_for("a request comes", LOGIN, async || (once().await > 0).then_some(())).await;
    }

    async fn end(&self, child: Child) -> Said {
        let output: Output = tokio::time::timeout(LOGIN, child.wait_with_output()).await.expect("it ends").unwrap();
        Said::new(&["cloud", "login"], output)
    }

    /// Signs in by a code.
    async fn login(&self, options: &[&str]) -> Said {
        let child = self.begin(options);
        self.decide("approved").await;
        self.end(child).await.exits(0)
    }

    /// The newest refresh token's number, and how many there are.
    async fn refresh_tokens(&self) -> (i32, i64) {
        let mut db = self.db().await;
        sqlx::query_as("select coalesce(max(number), 0), count(*) from refresh_tokens")
            .fetch_one(&mut db)
            .await
            .unwrap()
    }

    /// Changes what is kept in plain text.
    fn edit(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let mut kept: serde_json::Value = serde_json::from_str(&self.kept()).unwrap();
        change(&mut kept["plain"]);
        std::fs::write(self.credentials(), kept.to_string()).unwrap();
    }

    /// As if ten minutes were over.
    fn expire(&self) {
        self.edit(|kept| kept["expires_at"] = 1_600_000_000.into());
    }
}
