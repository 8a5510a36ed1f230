//! Windows: the client commands. The embedded control plane is for Linux and macOS.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::Command;

/// Makes a folder and those above it. The user's data folder is the user's alone by its access list.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// Opens a file to append to.
pub fn open_private_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
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
