//! Runs the program in a folder of its own, with nothing of the developer's environment.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A place with a `CKRV_HOME` and a folder to stand in.
pub struct Place {
    folder: TempDir,
    pub here: PathBuf,
    /// Whether there is a key to encrypt with.
    keyed: Cell<bool>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A server that nobody listens at, and a token for it.
pub const NOWHERE: [(&str, &str); 3] =
    [("CKRV_SERVER", "http://127.0.0.1:1"), ("CKRV_TOKEN", "ck_live_x"), ("CKRV_RETRY_LIMIT", "0s")];

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join("here");
        std::fs::create_dir(&here).unwrap();
        Self { folder, here, keyed: Cell::new(false) }
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the file that `CKRV_KEY_FILE` names from now on; its path.
    pub fn key_file(&self, content: &str) -> PathBuf {
        let path = self.folder.path().join("key");
        std::fs::write(&path, content).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        self.keyed.set(true);
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ckrv"));
        command.args(arguments).current_dir(&self.here).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.folder.path());
        // No session bus: neither that of whoever runs the tests nor one that is started for the question.
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
        command.env("CKRV_HOME", self.home()).env("GIT_CEILING_DIRECTORIES", self.folder.path());
        if self.keyed.get() {
            command.env("CKRV_KEY_FILE", self.folder.path().join("key"));
        }
        command.stdin(Stdio::null());
        command
    }

    pub fn ckrv(&self, arguments: &[&str]) -> Run {
        self.ckrv_with(arguments, &[])
    }

    pub fn ckrv_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let output = self.command(arguments).envs(variables.iter().copied()).output().unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .current_dir(&self.here)
            .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Makes `here` a checkout with one commit on `main`.
    pub fn checkout(&self) {
        self.git(&["init", "--quiet", "--initial-branch=main"]);
        std::fs::write(self.here.join("file"), "1\n").unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "-m", "first"]);
    }
}
