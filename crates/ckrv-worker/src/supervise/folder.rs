//! The attempt's folder: what the agent may write to, and what it must not see.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Paths below the attempt's folder.
#[derive(Debug, Clone)]
pub struct Folder {
    agent: PathBuf,
    private: PathBuf,
}

impl Folder {
    /// Makes the folders that do not exist, for this user alone.
    pub fn create(work: &Path) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(work)?;
        // git and the agent get absolute paths without links.
        let work = fs::canonicalize(work)?;
        let folder = Self { agent: work.join("agent"), private: work.join("private") };
        for path in [folder.home(), folder.tmp(), folder.shim(), folder.results(), folder.private.join("git")] {
            builder.create(path)?;
        }
        Ok(folder)
    }

    /// All that the agent may write to, and what its disk quota counts.
    pub fn agent(&self) -> &Path {
        &self.agent
    }

    /// The agent's clone.
    pub fn work_tree(&self) -> PathBuf {
        self.agent.join("repo")
    }

    /// The agent's HOME.
    pub fn home(&self) -> PathBuf {
        self.agent.join("home")
    }

    /// The agent's TMPDIR.
    pub fn tmp(&self) -> PathBuf {
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

    /// For git's files of a call.
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
