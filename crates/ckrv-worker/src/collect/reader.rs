//! Reads the files of the tree's commit, within limits of size and time.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::Job;
use super::hostile::{HostileTree, Stamp};

pub(super) struct Reader {
    tree: Arc<HostileTree>,
    file_bytes: u64,
    bytes_left: u64,
    deadline: Instant,
}

impl Reader {
    pub fn new(job: &Job<'_>, tree: Arc<HostileTree>) -> Self {
        let limits = &job.request.limits;
        Self { tree, file_bytes: limits.file_bytes, bytes_left: limits.tree_bytes, deadline: job.deadline }
    }

    /// A regular file that is not too large by now. It may grow while it is read.
    pub fn file(&self, path: &Path) -> io::Result<(File, Stamp)> {
        self.check_time()?;
        let (file, stamp) = self.tree.file(path)?;
        if stamp.size > self.limit() {
            return Err(io::Error::other(format!("it has {} bytes, which is too large", stamp.size)));
        }
        Ok((file, stamp))
    }

    /// Where a symbolic link points.
    pub fn link(&self, path: &Path) -> io::Result<OsString> {
        self.check_time()?;
        self.tree.link(path)
    }

    /// Bytes that the next file may have.
    pub fn limit(&self) -> u64 {
        self.file_bytes.min(self.bytes_left)
    }

    /// Counts them against what may be read of all files together.
    pub fn has_read(&mut self, bytes: u64) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }

    fn check_time(&self) -> io::Result<()> {
        if Instant::now() >= self.deadline { Err(io::Error::other("there was no time left")) } else { Ok(()) }
    }
}
