//! `ckrv logs --follow` in a process of its own, as a user has it open while things happen.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use ckrv_types::JobId;
use tokio::process::Child;

use crate::cli::Said;
use crate::stack::{JOB, Stack};
use crate::wait::wait_for;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A running one. It ends when dropped.
pub struct Follower {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Stack {
    pub fn follow(&self, job: JobId) -> Follower {
        self.follow_through(&self.server_url(), job)
    }

    /// By another way to the server.
    pub fn follow_through(&self, server: &str, job: JobId) -> Follower {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = |kind| self.home.path().join(format!("follower-{number}.{kind}"));
        let (out, err) = (path("out"), path("err"));
        let file = |path| File::create(path).expect("the file can be made");
        let child = self
            .ckrv_command(&["logs", "--follow", &job.to_string()])
            .env("CKRV_SERVER", server)
            .stdin(Stdio::null())
            .stdout(file(&out))
            .stderr(file(&err))
            .spawn()
            .expect("the CLI runs");
        Follower { child, out, err }
    }
}

impl Follower {
    /// What it has printed so far.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.out).expect("the CLI prints UTF-8")
    }

    /// Waits until it has printed this line.
    pub async fn until(&self, line: &str) {
        let has_line = async || self.printed().lines().any(|printed| printed == line).then_some(());
        wait_for(&format!("the follower prints `{line}`"), JOB, has_line).await;
    }

    /// Waits for its end; all that it said.
    pub async fn ended(mut self) -> Said {
        let Ok(status) = tokio::time::timeout(JOB, self.child.wait()).await else {
            panic!("the follower has not ended; it printed\n{}", self.printed());
        };
        let read = |path| std::fs::read(path).expect("the file can be read");
        let status = status.expect("it is our child");
        let output = std::process::Output { status, stdout: read(&self.out), stderr: read(&self.err) };
        Said::new(&["logs", "--follow"], output)
    }
}
