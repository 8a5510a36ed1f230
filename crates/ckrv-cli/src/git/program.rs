//! One call of `git`.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use ckrv_types::fsck;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How a call of `git` fails.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("cannot run git")]
    Start(#[source] std::io::Error),
    #[error("git {command}: {message}")]
    Failed { command: String, message: String },
}

/// `git` in one folder.
#[derive(Debug, Clone)]
pub struct Git {
    folder: PathBuf,
    hardened: bool,
}

/// Variables that would lead git to another repository than the one in its folder, or give it settings.
const STRAYING: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_EXTERNAL_DIFF",
    "GIT_ATTR_SOURCE",
    "GIT_TEMPLATE_DIR",
    "GIT_EXEC_PATH",
    "GIT_TRACE",
];

/// Settings for every call that touches what a job made: nothing runs, nothing is fetched from elsewhere, and every object
/// is checked.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "transfer.fsckObjects=true",
    "fetch.recurseSubmodules=false",
    "fetch.prune=false",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "protocol.allow=never",
    "protocol.file.allow=always",
];

impl Git {
    /// In the user's checkout, by the user's settings.
    pub fn in_checkout(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), hardened: false }
    }

    /// In a repository of ours that holds what a job made: no settings but ours.
    pub fn hardened(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), hardened: true }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs `git` and answers what it prints, without the last line end.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<String, GitError> {
        Ok(printed(&self.output(arguments, Stdio::null(), &[]).await?))
    }

    /// The same, with `input` on stdin.
    pub async fn run_with<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Result<String, GitError> {
        Ok(printed(&self.output(arguments, Stdio::piped(), input).await?))
    }

    /// The same, with the rest of `input` on stdin.
    pub async fn run_from<A: AsRef<OsStr>>(&self, arguments: &[A], input: File) -> Result<String, GitError> {
        Ok(printed(&self.output(arguments, input.into(), &[]).await?))
    }

    /// Runs `git` and answers the bytes that it prints.
    pub async fn bytes<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Vec<u8>, GitError> {
        Ok(self.output(arguments, Stdio::null(), &[]).await?.stdout)
    }

    /// Whether `git` says yes by its exit code; a question that cannot be answered is a no.
    pub async fn says<A: AsRef<OsStr>>(&self, arguments: &[A]) -> bool {
        self.run(arguments).await.is_ok()
    }

    async fn output<A: AsRef<OsStr>>(&self, arguments: &[A], stdin: Stdio, input: &[u8]) -> Result<Output, GitError> {
        let mut command = self.command();
        command.args(arguments).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(GitError::Start)?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // If git does not want all of it, its exit code says why.
                let _ = stdin.write_all(input).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let output = output.map_err(GitError::Start)?;
        if output.status.success() {
            return Ok(output);
        }
        Err(GitError::Failed { command: shown(arguments), message: complaint(&output) })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.folder).kill_on_drop(true);
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
        if self.hardened {
            for name in STRAYING {
                command.env_remove(name);
            }
            command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
            command.env("GIT_ALLOW_PROTOCOL", "file");
        }
        command.arg("--no-pager").arg("--no-replace-objects");
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        command.args(fsck::fetch_settings().flat_map(|(key, value)| ["-c".to_owned(), format!("{key}={value}")]));
        command
    }
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()
}

/// The subcommand and what it is about, not its whole line.
fn shown<A: AsRef<OsStr>>(arguments: &[A]) -> String {
    arguments.first().map(|first| first.as_ref().to_string_lossy().into_owned()).unwrap_or_default()
}

fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("hint:") && !line.is_empty()).collect();
    if lines.is_empty() { format!("ended with {}", output.status) } else { lines.join("; ") }
}
