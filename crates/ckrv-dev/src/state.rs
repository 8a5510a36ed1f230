//! The folder that holds all of the embedded default's state, and who owns it now.
//!
//! ```text
//! $CKRV_HOME/           or $XDG_DATA_HOME/ckrv, ~/.local/share/ckrv
//!   dev/                0700; secrets in it 0600
//!     lock              held by the process that runs
//!     server.json       what it tells others, while it runs
//!     postgres/  s3/  secrets/  runner/
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy as _;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};
use crate::wait;

/// How long one that is starting may take to tell its address (it may be downloading PostgreSQL), or one that is
/// stopping to be gone.
const OTHER_LIMIT: Duration = Duration::from_mins(2);

/// Where the state is.
#[derive(Debug, Clone, clap::Args)]
pub struct HomeArgs {
    /// Folder of all files of ckrv [default: ckrv in the user's data folder]
    #[arg(long, env = "CKRV_HOME", value_name = "DIR", global = true)]
    pub home: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot find the user's home folder")]
    NoHome(#[source] etcetera::HomeDirError),
    #[error("cannot make {} absolute", path.display())]
    NotAbsolute { path: PathBuf, source: std::io::Error },
    #[error("cannot understand {}", path.display())]
    Unintelligible { path: PathBuf, source: serde_json::Error },
    #[error("another ckrv-dev holds {} and does not say where it listens", path.display())]
    Unknown { path: PathBuf },
}

/// What a running one tells others: `server.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningServer {
    /// URL of the control plane.
    pub server: String,
    pub pid: u32,
    /// Whom its pages know; none: it is of an older release.
    #[serde(default)]
    pub account: Option<Account>,
}

/// The local account that the embedded default has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub login: String,
    /// Mode 0600.
    pub password_file: PathBuf,
}

/// Who runs on a state folder.
#[derive(Debug)]
pub enum Owner {
    /// This process, from now on.
    Us(StateLock),
    /// One that was there before.
    Other(RunningServer),
}

/// The folder, made and closed to others.
#[derive(Debug, Clone)]
pub struct StateFolder {
    dev: PathBuf,
}

impl StateFolder {
    /// Opens the folder below `home`, or below the user's data folder.
    pub fn open(home: Option<&Path>) -> Result<Self, StateError> {
        let home = match home {
            Some(home) => home.to_owned(),
            None => etcetera::choose_base_strategy().map_err(StateError::NoHome)?.data_dir().join("ckrv"),
        };
        let dev = std::path::absolute(home.join("dev"))
            .map_err(|source| StateError::NotAbsolute { path: home.clone(), source })?;
        files::create_folder(&dev)?;
        Ok(Self { dev })
    }

    /// The folder of all files of ckrv, which this one is in.
    pub fn home(&self) -> &Path {
        self.dev.parent().expect("it was made as a folder of another")
    }

    /// Work folders of the local runner.
    pub fn runner(&self) -> PathBuf {
        self.dev.join("runner")
    }

    pub fn postgres(&self) -> PathBuf {
        self.dev.join("postgres")
    }

    pub fn s3(&self) -> PathBuf {
        self.dev.join("s3")
    }

    pub fn secrets(&self) -> PathBuf {
        self.dev.join("secrets")
    }

    /// Takes the folder for this process, or finds who has it. Waits a while for one that is starting or stopping.
    pub async fn own_or_find(&self) -> Result<Owner, StateError> {
        let path = self.dev.join("lock");
        let lock = files::open_lock(&path)?;
        let owner = wait::until(OTHER_LIMIT, || {
            if files::try_lock(&lock, &path)?.is_some() {
                return Ok(Some(None));
            }
            Ok::<_, StateError>(self.announced()?.map(Some))
        });
        match owner.await? {
            Some(None) => {
                let lock = StateLock { server_file: self.server_file(), _lock: lock };
                lock.withdraw()?;
                Ok(Owner::Us(lock))
            }
            Some(Some(other)) => Ok(Owner::Other(other)),
            None => Err(StateError::Unknown { path }),
        }
    }

    /// Who runs on this folder now and has told its address.
    pub fn running(&self) -> Result<Option<RunningServer>, StateError> {
        let path = self.dev.join("lock");
        let lock = files::open_lock(&path)?;
        match lock.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(fs::TryLockError::WouldBlock) => self.announced(),
            Err(fs::TryLockError::Error(error)) => Err(FileError::on("lock", &path)(error).into()),
        }
    }

    fn server_file(&self) -> PathBuf {
        self.dev.join("server.json")
    }

    fn announced(&self) -> Result<Option<RunningServer>, StateError> {
        let path = self.server_file();
        let Some(content) = files::read(&path)? else { return Ok(None) };
        serde_json::from_str(&content).map(Some).map_err(|source| StateError::Unintelligible { path, source })
    }
}

/// Held by the process that runs on the folder; given back by the system however it ends.
#[derive(Debug)]
pub struct StateLock {
    server_file: PathBuf,
    _lock: File,
}

impl StateLock {
    /// Tells others where we are.
    pub fn announce(&self, server: &RunningServer) -> Result<(), StateError> {
        let content = serde_json::to_vec_pretty(server)
            .map_err(|source| StateError::Unintelligible { path: self.server_file.clone(), source })?;
        Ok(files::write(&self.server_file, &content)?)
    }

    fn withdraw(&self) -> Result<(), FileError> {
        files::remove_file(&self.server_file)
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // What stays is not believed without the lock.
        let _ = self.withdraw();
    }
}

/// Folder of the PostgreSQL programs: `$XDG_CACHE_HOME/ckrv/postgresql`, by default in `~/.cache`.
pub fn postgres_cache() -> Result<PathBuf, StateError> {
    let folders = etcetera::choose_base_strategy().map_err(StateError::NoHome)?;
    Ok(folders.cache_dir().join("ckrv").join("postgresql"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> RunningServer {
        RunningServer { server: "http://127.0.0.1:7777".to_owned(), pid: std::process::id(), account: None }
    }

    async fn own(state: &StateFolder) -> StateLock {
        match state.own_or_find().await.unwrap() {
            Owner::Us(lock) => lock,
            Owner::Other(other) => panic!("{other:?} has it"),
        }
    }

    #[tokio::test]
    async fn a_second_start_finds_the_first_as_soon_as_it_has_an_address() {
        let home = tempfile::TempDir::new().unwrap();
        let state = StateFolder::open(Some(home.path())).unwrap();
        let lock = own(&state).await;
        assert_eq!(state.running().unwrap(), None, "it has not told its address");
        let second = state.own_or_find();
        let (found, ()) = tokio::join!(second, async { lock.announce(&server()).unwrap() });
        assert!(matches!(found.unwrap(), Owner::Other(other) if other == server()));
        assert_eq!(state.running().unwrap(), Some(server()));

        drop(lock);
        assert_eq!(state.running().unwrap(), None);
        own(&state).await;
    }

    #[tokio::test]
    async fn what_a_killed_one_told_is_not_believed() {
        let home = tempfile::TempDir::new().unwrap();
        let state = StateFolder::open(Some(home.path())).unwrap();
        fs::write(state.server_file(), serde_json::to_vec(&server()).unwrap()).unwrap();
        assert_eq!(state.running().unwrap(), None);
        let lock = own(&state).await;
        assert_eq!(state.running().unwrap(), None);
        drop(lock);
    }

    #[test]
    fn the_folder_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::TempDir::new().unwrap();
        let state = StateFolder::open(Some(&home.path().join("below"))).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state.dev), 0o700);
        files::write(&state.server_file(), b"{}").unwrap();
        assert_eq!(mode(&state.server_file()), 0o600);
    }
}
