//! The attempt's folder: what the agent may write to, and what it must not see.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Paths below the attempt's folder.
#[derive(Debug)]
pub struct Folder {
    agent: PathBuf,
    private: PathBuf,
    /// Its agent has a container, which brings HOME and TMPDIR.
    is_pod: bool,
}

impl Folder {
    /// Makes the folders that do not exist, for this user alone.
    pub fn create(work: &Path) -> io::Result<Self> {
        let builder = private_builder();
        builder.create(work)?;
        // git and the agent get absolute paths without links.
        let work = fs::canonicalize(work)?;
        let folder = Self { agent: work.join("agent"), private: work.join("private"), is_pod: false };
        for path in [folder.home(), folder.tmp()] {
            builder.create(path)?;
        }
        folder.with_private()
    }

    /// In a pod: `work` is there already, for the agent's user too; `private` is not for it to see.
    pub fn of_pod(work: &Path, private: &Path) -> io::Result<Self> {
        private_builder().create(private)?;
        let folder = Self { agent: fs::canonicalize(work)?, private: fs::canonicalize(private)?, is_pod: true };
        folder.with_private()
    }

    fn with_private(self) -> io::Result<Self> {
        for path in [self.shim(), self.results(), self.git()] {
            private_builder().create(path)?;
        }
        Ok(self)
    }

    /// All that the agent may write to, as far as it is seen here, and what its disk quota counts.
    pub fn agent(&self) -> &Path {
        &self.agent
    }

    /// Where the agent's clone is made. In a pod it is this user's still.
    pub fn fresh_clone(&self) -> PathBuf {
        if self.is_pod { self.agent.join("clone") } else { self.work_tree() }
    }

    /// Where the agent works.
    pub fn work_tree(&self) -> PathBuf {
        self.agent.join("repo")
    }

    /// The agent's HOME and TMPDIR, unless its container has its own.
    pub fn places(&self) -> Option<(PathBuf, PathBuf)> {
        (!self.is_pod).then(|| (self.home(), self.tmp()))
    }

    fn home(&self) -> PathBuf {
        self.agent.join("home")
    }

    fn tmp(&self) -> PathBuf {
        self.agent.join("tmp")
    }

    /// Ours alone: the spool has its nameless file here.
    pub fn private(&self) -> &Path {
        &self.private
    }

    /// The pristine repository.
    pub fn git_dir(&self) -> PathBuf {
        self.private.join("repo.git")
    }

    /// For git's files of a call: its logins. In a pod a volume of its own, in memory.
    pub fn git(&self) -> PathBuf {
        self.private.join("git")
    }

    /// Bundles from the shim.
    pub fn shim(&self) -> PathBuf {
        self.private.join("shim")
    }

    /// What was collected.
    pub fn results(&self) -> PathBuf {
        self.private.join("results")
    }
}

fn private_builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}
