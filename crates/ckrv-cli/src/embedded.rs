//! The embedded control plane, as `ckrv-dev` tells of itself below `$CKRV_HOME/dev`: it holds a lock on `lock` while it runs, and `server.json` says
//! where it listens as soon as it does.

use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, OrFail as _};
use crate::home::{self, Home};

/// `server.json`, as far as the CLI needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    #[serde(rename = "server")]
    pub url: String,
    pub pid: u32,
    /// Whom its pages know; none: it is of an older release.
    #[serde(default)]
    pub account: Option<Account>,
}

/// The local account that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub login: String,
    pub password_file: PathBuf,
}

/// Whether one runs on this home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Stopped,
    /// It runs, and has not said where yet.
    Starting,
    Running(Server),
}

/// Looks once. What a killed one left behind is not believed: the system takes back its lock.
pub fn look(home: &Home) -> Result<State, Failure> {
    if !is_locked(home)? {
        return Ok(State::Stopped);
    }
    let path = home.dev().join("server.json");
    let Some(text) = home::read(&path)? else { return Ok(State::Starting) };
    let server = serde_json::from_str(&text).or_fail(|| format!("cannot understand {}", path.display()))?;
    Ok(State::Running(server))
}

fn is_locked(home: &Home) -> Result<bool, Failure> {
    let path = home.dev().join("lock");
    let what = || format!("cannot look at {}", path.display());
    let file = match OpenOptions::new().read(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).or_fail(what),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).or_fail(what),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn only_one_that_holds_the_lock_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path())).unwrap();
        assert_eq!(look(&home).unwrap(), State::Stopped);

        fs::create_dir(home.dev()).unwrap();
        let server = Server { url: "http://127.0.0.1:1".into(), pid: 7, account: None };
        fs::write(home.dev().join("server.json"), serde_json::to_string(&server).unwrap()).unwrap();
        let lock = File::create(home.dev().join("lock")).unwrap();
        assert_eq!(look(&home).unwrap(), State::Stopped, "left behind by a killed one");

        lock.try_lock().unwrap();
        assert_eq!(look(&home).unwrap(), State::Running(server));
        fs::remove_file(home.dev().join("server.json")).unwrap();
        assert_eq!(look(&home).unwrap(), State::Starting);
        drop(lock);
        assert_eq!(look(&home).unwrap(), State::Stopped);
    }
}
