//! A private PostgreSQL that ends with us: downloaded once, its data below a folder of ours, on loopback only.
//!
//! ```text
//! EmbeddedPostgres ──stdin, stdout──▶ guard: `ckrv-dev postgres` ──▶ postgres
//!   in our process                      (as root: in a user namespace)
//! ```

mod cluster;
mod error;
pub mod guard;
mod install;
mod user_namespace;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ckrv_types::Secret;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use error::{ClusterError, PostgresError};
pub use install::VERSION;

use guard::Report;

/// The name of the superuser and of its database.
pub const SUPERUSER: &str = "postgres";

/// Which database to run, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// Folder of the data, the password, the locks and the log. Made if need be, closed to other users.
    pub root: PathBuf,
    /// Folder of the PostgreSQL programs, by version; see [`crate::state::postgres_cache`].
    pub cache: PathBuf,
    /// Loopback port; `None`: any that is free.
    pub port: Option<u16>,
    /// Settings of PostgreSQL's own (`postgresql.conf`), over ours.
    pub configuration: Vec<(String, String)>,
    /// The guard removes `root` and all it holds after the database has stopped.
    pub temporary: bool,
}

impl ClusterSettings {
    /// A lasting database on any free port.
    pub fn new(root: impl Into<PathBuf>, cache: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), cache: cache.into(), port: None, configuration: Vec::new(), temporary: false }
    }
}

/// A running database. It stops when this value is dropped or this process ends, however it ends.
pub struct EmbeddedPostgres {
    url: Secret,
    port: u16,
    ended: CancellationToken,
    /// Its end tells the guard to stop.
    _guard_stdin: ChildStdin,
}

impl EmbeddedPostgres {
    /// Starts the database, downloading and initialising first what is not there yet. `program` is the
    /// `ckrv-dev` executable, which is run as the guard.
    pub async fn start(program: &Path, settings: &ClusterSettings) -> Result<Self, PostgresError> {
        let mut guard = spawn_guard(program, settings)?;
        let stdin = guard.stdin.take().expect("it was asked for as a pipe");
        let stdout = guard.stdout.take().expect("it was asked for as a pipe");
        let ended = CancellationToken::new();
        match first_line(guard, stdout, ended.clone()).await?.as_str() {
            "" => Err(PostgresError::Silent),
            line => match serde_json::from_str(line).map_err(PostgresError::Unintelligible)? {
                Report::Ready { url, port } => Ok(Self { url: Secret::new(url), port, ended, _guard_stdin: stdin }),
                Report::Failed { error, hint } => Err(PostgresError::Refused { error, hint }),
            },
        }
    }

    /// `postgres://…/postgres`, as superuser.
    pub fn superuser_url(&self) -> &Secret {
        &self.url
    }

    /// The loopback port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's URL of another database.
    pub fn database_url(&self, name: &str) -> Secret {
        let server = self.url.expose().trim_end_matches(SUPERUSER);
        Secret::new(format!("{server}{name}"))
    }

    /// Makes an empty database, owned by the superuser. Returns its superuser URL.
    pub async fn create_database(&self, name: &str) -> Result<Secret, PostgresError> {
        let failed = |source| PostgresError::CreateDatabase { name: name.to_owned(), source };
        let mut connection = PgConnection::connect(self.url.expose()).await.map_err(failed)?;
        let statement = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        Ok(self.database_url(name))
    }

    /// Waits until the database is gone, for whatever reason.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Stops the database, and waits until it has.
    pub async fn stop(self) {
        let Self { ended, _guard_stdin: stdin, .. } = self;
        drop(stdin);
        ended.cancelled().await;
    }
}

/// In a process group of its own: an interrupt typed at a terminal is for us, and we stop the database last.
fn spawn_guard(program: &Path, settings: &ClusterSettings) -> Result<Child, PostgresError> {
    let settings = serde_json::to_string(settings).map_err(PostgresError::Settings)?;
    let mut command = Command::new(program);
    command.arg("postgres").arg(settings).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(|source| PostgresError::Guard { program: program.to_owned(), source })
}

/// The guard's report; empty if it ended without one. A thread reads on to the end, collects the process, and says so:
/// the database may outlive the runtime that started it.
async fn first_line(mut guard: Child, stdout: ChildStdout, ended: CancellationToken) -> Result<String, PostgresError> {
    let (reported, report) = oneshot::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // Nobody waits for it if the start was given up; then our standard input to the guard is closed too.
        let _ = reported.send(lines.next().unwrap_or_default());
        lines.for_each(drop);
        let _ = guard.wait();
        ended.cancel();
    });
    report.await.map_err(|_| PostgresError::Silent)
}
