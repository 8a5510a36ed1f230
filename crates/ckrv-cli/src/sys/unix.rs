//! Linux and macOS.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{self, SignalKind};

/// Makes a folder, and those above it, for the user alone.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a file that only the user may read, to append to.
pub fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Any right of anybody but a file's user.
const OTHERS: u32 = 0o077;

/// Whether a file is for its user alone.
pub fn is_private(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & OTHERS == 0
}

/// Has the names in a folder survive a power cut.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether a browser that the user sees can be opened from here: not over SSH, and on Linux not without a display.
pub fn can_browse() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let remote = is_set("SSH_CONNECTION") || is_set("SSH_TTY");
    !remote && (cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"))
}

/// Hands an address to the user's browser, and does not wait for it.
pub fn open_in_browser(url: &str) -> io::Result<()> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    own_process_group(&mut command);
    command.spawn().map(drop)
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
