//! Real git repositories for jobs to work on.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A repository with one branch `main`; removed when dropped.
pub struct Repo {
    folder: TempDir,
}

impl Default for Repo {
    fn default() -> Self {
        Self::new()
    }
}

impl Repo {
    /// One commit with a README.
    pub fn new() -> Self {
        let repo = Self { folder: TempDir::with_prefix("ckrv-test-repo-").expect("a temporary folder") };
        git(repo.path(), &["init", "--quiet", "--initial-branch", "main"]);
        repo.commit(&[("README.md", "# A repository\n")], "First commit");
        repo
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The path as `--repo` takes it.
    pub fn url(&self) -> String {
        self.path().display().to_string()
    }

    /// Writes the files and commits them; the commit's id.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (name, content) in files {
            let path = self.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder can be made");
            std::fs::write(path, content).expect("the file can be written");
        }
        git(self.path(), &["add", "--all"]);
        git(self.path(), &["commit", "--quiet", "--message", message]);
        self.head()
    }

    /// The head of the branch that is checked out.
    pub fn head(&self) -> String {
        git(self.path(), &["rev-parse", "HEAD"])
    }

    /// A clone of it, as a developer has one.
    pub fn clone_to(&self, folder: &Path) -> PathBuf {
        let checkout = folder.join("checkout");
        git(folder, &["clone", "--quiet", &self.url(), "checkout"]);
        checkout
    }
}

/// Runs git as nobody in particular, in `folder`; its standard output without the last line's end.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=A Developer", "-c", "user.email=developer@example.com"])
        .args(arguments)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
