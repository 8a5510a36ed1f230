//! Repositories made on the spot, with plain git as anybody would run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ckrv_types::repo_url::RepoPolicy;
use ckrv_types::worker::CommitAuthor;
use ckrv_types::{JobId, RepoUrl};
use ckrv_worker::collect::{Baseline, CollectLimits, CollectRequest, Collected, CollectedArtifact, Content, collect};
use ckrv_worker::git::{Checkout, CloneRequest, GitProgram, clone};
use tempfile::TempDir;

pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// git with nothing but the repository's own configuration.
pub fn git_output(folder: &Path, args: &[&str]) -> Output {
    Command::new("git")
        .args(args)
        .current_dir(folder)
        .env_clear()
        .envs([("PATH", PATH), ("HOME", "/nonexistent"), ("LC_ALL", "C"), ("GIT_CONFIG_NOSYSTEM", "1")])
        .envs(["AUTHOR", "COMMITTER"].map(|role| (format!("GIT_{role}_NAME"), "Ada")))
        .envs(["AUTHOR", "COMMITTER"].map(|role| (format!("GIT_{role}_EMAIL"), "ada@example.com")))
        .output()
        .expect("git runs")
}

/// Its answer; a failure is the test's.
pub fn git(folder: &Path, args: &[&str]) -> String {
    let output = git_output(folder, args);
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned()
}

pub fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a name below a folder")).expect("the folder can be made");
    std::fs::write(path, text).expect("the file can be written");
}

pub fn author() -> CommitAuthor {
    CommitAuthor { name: "ckrv job".into(), email: "ckrv@example.com".into() }
}

/// A repository on a disk, and one attempt's folders beside it.
pub struct Attempt {
    pub folder: TempDir,
    pub job: JobId,
}

impl Attempt {
    /// An upstream with a commit of `README`, `src/main.txt` and a `.gitignore` of `target/` and `*.log` on `main`.
    pub fn new() -> Self {
        let attempt = Self { folder: TempDir::new().expect("a folder"), job: JobId::new() };
        let upstream = attempt.upstream();
        std::fs::create_dir(&upstream).expect("the folder can be made");
        git(&upstream, &["init", "--quiet", "--initial-branch=main"]);
        write(&upstream, "README", "hello\n");
        write(&upstream, "src/main.txt", "one\ntwo\nthree\n");
        write(&upstream, ".gitignore", "target/\n*.log\n");
        attempt.commit("first");
        std::fs::create_dir(attempt.path("private")).expect("the folder can be made");
        attempt
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn upstream(&self) -> PathBuf {
        self.path("upstream")
    }

    /// The agent's clone.
    pub fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    /// Commits everything in the upstream.
    pub fn commit(&self, message: &str) -> String {
        git(&self.upstream(), &["add", "-A"]);
        git(&self.upstream(), &["commit", "--quiet", "--allow-empty", "-m", message]);
        git(&self.upstream(), &["rev-parse", "HEAD"])
    }

    pub fn request(&self) -> CloneRequest {
        let policy = RepoPolicy::embedded();
        let upstream = self.upstream();
        CloneRequest {
            git: GitProgram::new(PATH),
            url: RepoUrl::parse(upstream.to_str().expect("UTF-8"), &policy).expect("a local URL"),
            branch: Some("main".into()),
            policy,
            credentials: Vec::new(),
            git_dir: self.path("pristine.git"),
            work_tree: self.tree(),
            private: self.path("private"),
            author: CommitAuthor { name: "Agent".into(), email: "agent@example.com".into() },
            limit: Duration::from_mins(1),
        }
    }

    pub async fn clone(&self) -> (Checkout, Baseline) {
        let checkout = clone(&self.request(), &mut |_| ()).await.expect("the clone works");
        let baseline = Baseline::take(&checkout.work_tree).await;
        (checkout, baseline)
    }

    pub fn collect_request(&self, checkout: &Checkout, baseline: &Baseline) -> CollectRequest {
        let output = self.path("output");
        std::fs::create_dir(&output).expect("the folder can be made");
        CollectRequest {
            git: GitProgram::new(PATH),
            checkout: checkout.clone(),
            baseline: baseline.clone(),
            bundles: Vec::new(),
            job: self.job,
            author: author(),
            globs: Vec::new(),
            output,
            limits: CollectLimits { stage: Duration::from_mins(1), ..CollectLimits::default() },
        }
    }

    pub async fn collect(&self, checkout: &Checkout, baseline: &Baseline) -> Collected {
        collect(&self.collect_request(checkout, baseline)).await
    }

    /// Fetches the result bundle into a fresh clone of the upstream, as a user would, and answers that clone.
    pub fn pull(&self, collected: &Collected) -> PathBuf {
        let clone = self.path("pulled");
        git(self.folder.path(), &["clone", "--quiet", "upstream", "pulled"]);
        let bundle = stored(artifact(collected, "result.bundle"));
        let branch = &collected.summary.branch;
        git(&clone, &["fetch", "--quiet", bundle.to_str().expect("UTF-8"), &format!("{branch}:{branch}")]);
        assert_eq!(git(&clone, &["rev-parse", branch]), collected.summary.head_commit);
        clone
    }

    /// A file of the result, by way of [`Attempt::pull`].
    pub fn pulled(&self, collected: &Collected, path: &str) -> String {
        let clone = if self.path("pulled").exists() { self.path("pulled") } else { self.pull(collected) };
        git(&clone, &["show", &format!("{}:{path}", collected.summary.branch)])
    }
}

pub fn artifact<'a>(collected: &'a Collected, name: &str) -> &'a CollectedArtifact {
    let find = collected.artifacts.iter().find(|artifact| artifact.name == name);
    find.unwrap_or_else(|| panic!("no artifact {name} in {:?}", collected.artifacts))
}

pub fn stored(artifact: &CollectedArtifact) -> PathBuf {
    match &artifact.content {
        Content::File { path, .. } => path.clone(),
        other => panic!("{} was not stored: {other:?}", artifact.name),
    }
}

pub fn skipped(artifact: &CollectedArtifact) -> &str {
    match &artifact.content {
        Content::Skipped { message } => message,
        other => panic!("{} was not skipped: {other:?}", artifact.name),
    }
}

/// A bundle as the shim makes it, of what the agent committed.
pub fn bundle(attempt: &Attempt, checkout: &Checkout) -> PathBuf {
    let path = attempt.path("agent.bundle");
    let not_base = format!("^{}", checkout.base);
    let branch = git(&checkout.work_tree, &["symbolic-ref", "HEAD"]);
    let args = ["bundle", "create", "--quiet", path.to_str().expect("UTF-8"), "HEAD", &branch, &not_base];
    git(&checkout.work_tree, &args);
    path
}

pub fn agent_commits(checkout: &Checkout, message: &str) -> String {
    git(&checkout.work_tree, &["add", "-A"]);
    git(&checkout.work_tree, &["commit", "--quiet", "-m", message]);
    git(&checkout.work_tree, &["rev-parse", "HEAD"])
}

pub fn warned(collected: &Collected, part: &str) -> bool {
    collected.summary.warnings.iter().any(|warning| warning.contains(part))
}
