//! What `ckrv pull` did, for people and programs.

use std::path::PathBuf;

use comfy_table::Cell;
use serde::Serialize;

use ckrv_types::JobId;

use crate::commands::ending::change;
use crate::format::{Show, View, short};

#[derive(Debug, Serialize)]
pub struct Pulled {
    pub job: JobId,
    /// Absent if the job changed nothing, or this is no checkout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<PulledBranch>,
    /// The changes were put onto the work tree.
    pub applied: bool,
    /// Where the files are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Their names below it.
    pub files: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PulledBranch {
    pub name: String,
    /// The commit that the job began with.
    pub base: String,
    pub head: String,
    pub commits: u64,
    pub files_changed: u64,
    pub insertions: u64,
    pub deletions: u64,
    /// False: it was there already.
    pub updated: bool,
}

impl Pulled {
    pub fn new(job: JobId) -> Self {
        Self { job, branch: None, applied: false, folder: None, files: Vec::new() }
    }
}

impl PulledBranch {
    /// A range for `git diff` and `git log`.
    pub fn range(&self) -> String {
        format!("{}..{}", self.base.get(..12).unwrap_or(&self.base), self.name)
    }
}

impl Show for Pulled {
    fn table(&self, view: View) -> String {
        let branch = self.branch.as_ref();
        let known = |branch: &PulledBranch| if branch.updated { "" } else { " (was here already)" };
        view.fields([
            ("branch", branch.map(|branch| Cell::new(format!("{}{}", branch.name, known(branch))))),
            ("commits", branch.map(|branch| Cell::new(branch.commits))),
            ("changed", branch.map(|b| Cell::new(change(b.files_changed, b.insertions, b.deletions)))),
            ("applied", self.applied.then(|| Cell::new("to the work tree and index"))),
            ("look", branch.map(|branch| Cell::new(format!("git diff {}", branch.range())))),
            ("folder", self.folder.as_ref().map(|folder| Cell::new(folder.display()))),
            ("files", (!self.files.is_empty()).then(|| short(&self.files.join(" "), 1000))),
        ])
    }

    fn names(&self) -> Vec<String> {
        self.branch.iter().map(|branch| branch.name.clone()).chain(self.files.clone()).collect()
    }
}
