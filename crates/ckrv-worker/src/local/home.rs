//! The runner's folder: who it is, and one folder below `work/` for each attempt that it has anything of.
//!
//! An attempt's folder has a file `alive` that its supervisor keeps locked (flock(2)) and writes its process id into: the
//! lock is free as soon as the supervisor is dead, however it died, so that a restarted runner needs to believe no number.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ckrv_types::{AttemptId, Secret};
use sha2::{Digest, Sha256};

const ACKNOWLEDGED: &str = "acknowledged";
const MACHINE_ID: &str = "/etc/machine-id";

/// The folder of one runner, held as long as this lives.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    _lock: File,
}

/// Why a folder cannot be a runner's home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("cannot use the runner's folder {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another runner uses the folder {0}")]
    Taken(PathBuf),
}

impl Home {
    /// Makes the folder where it is not there, for this user alone, and holds it.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let failed = |source| HomeError::Io { path: path.to_owned(), source };
        make_folder(&path.join("work")).map_err(failed)?;
        let path = fs::canonicalize(path).map_err(failed)?;
        let lock = create_private(&path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(HomeError::Taken(path)),
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// What the runner's token is bound to: this folder of this machine.
    pub fn instance(&self) -> String {
        let machine = fs::read_to_string(MACHINE_ID)
            .ok()
            .filter(|id| !id.trim().is_empty())
            .or_else(|| nix::unistd::gethostname().ok()?.into_string().ok())
            .unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(machine.trim());
        hash.update([0]);
        hash.update(self.path.as_os_str().as_encoded_bytes());
        hex::encode(&hash.finalize()[..16])
    }

    /// The folder of one attempt; see [`WorkFolder::create`].
    pub fn work(&self, attempt: AttemptId) -> WorkFolder {
        WorkFolder { path: self.path.join("work").join(attempt.to_string()) }
    }

    /// Every attempt that has a folder here.
    pub fn found(&self) -> io::Result<Vec<AttemptId>> {
        let entries = fs::read_dir(self.path.join("work"))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }
}

/// One attempt's folder.
#[derive(Debug, Clone)]
pub struct WorkFolder {
    path: PathBuf,
}

impl WorkFolder {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bootstrap token, for the supervisor to read.
    pub fn token(&self) -> PathBuf {
        self.path.join("token")
    }

    /// Locked by the living supervisor.
    pub fn alive(&self) -> PathBuf {
        self.path.join("alive")
    }

    /// Makes the folder with all that a supervisor wants to find.
    pub fn create(&self, token: &Secret) -> io::Result<()> {
        make_folder(&self.path)?;
        create_private(&self.token())?.write_all(token.expose().as_bytes())?;
        create_private(&self.alive())?;
        Ok(())
    }

    /// The living supervisor's process id. `None`: it is dead, or never lived.
    pub fn supervisor(&self) -> Option<u32> {
        let file = File::open(self.alive()).ok()?;
        if file.try_lock_shared().is_ok() {
            return None;
        }
        self.recorded_supervisor()
    }

    /// The process id that was written last, whether or not that process lives.
    pub fn recorded_supervisor(&self) -> Option<u32> {
        self.recorded()?.parse().ok()
    }

    /// Whether the control plane has acknowledged the attempt's end, as the last supervisor left word.
    pub fn is_acknowledged(&self) -> bool {
        self.recorded().as_deref() == Some(ACKNOWLEDGED)
    }

    /// Whether no supervisor has ever begun here.
    pub fn is_untouched(&self) -> bool {
        self.recorded().is_none_or(|text| text.is_empty())
    }

    fn recorded(&self) -> Option<String> {
        fs::read_to_string(self.alive()).ok()
    }

    /// Removes the folder with all that is in it, also what the agent has locked itself out of. A supervisor that was just
    /// about to begin finds no `alive` and goes away.
    pub fn remove(&self) -> io::Result<()> {
        // First: without it nobody begins here.
        ignore_missing(fs::remove_file(self.alive()))?;
        match ignore_missing(fs::remove_dir_all(&self.path)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_up(&self.path)?;
                ignore_missing(fs::remove_dir_all(&self.path))
            }
            done => done,
        }
    }
}

/// The supervisor's sign of life.
#[derive(Debug)]
pub struct Alive(File);

impl Alive {
    /// The attempt's end is acknowledged: whoever finds the file later need not wonder what became of it.
    pub fn acknowledged(&self) -> io::Result<()> {
        self.write(ACKNOWLEDGED)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all_at(text.as_bytes(), 0)
    }
}

/// Holds `alive` for as long as the answer lives: by the supervisor, before anything else.
pub fn hold(alive: &Path) -> io::Result<Alive> {
    use std::os::unix::fs::MetadataExt;
    let taken = || io::Error::other("the attempt is another supervisor's, or was removed");
    // Never created here: a runner that cleans up removes it first.
    let file = OpenOptions::new().write(true).open(alive)?;
    file.try_lock().map_err(|_| taken())?;
    if file.metadata()?.nlink() == 0 {
        return Err(taken());
    }
    let alive = Alive(file);
    alive.write(&std::process::id().to_string())?;
    Ok(alive)
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Gives this user all rights on every folder below `path`. Links are not followed.
fn open_up(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ckrv_types::JobId;

    use super::*;

    fn attempt() -> AttemptId {
        AttemptId { job: JobId::new(), number: 1 }
    }

    #[test]
    fn a_folder_has_one_runner_at_a_time_and_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert!(matches!(Home::open(dir.path()), Err(HomeError::Taken(_))));
        let instance = home.instance();
        drop(home);
        assert_eq!(Home::open(dir.path()).unwrap().instance(), instance);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Home::open(other.path()).unwrap().instance(), instance);
    }

    #[test]
    fn the_token_is_for_this_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let work = Home::open(dir.path()).unwrap().work(attempt());
        work.create(&Secret::new("token")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(work.path()), mode(&work.token())), (0o700, 0o600));
    }

    #[test]
    fn a_supervisor_is_alive_as_long_as_it_holds_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let attempt = attempt();
        let work = home.work(attempt);
        work.create(&Secret::new("token")).unwrap();
        assert_eq!((work.supervisor(), work.is_untouched()), (None, true));
        let held = hold(&work.alive()).unwrap();
        assert_eq!(work.supervisor(), Some(std::process::id()));
        assert!(hold(&work.alive()).is_err(), "two supervisors of one attempt");
        drop(held);
        assert_eq!((work.supervisor(), work.is_acknowledged(), work.is_untouched()), (None, false, false));
        hold(&work.alive()).unwrap().acknowledged().unwrap();
        assert_eq!((work.supervisor(), work.is_acknowledged()), (None, true));
        assert_eq!(home.found().unwrap(), [attempt]);
        work.remove().unwrap();
        assert!(hold(&work.alive()).is_err(), "a supervisor of a removed attempt");
        assert_eq!(home.found().unwrap(), []);
        work.remove().unwrap();
    }

    #[test]
    fn a_folder_that_an_agent_has_closed_is_removed_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let work = Home::open(dir.path()).unwrap().work(attempt());
        work.create(&Secret::new("token")).unwrap();
        let closed = work.path().join("agent/closed");
        fs::create_dir_all(closed.join("deeper")).unwrap();
        fs::write(closed.join("deeper/file"), "x").unwrap();
        fs::set_permissions(closed.join("deeper"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        work.remove().unwrap();
        assert!(!work.path().exists());
    }
}
