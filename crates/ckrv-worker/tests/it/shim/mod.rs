//! The shim as a real process, from both ends of its socket.

mod agent;
mod bundles;
mod processes;
mod protocol;
mod stop;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ckrv_types::log::Stream;
use ckrv_worker::collect::{CollectRequest, collect};
use ckrv_worker::shim::{BundlePlan, Door, Exit, LaunchLocal, RunAgent, Session, SessionError, ShimEvent};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::repository::{Attempt, PATH, write};
use crate::wait::{LIMIT, wait_for};
use processes::{alive, marker, parent_of, processes};

const WORKER: &str = env!("CARGO_BIN_EXE_ckrv-worker");

/// A shim with an agent to be run in a folder of its own.
struct Bench {
    folder: TempDir,
    session: Session,
    run: RunAgent,
}

/// What was heard until the end.
#[derive(Default)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Option<Exit>,
    bundles: usize,
    failures: Vec<String>,
    not_started: Option<(bool, String)>,
    lost: Option<String>,
}

impl Heard {
    fn take(&mut self, event: ShimEvent) {
        match event {
            ShimEvent::Started { .. } | ShimEvent::Told => (),
            ShimEvent::Output { stream: Stream::Stdout, bytes } => self.stdout.extend(bytes),
            ShimEvent::Output { bytes, .. } => self.stderr.extend(bytes),
            ShimEvent::NotStarted { missing, message } => self.not_started = Some((missing, message)),
            ShimEvent::Exited(exit) => self.exit = Some(exit),
            ShimEvent::Bundled { .. } => self.bundles += 1,
            ShimEvent::BundleFailed { message } => self.failures.push(message),
            ShimEvent::Lost { message } => self.lost = Some(message),
        }
    }

    /// All that is to come of a session.
    async fn all_of(session: &mut Session) -> Self {
        let mut heard = Self::default();
        while let Some(event) = tokio::time::timeout(LIMIT, session.next_event()).await.expect("an event in time") {
            heard.take(event);
        }
        heard
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn code(&self) -> i32 {
        self.exit.unwrap_or_else(|| panic!("no exit: {:?}", self.lost)).code
    }
}

impl Bench {
    async fn new(argv: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let launch = LaunchLocal { exe: WORKER.into(), folder: folder.path().to_owned() };
        let session = Session::launch_local(&launch).await.unwrap();
        let mut run = order(argv);
        run.env.insert("PATH".to_owned(), PATH.to_owned());
        folder.path().clone_into(&mut run.cwd);
        Self { folder, session, run }
    }

    async fn shell(script: &str) -> Self {
        Self::new(&["sh", "-c", script]).await
    }

    async fn start(&mut self) -> u32 {
        self.session.run(&self.run).await.unwrap();
        match self.next().await {
            Some(ShimEvent::Started { pid }) => pid,
            other => panic!("not started: {other:?}"),
        }
    }

    async fn next(&mut self) -> Option<ShimEvent> {
        tokio::time::timeout(LIMIT, self.session.next_event()).await.expect("an event in time")
    }

    /// Until the agent has said this on stdout.
    async fn hear(&mut self, part: &str, heard: &mut Heard) {
        while !heard.text().contains(part) {
            let event = self.next().await.unwrap_or_else(|| panic!("the end, without {part}"));
            heard.take(event);
        }
    }

    async fn rest(mut self, mut heard: Heard) -> (Heard, Vec<PathBuf>, TempDir) {
        while let Some(event) = self.next().await {
            heard.take(event);
        }
        (heard, self.session.finish().await, self.folder)
    }

    async fn run_to_end(mut self) -> Heard {
        self.session.run(&self.run).await.unwrap();
        self.rest(Heard::default()).await.0
    }
}

/// An agent without environment.
fn order(argv: &[&str]) -> RunAgent {
    RunAgent {
        argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: "/".into(),
        stdin: None,
        grace: LIMIT,
        bundles: None,
    }
}
