//! The CLI as its users see it: what a command says on its two streams, and how it ends.

use std::path::Path;
use std::process::Output;

use ckrv_types::{Artifact, Job, JobId};
use serde::de::DeserializeOwned;

use crate::repo::Repo;
use crate::stack::{JOB, Stack};

/// What a command said, and its exit code.
pub struct Said {
    command: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

#[expect(clippy::return_self_not_must_use, reason = "these are assertions, often the last word about a command")]
impl Said {
    pub fn new(arguments: &[&str], output: Output) -> Self {
        Self::by("ckrv", arguments, output)
    }

    /// The same of another program.
    pub fn by(program: &str, arguments: &[&str], output: Output) -> Self {
        Self {
            command: format!("{program} {}", arguments.join(" ")).chars().take(500).collect(),
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("the CLI prints UTF-8"),
            err: String::from_utf8(output.stderr).expect("the CLI prints UTF-8"),
        }
    }

    /// Panics with all it said unless it ended with this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Panics unless all of these stand on stderr.
    #[track_caller]
    pub fn tells(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text), "not told: {text}\n{self}");
        }
        self
    }

    /// Panics unless all of these stand on stdout.
    #[track_caller]
    pub fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.out.contains(text), "not printed: {text}\n{self}");
        }
        self
    }

    /// The job's id, which `ckrv run` and `ckrv retry` print alone on stdout.
    #[track_caller]
    pub fn job(&self) -> JobId {
        self.out.trim_end().parse().unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// Its `-o json`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, out, err } = self;
        // The end of a long log says most.
        let tail = |text: &str| text.chars().skip(text.chars().count().saturating_sub(20_000)).collect::<String>();
        write!(f, "{command}\nexit code {code:?}\n--- stdout\n{}\n--- stderr\n{}", tail(out), tail(err))
    }
}

impl Stack {
    /// Runs the CLI to its end, however it ends.
    pub async fn says(&self, arguments: &[&str]) -> Said {
        self.says_in(self.home.path(), arguments).await
    }

    /// The same, standing in `folder`.
    pub async fn says_in(&self, folder: &Path, arguments: &[&str]) -> Said {
        let Ok(output) = tokio::time::timeout(JOB, self.ckrv_in(folder, arguments)).await else {
            panic!("ckrv {arguments:?} has not ended\n{}\n{}", self.log("server.log"), self.log("runner.log"));
        };
        Said::new(arguments, output)
    }

    /// Hands in a job that runs a shell script on `repo`.
    pub async fn submit(&self, repo: &str, options: &[&str], script: &str) -> JobId {
        self.says(&[&["run", "--repo", repo], options, &["--", "sh", "-c", script]].concat()).await.exits(0).job()
    }

    /// The same, and waits for its end.
    pub async fn wait(&self, repo: &str, options: &[&str], script: &str) -> Said {
        self.says(&[&["run", "--repo", repo, "--wait"], options, &["--", "sh", "-c", script]].concat()).await
    }

    /// The job as `ckrv status -o json` shows it.
    pub async fn status(&self, job: JobId) -> Job {
        self.says(&["status", "-o", "json", &job.to_string()]).await.exits(0).json()
    }

    /// Waits for the end of a job that was handed in before; the job.
    pub async fn ended(&self, job: JobId) -> Job {
        self.says(&["status", "--watch", &job.to_string()]).await.exits(0);
        self.status(job).await
    }

    /// What `ckrv logs` prints.
    pub async fn logs(&self, job: JobId) -> Said {
        self.says(&["logs", &job.to_string()]).await.exits(0)
    }

    /// Waits until the job's log has this line. It fails when the log ends without it.
    pub async fn until_printed(&self, job: JobId, line: &str) {
        use tokio::io::{AsyncBufReadExt as _, BufReader};
        let mut following = self
            .ckrv_command(&["logs", "--follow", &job.to_string()])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the CLI runs");
        let mut lines = BufReader::new(following.stdout.take().expect("a pipe")).lines();
        let found = async {
            while let Some(next) = lines.next_line().await.expect("the CLI prints UTF-8") {
                if next == line {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(JOB, found).await.unwrap_or_else(|_| panic!("`{line}` does not come"));
        assert!(found, "the log of {job} ends without `{line}`");
        following.kill().await.expect("the CLI can be stopped");
    }

    /// Everything that the job left, stored or not.
    pub async fn manifest(&self, job: JobId) -> Vec<Artifact> {
        self.client().artifacts(job).await.expect("the manifest can be had").items
    }

    /// Pulls the job into a fresh clone of `repo`.
    pub async fn pull(&self, repo: &Repo, job: JobId) -> Pulled {
        let folder = tempfile::TempDir::with_prefix("ckrv-test-pull-").expect("a temporary folder");
        let checkout = repo.clone_to(folder.path());
        let said = self.says_in(&checkout, &["pull", &job.to_string()]).await.exits(0);
        Pulled { checkout, branch: format!("ckrv/{job}"), said, _folder: folder }
    }
}

/// A checkout with a job's branch in it.
pub struct Pulled {
    pub checkout: std::path::PathBuf,
    pub branch: String,
    pub said: Said,
    _folder: tempfile::TempDir,
}

impl Pulled {
    /// A file's content on the job's branch, without the last line's end.
    pub fn file(&self, path: &str) -> String {
        crate::repo::git(&self.checkout, &["show", &format!("{}:{path}", self.branch)])
    }

    /// Names of all files on the job's branch.
    pub fn files(&self) -> Vec<String> {
        let listed = crate::repo::git(&self.checkout, &["ls-tree", "-r", "--name-only", &self.branch]);
        listed.lines().map(ToOwned::to_owned).collect()
    }
}
