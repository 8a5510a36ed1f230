//! Where ckrv's files are: one folder, which `CKRV_HOME` moves.
//!
//! ```text
//! $CKRV_HOME/           or ckrv in the user's data folder: $XDG_DATA_HOME, ~/.local/share, %APPDATA%
//!   profiles/NAME.json  server, organization, project; of `dev` the API key; 0600
//!   credentials/NAME    what the profile is signed in with, encrypted, 0600
//!   credentials/NAME.lock  held by whoever changes it
//!   profile             name of the profile in use
//!   dev/                the embedded control plane's state; it is `ckrv-dev`'s, but for dev.log
//! ```
//! All of it is written by programs and holds credentials, so all of it is data and none configuration.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use crate::failure::{Failure, OrFail as _};
use crate::sys;

/// The folder. It may not exist yet.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// `chosen`, or the default.
    pub fn find(chosen: Option<&Path>) -> Result<Self, Failure> {
        let folder = match chosen {
            Some(folder) => folder.to_owned(),
            None => etcetera::choose_base_strategy()
                .or_fail(|| "cannot find your home folder".into())
                .map_err(|failure| failure.hint("set CKRV_HOME"))?
                .data_dir()
                .join("ckrv"),
        };
        let folder =
            std::path::absolute(&folder).or_fail(|| format!("cannot use {} as CKRV_HOME", folder.display()))?;
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn profiles(&self) -> PathBuf {
        self.0.join("profiles")
    }

    pub fn credentials(&self) -> PathBuf {
        self.0.join("credentials")
    }

    pub fn active_profile(&self) -> PathBuf {
        self.0.join("profile")
    }

    pub fn dev(&self) -> PathBuf {
        self.0.join("dev")
    }
}

/// Reads a file that may not be there.
pub fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).or_fail(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a file that only the user may read, as a whole or not at all. Its folder is made likewise.
pub fn write(path: &Path, content: &str) -> Result<(), Failure> {
    replace(path, content).or_fail(|| format!("cannot write {}", path.display()))
}

/// The same; on disk when it returns.
pub fn replace(path: &Path, content: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    sys::create_private_folder(folder)?;
    // A temporary file is created with mode 0600, and keeps it.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sys::sync_folder(folder)
}

/// Removes a file; says whether it was there.
pub fn remove(path: &Path) -> Result<bool, Failure> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).or_fail(|| format!("cannot remove {}", path.display())),
    }
}
