//! Bundles of the agent's commits, made with the agent's rights out of the agent's own repository: a help to the honest,
//! worth nothing as evidence. It streams; nothing is put on the agent's disk.

use std::fs::File;
use std::io;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::git::{CallError, GitProgram};

use super::frame::{Kind, RAW_BYTES, encode, encode_control};
use super::message::{BundlePlan, FromShim, RunAgent};

const MESSAGE_CHARS: usize = 500;

/// Makes one bundle after another, and none twice.
#[derive(Debug, Clone)]
pub(super) struct Bundler {
    plan: BundlePlan,
    git: GitProgram,
    /// HEAD of the last bundle that was sent.
    sent: Option<String>,
    /// The agent's side has no git.
    missing: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Git(#[from] CallError),
    #[error("the bundle is larger than {0} bytes")]
    TooLarge(u64),
    #[error("the bundle's pipe broke")]
    Pipe(#[from] io::Error),
    #[error("nobody listens")]
    Closed,
}

impl Bundler {
    pub fn new(run: &RunAgent) -> Option<Self> {
        let search_path = run.env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
        Some(Self { plan: run.bundles.clone()?, git: GitProgram::new(search_path), sent: None, missing: false })
    }

    pub fn plan(&self) -> &BundlePlan {
        &self.plan
    }

    /// Makes a bundle if there are new commits, sends it and how it went. Gives itself back, to know what was sent.
    pub async fn make(mut self, frames: mpsc::Sender<Bytes>) -> Self {
        if self.missing {
            return self;
        }
        let message = match tokio::time::timeout(self.plan.limit, self.bundle(&frames)).await {
            Ok(Ok(None)) => return self,
            Ok(Ok(Some(size))) => FromShim::BundleDone { size },
            Ok(Err(failure)) => {
                self.missing = matches!(failure, Failure::Git(CallError::Missing));
                FromShim::BundleFailed { message: failure.to_string().chars().take(MESSAGE_CHARS).collect() }
            }
            Err(_) => {
                let message = format!("the bundle was not made within {} s", self.plan.limit.as_secs());
                FromShim::BundleFailed { message }
            }
        };
        if let Ok(frame) = encode_control(&message) {
            // If nobody listens any more, nobody misses it.
            let _ = frames.send(frame).await;
        }
        self
    }

    async fn bundle(&mut self, frames: &mpsc::Sender<Bytes>) -> Result<Option<u64>, Failure> {
        let git_dir = self.plan.work_tree.join(".git");
        let call = || self.git.call().git_dir(&git_dir).limit(self.plan.limit);
        let head = call().args(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).run().await?.line();
        if head == self.plan.base || self.sent.as_deref() == Some(&head) {
            return Ok(None);
        }
        let branch = call().args(["symbolic-ref", "--quiet", "HEAD"]).run().await.ok().map(|output| output.line());
        frames.send(encode_control(&FromShim::BundleBegun)?).await.map_err(|_| Failure::Closed)?;
        let (sender, receiver) = pipe::pipe()?;
        let bundle = call()
            .args(["bundle", "create", "--quiet", "-", "HEAD"])
            .args(branch)
            .arg(format!("^{}", self.plan.base))
            .output_file(File::from(sender.into_blocking_fd()?));
        let run = async { bundle.run().await.map_err(Failure::from) };
        let (size, _) = tokio::try_join!(send(receiver, frames, self.plan.max_bytes), run)?;
        self.sent = Some(head);
        Ok(Some(size))
    }
}

async fn send(mut pipe: pipe::Receiver, frames: &mpsc::Sender<Bytes>, limit: u64) -> Result<u64, Failure> {
    let mut buffer = vec![0; RAW_BYTES];
    let mut size = 0;
    loop {
        let count = pipe.read(&mut buffer).await?;
        if count == 0 {
            return Ok(size);
        }
        size += count as u64;
        if size > limit {
            return Err(Failure::TooLarge(limit));
        }
        frames.send(encode(Kind::Bundle, &buffer[..count])).await.map_err(|_| Failure::Closed)?;
    }
}
