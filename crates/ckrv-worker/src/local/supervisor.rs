//! A supervisor's process: started by this runner, or found alive by it.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ckrv_types::AttemptId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::home::WorkFolder;
use crate::config::LocalConfig;
use crate::supervise::environment::ATTEMPT_VARIABLE;

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A supervisor that lives, or did a moment ago.
#[derive(Debug)]
pub struct Supervisor {
    pid: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Child(Child),
    /// Started by an earlier process of this runner.
    Adopted(WorkFolder),
}

/// How a supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It ended with zero, which it does only after the control plane has acknowledged the attempt's end.
    Acknowledged,
    Code(i32),
    Signal(i32),
    /// Nobody here could be told.
    Unknown,
}

impl Supervisor {
    /// Starts one. It lives on when this process ends.
    pub fn launch(config: &LocalConfig, exe: &Path, attempt: AttemptId, folder: &WorkFolder) -> io::Result<Self> {
        let mut command = Command::new(exe);
        command.arg("supervise").args(["--server", config.server.as_str()]);
        command.arg("--token-file").arg(folder.token());
        command.arg("--work").arg(folder.path());
        command.arg("--alive").arg(folder.alive());
        if let Some(node) = &config.node {
            command.args(["--node", node]);
        }
        command.args(config.settings.to_args()).env(ATTEMPT_VARIABLE, attempt.to_string());
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        Ok(Self { pid, kind: Kind::Child(child) })
    }

    /// The one that lives in `folder`, if any.
    pub fn adopt(folder: &WorkFolder) -> Option<Self> {
        Some(Self { pid: folder.supervisor()?, kind: Kind::Adopted(folder.clone()) })
    }

    /// Its process id, also the session of what it started.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends with it. Cancel-safe.
    pub async fn ended(&mut self) -> Ending {
        match &mut self.kind {
            Kind::Child(child) => child.wait().await.map_or(Ending::Unknown, Ending::of),
            Kind::Adopted(folder) => {
                while folder.supervisor().is_some() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Ending::recorded(folder)
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        let lives = match &self.kind {
            // Not waited for yet: its number is its own.
            Kind::Child(child) => child.id().is_some(),
            Kind::Adopted(folder) => folder.supervisor() == Some(self.pid),
        };
        if let (true, Ok(pid)) = (lives, i32::try_from(self.pid)) {
            // It may have ended in this moment.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Ending {
    /// Of a dead supervisor that nobody here waited for.
    pub fn recorded(folder: &WorkFolder) -> Self {
        if folder.is_acknowledged() { Self::Acknowledged } else { Self::Unknown }
    }

    fn of(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        match (status.code(), status.signal()) {
            (Some(0), _) => Self::Acknowledged,
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            (None, None) => Self::Unknown,
        }
    }
}
