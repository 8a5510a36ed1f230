//! One database cluster on disk and its server process. Known to the guard process only.
//!
//! ```text
//! root/guard.lock     held by the one guard that may touch this folder
//! root/database.lock  the server's standard input: inherited by all its processes, hence held while one of them
//!                     lives, whatever became of the guard, and whoever has its old process id now
//! root/password       of the superuser
//! root/postgres.log   since the last start
//! root/data/          appears whole, after initdb
//! ```

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ckrv_types::Secret;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::error::ClusterError;
use super::{ClusterSettings, SUPERUSER, install};
use crate::files::{self, FileError};
use crate::wait;

/// How long the guard of a killed process may take to end.
const GUARD_LIMIT: Duration = Duration::from_mins(1);
/// How long recovery after a crash may take.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// How the server is stopped: fast (sessions are ended), immediate (recovery at the next start), by force.
const STOP_LADDER: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(20)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];
/// The data before initdb is done: a folder whose name begins so.
const FRESH: &str = "data.new-";
/// How much of its log is shown when it ends.
const LOG_LINES: usize = 5;

/// The folder, held by this process alone.
pub struct Cluster<'a> {
    settings: &'a ClusterSettings,
    _guard_lock: File,
}

/// A server process.
pub struct Server {
    child: Child,
    pid_file: PathBuf,
    log: PathBuf,
    pub port: u16,
    pub password: Secret,
}

impl<'a> Cluster<'a> {
    pub async fn open(settings: &'a ClusterSettings) -> Result<Self, ClusterError> {
        files::create_folder(&settings.root)?;
        let path = settings.root.join("guard.lock");
        let guard_lock = files::open_lock(&path)?;
        wait::until(GUARD_LIMIT, || files::try_lock(&guard_lock, &path))
            .await?
            .ok_or_else(|| ClusterError::Busy { root: settings.root.clone() })?;
        Ok(Self { settings, _guard_lock: guard_lock })
    }

    /// Gets the programs. May be given up at any time.
    pub async fn programs(&self) -> Result<PathBuf, ClusterError> {
        Ok(install::installed(&self.settings.cache).await?.join("bin"))
    }

    /// Makes the database if it is not there, and starts its server. Not to be given up, nor the server forgotten without
    /// a stop: killed processes leave shared memory behind. It takes a second or two.
    pub async fn start(&self, programs: &Path) -> Result<Server, ClusterError> {
        let database_lock = self.claim_data().await?;
        let password = self.initialised(programs).await?;
        let port = self.settings.port.map_or_else(free_port, Ok)?;
        let log = self.settings.root.join("postgres.log");
        let child = self.spawn(programs, port, database_lock, &log)?;
        Ok(Server { child, pid_file: self.pid_file(), log, port, password })
    }

    pub fn remove(self) -> Result<(), ClusterError> {
        Ok(files::remove_folder(&self.settings.root)?)
    }

    fn data(&self) -> PathBuf {
        self.settings.root.join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    /// Takes the database's lock, after stopping what an earlier guard that was killed has left running. Then no
    /// process has the data open, and a pid file can only name a stranger: the server would take it for itself.
    async fn claim_data(&self) -> Result<File, ClusterError> {
        let path = self.settings.root.join("database.lock");
        let lock = files::open_lock(&path)?;
        let mut free = files::try_lock(&lock, &path)?;
        for (signal, limit) in STOP_LADDER {
            if free.is_some() {
                break;
            }
            let mut told = None;
            free = wait::until(limit, || {
                // The server writes its pid a moment after it has the lock.
                told = told.or_else(|| kill(postmaster(&self.pid_file())?, signal).ok());
                files::try_lock(&lock, &path)
            })
            .await?;
        }
        free.ok_or_else(|| ClusterError::Orphan { data: self.data() })?;
        files::remove_file(&self.pid_file())?;
        Ok(lock)
    }

    /// The superuser's password, after initdb if there is no data yet.
    async fn initialised(&self, programs: &Path) -> Result<Secret, ClusterError> {
        let password_file = self.settings.root.join("password");
        if self.data().exists() {
            let password = files::read(&password_file)?;
            return password.map(Secret::new).ok_or_else(|| ClusterError::PasswordLost { data: self.data() });
        }
        let password = files::random_secret();
        files::write(&password_file, password.expose().as_bytes())?;
        // A folder of its own each time: processes of an initdb that was killed may still write to the last one.
        files::sweep(&self.settings.root, FRESH);
        let fresh = tempfile::Builder::new().prefix(FRESH).tempdir_in(&self.settings.root);
        let fresh = fresh.map_err(FileError::on("create a folder in", &self.settings.root))?;
        self.initdb(programs, fresh.path(), &password_file).await?;
        fs::rename(fresh.keep(), self.data()).map_err(FileError::on("rename a folder to", &self.data()))?;
        Ok(password)
    }

    /// UTF-8 and code point order on every machine, whatever its locales.
    async fn initdb(&self, programs: &Path, data: &Path, password_file: &Path) -> Result<(), ClusterError> {
        let mut command = Command::new(programs.join("initdb"));
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command.arg("--pgdata").arg(data).arg("--pwfile").arg(password_file);
        command.args(["--username", SUPERUSER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale"]);
        command.args(["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]);
        if self.settings.temporary {
            command.arg("--no-sync");
        }
        let output = command.output().await.map_err(system("run initdb"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(ClusterError::InitDb {
            status: output.status,
            output: last_lines(&String::from_utf8_lossy(&output.stderr)),
        })
    }

    fn spawn(&self, programs: &Path, port: u16, database_lock: File, log: &Path) -> Result<Child, ClusterError> {
        files::write(log, b"")?;
        let log = File::options().append(true).open(log).map_err(FileError::on("open", log))?;
        let mut command = Command::new(programs.join("postgres"));
        command.env_clear().kill_on_drop(true).stdin(database_lock);
        command.stdout(log.try_clone().map_err(system("share the database's log"))?).stderr(log);
        command.arg("-D").arg(self.data()).arg("-p").arg(port.to_string());
        let ours = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("max_connections", "200"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        let theirs = self.settings.configuration.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in ours.into_iter().chain(theirs) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command.spawn().map_err(system("start PostgreSQL"))
    }
}

impl Server {
    /// Waits until the server says in its pid file that it is ready (its last line; PostgreSQL's own `pg_ctl` reads it).
    pub async fn ready(&mut self) -> Result<(), ClusterError> {
        let ended = wait::until(READY_LIMIT, || {
            if let Some(status) = self.child.try_wait().map_err(system("watch PostgreSQL"))? {
                return Ok(Some(Some(status)));
            }
            let content = fs::read_to_string(&self.pid_file).unwrap_or_default();
            Ok::<_, ClusterError>(content.lines().nth(7).is_some_and(|line| line.trim() == "ready").then_some(None))
        })
        .await?;
        match ended {
            Some(None) => Ok(()),
            Some(Some(status)) => Err(ClusterError::EndedAtStart { status, log: self.last_words() }),
            None => Err(ClusterError::NotReady { seconds: READY_LIMIT.as_secs(), log: self.last_words() }),
        }
    }

    /// Waits until the server ends by itself, which it should not.
    pub async fn ended(&mut self) -> ClusterError {
        match self.child.wait().await {
            Ok(status) => ClusterError::Ended { status, log: self.last_words() },
            Err(source) => ClusterError::System { action: "watch PostgreSQL", source },
        }
    }

    /// Stops it, if it runs.
    pub async fn stop(mut self) -> Result<(), ClusterError> {
        for (signal, limit) in STOP_LADDER {
            let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { break };
            // It may end between the two calls, but until it is waited for its number is not given to another.
            let _ = kill(Pid::from_raw(pid), signal);
            if let Ok(status) = timeout(limit, self.child.wait()).await {
                status.map_err(system("wait for PostgreSQL"))?;
                break;
            }
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        last_lines(&fs::read_to_string(&self.log).unwrap_or_default())
    }
}

/// The process id in a pid file: its first line.
fn postmaster(pid_file: &Path) -> Option<Pid> {
    let content = fs::read_to_string(pid_file).ok()?;
    content.lines().next()?.trim().parse().ok().map(Pid::from_raw)
}

fn free_port() -> Result<u16, ClusterError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(system("find a free port"))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

pub(super) fn system(action: &'static str) -> impl FnOnce(std::io::Error) -> ClusterError {
    move |source| ClusterError::System { action, source }
}
