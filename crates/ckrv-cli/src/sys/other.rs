//! Windows: the client commands. The embedded control plane is for Linux and macOS.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a folder and those above it. The user's data folder is the user's alone by its access list.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// Opens a file to append to.
pub fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The user's data folder is the user's alone by its access list, and where else a file is, is for its user to know.
pub fn is_private(_metadata: &Metadata) -> bool {
    true
}

/// NTFS keeps names by its own log.
pub fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

pub fn can_browse() -> bool {
    std::env::var_os("SSH_CONNECTION").is_none()
}

/// Hands an address to the user's browser, past any shell, and does not wait for it.
pub fn open_in_browser(url: &str) -> io::Result<()> {
    let mut command = Command::new("rundll32");
    command.arg("url.dll,FileProtocolHandler").arg(url);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop)
}

pub fn own_process_group(_command: &mut Command) {}

pub fn terminate(_pid: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn signal(_pid: u32, _number: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub fn program_of(_pid: u32) -> io::Result<Option<String>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Ctrl-C alone.
#[derive(Debug)]
pub struct StopSignals(());

impl StopSignals {
    pub fn listen() -> io::Result<Self> {
        Ok(Self(()))
    }

    pub async fn next(&mut self) -> i32 {
        // An error means that there will never be one.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        2
    }
}
