use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ckrv_dev::postgres::{ClusterSettings, EmbeddedPostgres, PostgresError, VERSION};
use ckrv_dev::testing;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::time::{Instant, interval};

/// Longest wait for something that takes a second at most.
const LIMIT: Duration = Duration::from_mins(1);

async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    let mut tick = interval(Duration::from_millis(20));
    while !condition() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        tick.tick().await;
    }
}

async fn ask(url: &str, question: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let answer = sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    answer
}

async fn execute(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A folder that is kept between starts within one test.
fn lasting(folder: &TempDir) -> ClusterSettings {
    ClusterSettings { temporary: false, ..testing::cluster_settings(&folder.path().join("postgres")) }
}

fn postmaster(root: &Path) -> Option<Pid> {
    let content = fs::read_to_string(root.join("data/postmaster.pid")).ok()?;
    content.lines().next()?.parse().ok().map(Pid::from_raw)
}

/// A line of /proc/PID/status.
fn status(pid: Pid, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

fn parent(pid: Pid) -> Pid {
    Pid::from_raw(status(pid, "PPid").unwrap().parse().unwrap())
}

fn is_alive(pid: Pid) -> bool {
    status(pid, "State").is_some_and(|state| !state.starts_with('Z'))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn each_test_has_a_fresh_database_on_the_shared_server() {
    let (first, second) = tokio::join!(testing::database(), testing::database());
    execute(first.url.expose(), "CREATE TABLE only_in_first ()").await;
    let tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(ask(first.url.expose(), tables).await, "1");
    assert_eq!(ask(second.url.expose(), tables).await, "0");
    assert_eq!(ask(second.url.expose(), "SELECT current_database()::text").await, second.name);
}

#[tokio::test]
async fn it_is_the_pinned_version_on_loopback_alone_and_wants_the_password() {
    let postgres = testing::postgres().await;
    let url = postgres.superuser_url().expose();
    let version = format!("{}.{}", VERSION.major, VERSION.minor);
    assert!(ask(url, "SHOW server_version").await.starts_with(&version));
    assert_eq!(ask(url, "SHOW listen_addresses").await, "127.0.0.1");
    assert_eq!(ask(url, "SHOW unix_socket_directories").await, "");
    assert_eq!(ask(url, "SHOW max_connections").await, "200");
    let guess = format!("postgres://postgres:guess@127.0.0.1:{}/postgres", postgres.port());
    let refused = PgConnection::connect(&guess).await.unwrap_err();
    assert_eq!(refused.as_database_error().and_then(DatabaseError::code).as_deref(), Some("28P01"), "{refused}");
}

#[tokio::test]
async fn data_survives_a_stop_and_nobody_else_may_read_it() {
    let folder = TempDir::new().unwrap();
    let mut settings = lasting(&folder);
    let postgres = testing::start(&settings).await;
    let url = postgres.create_database("kept").await.unwrap();
    execute(url.expose(), "CREATE TABLE kept AS SELECT 'here' AS word").await;
    settings.port = Some(postgres.port());
    postgres.stop().await;
    assert!(PgConnection::connect(url.expose()).await.is_err());

    let again = testing::start(&settings).await;
    assert_eq!(again.port(), settings.port.unwrap());
    assert_eq!(ask(url.expose(), "SELECT word FROM kept").await, "here", "the same port and the same password");
    assert_eq!(mode(&settings.root), 0o700);
    assert_eq!(mode(&settings.root.join("data")), 0o700);
    assert_eq!(mode(&settings.root.join("password")), 0o600);
    assert_eq!(mode(&settings.root.join("postgres.log")), 0o600);
    again.stop().await;
}

#[tokio::test]
async fn a_temporary_database_takes_its_folder_with_it() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("a folder");
    let postgres = testing::start(&testing::cluster_settings(&root)).await;
    assert!(root.join("data").exists());
    postgres.stop().await;
    assert!(!root.exists());
}

/// Not a test of its own, but the process that the next test kills: it runs a database for the settings file in its
/// working folder, if there is one.
#[tokio::test]
#[ignore = "another test runs it as a process"]
async fn owner_of_a_database() {
    let Ok(settings) = fs::read_to_string("settings.json") else { return };
    let _postgres = testing::start(&serde_json::from_str(&settings).unwrap()).await;
    fs::write("started", "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn the_database_ends_when_its_owner_is_killed() {
    let folder = TempDir::new().unwrap();
    let settings = lasting(&folder);
    fs::write(folder.path().join("settings.json"), serde_json::to_vec(&settings).unwrap()).unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap());
    owner.args(["--ignored", "--exact", "postgres::owner_of_a_database"]).current_dir(&folder).stdout(Stdio::null());
    let mut owner = owner.spawn().unwrap();
    wait_for("a database runs", || folder.path().join("started").exists()).await;
    let server = postmaster(&settings.root).unwrap();
    let guard = parent(server);
    assert_ne!(guard.as_raw(), owner.id().cast_signed(), "the guard is a process of its own");

    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_for("the guard and the server end", || !is_alive(guard) && !is_alive(server)).await;
    assert_eq!(postmaster(&settings.root), None, "the server ended in order");

    testing::start(&settings).await.stop().await;
}

#[tokio::test]
async fn a_server_that_a_killed_guard_left_is_stopped_by_the_next_start() {
    let folder = TempDir::new().unwrap();
    let settings = lasting(&folder);
    let postgres = testing::start(&settings).await;
    execute(postgres.superuser_url().expose(), "CREATE TABLE kept AS SELECT 'here' AS word").await;
    let left = postmaster(&settings.root).unwrap();
    kill(parent(left), Signal::SIGKILL).unwrap();
    postgres.ended().await;
    assert!(is_alive(left), "nobody could stop it");

    let again = testing::start(&settings).await;
    assert!(!is_alive(left));
    assert_eq!(ask(again.superuser_url().expose(), "SELECT word FROM kept").await, "here");
    again.stop().await;
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_does_no_harm() {
    let folder = TempDir::new().unwrap();
    let settings = lasting(&folder);
    testing::start(&settings).await.stop().await;
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let data = settings.root.join("data");
    fs::write(data.join("postmaster.pid"), format!("{}\n{}\n", stranger.id(), data.display())).unwrap();

    testing::start(&settings).await.stop().await;
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_recovers_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let settings = lasting(&folder);
    let postgres = testing::start(&settings).await;
    execute(postgres.superuser_url().expose(), "CREATE TABLE kept AS SELECT 'here' AS word").await;
    kill(postmaster(&settings.root).unwrap(), Signal::SIGKILL).unwrap();
    postgres.ended().await;

    let again = testing::start(&settings).await;
    assert_eq!(ask(again.superuser_url().expose(), "SELECT word FROM kept").await, "here");
    again.stop().await;
}

async fn refusal(settings: &ClusterSettings) -> PostgresError {
    match EmbeddedPostgres::start(&testing::program(), settings).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_what_to_do() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = Some(taken.local_addr().unwrap().port());
    let error = refusal(&ClusterSettings { port, ..testing::cluster_settings(&folder.path().join("a")) }).await;
    assert!(error.to_string().contains("Address already in use"), "{error}");
    assert!(error.hint().contains("CKRV_DEV_POSTGRES_URL"), "{}", error.hint());

    let mut settings = lasting(&folder);
    testing::start(&settings).await.stop().await;
    fs::remove_file(settings.root.join("password")).unwrap();
    let error = refusal(&settings).await;
    assert!(error.to_string().contains("password file"), "{error}");
    assert!(error.hint().contains("begin afresh"), "{}", error.hint());

    settings.cache = "/proc/no/such/folder".into();
    assert!(refusal(&settings).await.to_string().contains("cannot create folder /proc/no/such/folder"));
}

#[tokio::test]
#[ignore = "downloads PostgreSQL"]
async fn two_starts_at_once_on_a_cold_cache_download_once() {
    let folder = TempDir::new().unwrap();
    let cache = folder.path().join("cache");
    fs::create_dir_all(cache.join(".tmp-of-a-killed-download/bin")).unwrap();
    let start = async |name| {
        let root = folder.path().join(name);
        let settings = ClusterSettings { cache: cache.clone(), ..testing::cluster_settings(&root) };
        testing::start(&settings).await
    };
    let (first, second) = tokio::join!(start("first"), start("second"));
    assert_ne!(first.port(), second.port());
    tokio::join!(first.stop(), second.stop());
    let mut names: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [VERSION.to_string().as_str(), "install.lock"]);
}
