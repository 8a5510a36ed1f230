//! Brings a job's repository here, twice: a pristine bare repository that stays ours, and the agent's own clone of it.
//!
//! 1. The host's addresses are judged, the runner's credential for that host is laid out ([`super::credential`]).
//! 2. `git clone --bare --single-branch` fills the pristine repository: the branch's whole history and the tags on it.
//! 3. The agent's clone is a copy of that, complete and without any tie to it (no hard links, no alternates), with
//!    `origin` at the repository's URL and the branch checked out by name. No hooks, filters or submodules run or come.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ckrv_types::RepoUrl;
use ckrv_types::repo_url::RepoPolicy;
use ckrv_types::spec::check_ref_name;
use ckrv_types::worker::CommitAuthor;

use super::address::pin;
use super::call::CallError;
use super::credential::{Access, GitCredential};
use super::error::CloneError;
use super::program::GitProgram;

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Branches named in an error.
const SIMILAR: usize = 5;
const LIST_LIMIT: Duration = Duration::from_secs(30);

/// What to clone, and where to.
#[derive(Debug)]
pub struct CloneRequest {
    pub git: GitProgram,
    pub url: RepoUrl,
    /// Absent: the remote's default branch.
    pub branch: Option<String>,
    /// Under which `url` was read.
    pub policy: RepoPolicy,
    /// All that this job may use; the one for the URL's host is taken.
    pub credentials: Vec<GitCredential>,
    /// The pristine bare repository: does not exist yet, absolute, outside the agent's reach.
    pub git_dir: PathBuf,
    /// The agent's clone: does not exist yet, or is empty; absolute.
    pub work_tree: PathBuf,
    /// An existing folder (0700) for files that live as long as the call.
    pub private: PathBuf,
    /// `user.name` and `user.email` in the agent's clone.
    pub author: CommitAuthor,
    /// For all of it.
    pub limit: Duration,
}

/// A repository that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Ours: no agent ever wrote to it.
    pub git_dir: PathBuf,
    /// The agent's clone with a `.git` of its own; hostile once the agent has run.
    pub work_tree: PathBuf,
    /// The commit that the branch stands at, in hex.
    pub base: String,
    /// The branch's name, without `refs/heads/`.
    pub branch: String,
}

/// Clones. `progress` gets what git tells of it, a line at a time, about one per second. The host's text is in it:
/// untrusted, without secrets of ours.
pub async fn clone(request: &CloneRequest, progress: &mut (dyn FnMut(String) + Send)) -> Result<Checkout, CloneError> {
    if let Some(branch) = &request.branch {
        check_ref_name(branch).map_err(CloneError::BadBranchName)?;
    }
    let clone = Clone::prepare(request).await?;
    clone.fetch(progress).await?;
    let (branch, base) = clone.find_branch().await?;
    clone.copy_for_the_agent(&branch).await?;
    let CloneRequest { git_dir, work_tree, .. } = request;
    Ok(Checkout { git_dir: git_dir.clone(), work_tree: work_tree.clone(), base, branch })
}

struct Clone<'a> {
    request: &'a CloneRequest,
    credential: Option<&'a GitCredential>,
    access: Access,
    deadline: Instant,
}

impl<'a> Clone<'a> {
    async fn prepare(request: &'a CloneRequest) -> Result<Self, CloneError> {
        let deadline = Instant::now() + request.limit;
        let pin = pin(&request.url, &request.policy).await?;
        let credential = GitCredential::for_url(&request.credentials, &request.url);
        let access =
            Access::prepare(&request.url, pin.as_ref(), credential, &request.private).map_err(CloneError::folder)?;
        Ok(Self { request, credential, access, deadline })
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn failed(&self, error: CallError) -> CloneError {
        let host = self.request.url.host().unwrap_or("this machine");
        match CloneError::read(error, host, self.credential.map(|credential| credential.name.as_str())) {
            // The limit of the whole is what the user knows.
            CloneError::Timeout { .. } => CloneError::Timeout { limit: self.request.limit },
            other => other,
        }
    }

    async fn fetch(&self, progress: &mut (dyn FnMut(String) + Send)) -> Result<(), CloneError> {
        let call = self.request.git.call().args(["clone", "--bare", "--single-branch", "--template=", "--progress"]);
        let call = match &self.request.branch {
            Some(branch) => call.args(["--branch", branch]),
            None => call,
        };
        let call = call.args(["--", self.request.url.as_str()]).arg(&self.request.git_dir).limit(self.left());
        let mut throttle = Throttle::default();
        let mut said = |line: &str| {
            if throttle.lets_pass(line) {
                progress(line.to_owned());
            }
        };
        match self.access.grant(call).run_with(&mut said).await {
            Ok(_) => Ok(()),
            Err(CallError::Failed { stderr, .. }) if stderr.contains("Remote branch ") => {
                Err(self.missing_branch().await)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The branch that came, and its commit.
    async fn find_branch(&self) -> Result<(String, String), CloneError> {
        let call = || self.request.git.call().git_dir(&self.request.git_dir).limit(self.left());
        let head = call().args(["symbolic-ref", "--quiet", "HEAD"]).run().await;
        let head = match head {
            Ok(output) => output.line(),
            // A tag of that name: HEAD is detached.
            Err(CallError::Failed { .. }) => return Err(self.missing_branch().await),
            Err(error) => return Err(self.failed(error)),
        };
        let commit = call().args(["rev-parse", "--verify", "--quiet"]).arg(format!("{head}^{{commit}}")).run().await;
        match commit {
            Ok(output) => Ok((head.trim_start_matches("refs/heads/").to_owned(), output.line())),
            Err(CallError::Failed { .. }) => Err(self.missing_branch().await),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Asks the remote what there is instead.
    async fn missing_branch(&self) -> CloneError {
        let call = self.request.git.call().args(["ls-remote", "--heads", "--", self.request.url.as_str()]);
        let listed = self.access.grant(call.limit(self.left().min(LIST_LIMIT))).run().await;
        let output = match listed {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => return self.failed(error),
        };
        let names: Vec<&str> =
            output.lines().filter_map(|line| line.split_once("\trefs/heads/")).map(|(_, name)| name).collect();
        match &self.request.branch {
            _ if names.is_empty() => CloneError::Empty,
            Some(branch) => CloneError::UnknownBranch {
                branch: branch.clone(),
                similar: most_similar(branch, &names),
                total: names.len(),
            },
            None => CloneError::NoDefaultBranch { similar: most_similar("main", &names), total: names.len() },
        }
    }

    async fn copy_for_the_agent(&self, branch: &str) -> Result<(), CloneError> {
        let CloneRequest { git, git_dir, work_tree, author, url, .. } = self.request;
        git.call()
            .env("GIT_ALLOW_PROTOCOL", "file")
            // Our folder's name is nobody's business: no reflog entry "clone: from …".
            .config("core.logAllRefUpdates", "false")
            .args(["clone", "--no-hardlinks", "--template=", "--branch", branch])
            // These stay in the clone's own configuration.
            .args(["-c", &format!("user.name={}", author.name), "-c", &format!("user.email={}", author.email)])
            .arg("--")
            .arg(git_dir)
            .arg(work_tree)
            .limit(self.left())
            .run()
            .await
            .map_err(|error| self.failed(error))?;
        git.call()
            .git_dir(&work_tree.join(".git"))
            .args(["config", "remote.origin.url", url.as_str()])
            .limit(self.left())
            .run()
            .await
            .map_err(|error| self.failed(error))?;
        Ok(())
    }
}

/// Lets a percentage pass once per [`PROGRESS_EVERY`], and not before that, so that a small clone says only that it is
/// done; the remote's own book-keeping never; everything else always.
struct Throttle(Instant);

impl Default for Throttle {
    fn default() -> Self {
        Self(Instant::now())
    }
}

/// What git tells of the remote's preparations and of ours.
const BOOK_KEEPING: [&str; 5] = [
    // It names a folder of ours, and says nothing.
    "Cloning into",
    "remote: Enumerating objects",
    "remote: Counting objects",
    "remote: Compressing objects",
    "remote: Total ",
];

impl Throttle {
    fn lets_pass(&mut self, line: &str) -> bool {
        let is_step = line.contains('%') && !line.contains("done");
        if is_step && self.0.elapsed() >= PROGRESS_EVERY {
            self.0 = Instant::now();
            return true;
        }
        !(is_step || line.is_empty() || BOOK_KEEPING.iter().any(|known| line.starts_with(known)))
    }
}

/// The names nearest to `wanted`, by letters to change.
fn most_similar(wanted: &str, names: &[&str]) -> Vec<String> {
    let mut ranked: Vec<(usize, &str)> = names.iter().map(|name| (distance(wanted, name), *name)).collect();
    ranked.sort_unstable();
    ranked.into_iter().take(SIMILAR).map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein's distance, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_branches_are_named_first() {
        let names = ["develop", "release/1", "main", "maintenance", "x", "y", "z"];
        assert_eq!(most_similar("mian", &names)[0], "main");
        assert_eq!(most_similar("mian", &names).len(), SIMILAR);
        assert_eq!(most_similar("developp", &names)[0], "develop");
    }

    #[test]
    fn percentages_are_thinned_and_results_are_not() {
        let mut throttle = Throttle::default();
        assert!(!throttle.lets_pass("Receiving objects:  1% (1/100)"), "a small clone is done before it matters");
        throttle.0 -= PROGRESS_EVERY;
        assert!(throttle.lets_pass("Receiving objects:  1% (1/100)"));
        assert!(!throttle.lets_pass("Receiving objects:  2% (2/100)"));
        assert!(!throttle.lets_pass("remote: Total 4 (delta 0), reused 0 (delta 0)"));
        assert!(throttle.lets_pass("Receiving objects: 100% (100/100), done."));
        assert!(!throttle.lets_pass("Cloning into bare repository '/private/x'..."));
    }
}
