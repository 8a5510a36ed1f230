//! The agent's process: its start, its two pipes, its signals.

use std::io::{self, Seek, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::frame::{Kind, RAW_BYTES, encode};
use super::message::RunAgent;

/// After the agent's end and that of its tree, a pipe may still be held open by a process that is not to be found: it is
/// given up after this silence, or after as much as a pipe can hold (pipe(7)).
const DRAIN_SILENCE: Duration = Duration::from_secs(1);
const DRAIN_BYTES: usize = 1024 * 1024;

/// A running agent.
pub(super) struct Agent {
    pub child: Child,
    pub pid: u32,
    pumps: JoinSet<()>,
    ended: watch::Sender<bool>,
}

/// Why it does not run.
pub(super) struct NotStarted {
    /// There is no such program.
    pub missing: bool,
    pub message: String,
}

impl Agent {
    /// Starts it in a process group of its own and begins to send its output into `frames`.
    pub fn start(run: &RunAgent, frames: &mpsc::Sender<Bytes>) -> Result<Self, NotStarted> {
        let (program, arguments) = run
            .argv
            .split_first()
            .ok_or_else(|| NotStarted { missing: true, message: "no program was named".to_owned() })?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&run.env).current_dir(&run.cwd).process_group(0);
        let stdin = input(run.stdin.as_deref()).map_err(|error| NotStarted {
            missing: false,
            message: format!("its input could not be laid out: {error}"),
        })?;
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| not_started(program, &run.cwd, &error))?;
        let pid = child.id().unwrap_or_default();
        let (ended, watch) = watch::channel(false);
        let mut pumps = JoinSet::new();
        if let Some(pipe) = child.stdout.take() {
            pumps.spawn(pump(Kind::Stdout, pipe, frames.clone(), watch.clone()));
        }
        if let Some(pipe) = child.stderr.take() {
            pumps.spawn(pump(Kind::Stderr, pipe, frames.clone(), watch));
        }
        Ok(Self { child, pid, pumps, ended })
    }

    /// To the agent's whole group.
    pub fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.pid) {
            // The group may be gone.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }

    /// After its end: waits until the rest of its output is sent.
    pub async fn drain(mut self) {
        // Without pumps there is nobody to tell.
        let _ = self.ended.send(true);
        while self.pumps.join_next().await.is_some() {}
    }
}

/// A file without a name: unlike a pipe it needs nobody to write it, and may be left unread.
fn input(text: Option<&str>) -> io::Result<Stdio> {
    let Some(text) = text else { return Ok(Stdio::null()) };
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

fn not_started(program: &str, cwd: &Path, error: &io::Error) -> NotStarted {
    let missing = error.kind() == io::ErrorKind::NotFound && cwd.is_dir();
    let message = match error.kind() {
        io::ErrorKind::NotFound if missing => format!("`{program}` was not found"),
        io::ErrorKind::NotFound => format!("the folder {} does not exist", cwd.display()),
        io::ErrorKind::PermissionDenied => format!("`{program}` may not be executed"),
        io::ErrorKind::ArgumentListTooLong => "the command and its environment are too long for this system".to_owned(),
        _ => format!("`{program}` could not be run: {error}"),
    };
    NotStarted { missing, message }
}

/// Moves bytes from a pipe into frames, no faster than they are taken.
async fn pump(
    kind: Kind,
    mut pipe: impl AsyncRead + Unpin,
    frames: mpsc::Sender<Bytes>,
    mut ended: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; RAW_BYTES];
    let mut drained = 0;
    while drained <= DRAIN_BYTES {
        let count = tokio::select! {
            biased;
            count = pipe.read(&mut buffer) => count.unwrap_or_default(),
            () = silence(&mut ended) => 0,
        };
        // A closed channel: nobody listens any more.
        if count == 0 || frames.send(encode(kind, &buffer[..count])).await.is_err() {
            return;
        }
        if *ended.borrow() {
            drained += count;
        }
    }
}

/// Only while the pipe could be read and was not ready does this clock run.
async fn silence(ended: &mut watch::Receiver<bool>) {
    // The sender lives until the drain is over.
    let _ = ended.wait_for(|ended| *ended).await;
    tokio::time::sleep(DRAIN_SILENCE).await;
}
