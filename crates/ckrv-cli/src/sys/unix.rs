//! Linux and macOS.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{self, SignalKind};

/// Makes a folder, and those above it, for the user alone.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file that only the user may read, to append to.
pub fn open_private_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The command's process will lead a process group of its own: signals from the terminal pass it by.
pub fn own_process_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0);
}

/// Asks process `pid` to end (SIGTERM).
pub fn terminate(pid: u32) -> io::Result<()> {
    signal(pid, Signal::SIGTERM as i32)
}

/// Sends signal `number` to process `pid`.
pub fn signal(pid: u32, number: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    kill(Pid::from_raw(pid), Signal::try_from(number)?)?;
    Ok(())
}

/// The name of the program that runs as process `pid`, if any does.
pub fn program_of(pid: u32) -> io::Result<Option<String>> {
    #[cfg(target_os = "linux")]
    let name = match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        name => name?,
    };
    #[cfg(not(target_os = "linux"))]
    let name = {
        let output = Command::new("ps").args(["-o", "comm=", "-p", &pid.to_string()]).output()?;
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let name = name.trim().rsplit('/').next().unwrap_or_default();
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

/// The signals that ask this process to end, while somebody listens for them here.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl StopSignals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }

    /// The number of the next one.
    pub async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.hang_up.recv() => SignalKind::hangup().as_raw_value(),
        }
    }
}
