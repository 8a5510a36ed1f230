//! What orchestrator and shim say to each other in control frames (JSON); output and bundles travel as raw frames.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Version of the frames and messages; both ends must have the same.
pub(super) const PROTOCOL: u32 = 2;

/// What to run as the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAgent {
    /// Program and arguments, run without a shell. A program without `/` is looked up in `env`'s `PATH`.
    pub argv: Vec<String>,
    /// The agent's environment, over that of its container where it has one; else all of it.
    pub env: BTreeMap<String, String>,
    /// Absolute; the work tree.
    pub cwd: PathBuf,
    /// What it finds on its standard input; absent: nothing.
    pub stdin: Option<String>,
    /// Between SIGTERM and SIGKILL when the shim itself is told to end or loses the orchestrator.
    pub grace: Duration,
    /// Absent: no bundles are made.
    pub bundles: Option<BundlePlan>,
}

/// When and of what the shim makes bundles. Besides by this clock it makes one when stopped, and one after the agent's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundlePlan {
    /// Absolute; the agent's clone.
    pub work_tree: PathBuf,
    /// The commit that the clone stood at, as hex: bundles hold what descends from it.
    pub base: String,
    /// 3 minutes in production.
    pub every: Duration,
    /// A larger one is given up.
    pub max_bytes: u64,
    /// How long `git bundle create` may take.
    pub limit: Duration,
}

/// How the agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, or 128 + the signal that ended it (as shells say it).
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// The kernel killed it (or a process of its tree) for lack of memory.
    pub oom_killed: bool,
}

/// From the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromShim {
    /// First of all.
    Hello {
        protocol: u32,
        /// ckrv's version, for people.
        version: String,
    },
    /// Answer to `TakeOver`; `error`: why it could not.
    TakenOver {
        error: Option<String>,
    },
    Started {
        pid: u32,
    },
    /// The shim itself was told to end, and stops the agent: its container is being taken away.
    Told,
    NotStarted {
        missing: bool,
        message: String,
    },
    /// After all of the agent's output.
    Exited(Exit),
    /// Bundle frames follow; what came of an earlier, unfinished one is to be forgotten.
    BundleBegun,
    /// The bundle frames since `BundleBegun` are a whole bundle of this size.
    BundleDone {
        size: u64,
    },
    BundleFailed {
        message: String,
    },
    /// Last of all: the agent's tree is dead and nothing follows.
    Done,
}

/// From the orchestrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToShim {
    /// Answer to `Hello` when the versions differ; the connection is closed after it.
    Refused {
        message: String,
    },
    /// Before `Run`, in a pod: make the clone at `from` the agent's own at `to`, which its orchestrator will want to read.
    TakeOver {
        from: PathBuf,
        to: PathBuf,
    },
    Run(RunAgent),
    Stop {
        grace: Duration,
    },
    Bundle,
}
