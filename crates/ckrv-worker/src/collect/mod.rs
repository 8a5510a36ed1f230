//! Collecting the work: after the agent has run, its folder and everything in it is hostile.
//!
//! 1. *Commits* ([`bundle`]): a bundle that the agent's side made is checked as a parcel from a stranger. What passes goes
//!    into a folder of objects beside our own pristine repository ([`objects`]).
//! 2. *Tree* ([`walk`], [`snapshot`]): the work tree is read by [`hostile`] alone, and what changed is handed to git as bytes, or
//!    copied into a folder of ours. git is pointed at the copy, never at the agent's tree: not at its `.git`, nor at one
//!    nested in it.
//! 3. *Result* ([`outcome`]): the last good bundle with a commit of the tree on top, as branch `ckrv/<job id>`: a bundle, a
//!    patch and a summary; and the declared artifacts ([`files`]). A bundle that `ckrv pull` would refuse is not handed out.
//!
//! Nothing here fails as a whole: what cannot be had is told in the summary's warnings or with the artifact. It must not
//! know how the results are stored.

mod baseline;
mod blobs;
mod bundle;
mod conversions;
mod files;
mod hostile;
mod objects;
mod outcome;
mod reader;
mod snapshot;
mod walk;
mod warnings;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ckrv_types::artifact::{self, Summary};
use ckrv_types::worker::CommitAuthor;
use ckrv_types::{JobId, limits};

use crate::git::{Call, Checkout, GitProgram};

pub use baseline::Baseline;

use self::outcome::Outcome;
use self::warnings::Warnings;

/// What to collect, from where.
#[derive(Debug)]
pub struct CollectRequest {
    pub git: GitProgram,
    pub checkout: Checkout,
    /// Taken right after the clone.
    pub baseline: Baseline,
    /// Bundles of the agent's side, the newest first (see [`crate::shim::Session::finish`]); the first good one counts.
    pub bundles: Vec<PathBuf>,
    pub job: JobId,
    /// Author and committer of the tree's commit.
    pub author: CommitAuthor,
    /// Globs of the job's specification, relative to the work tree.
    pub globs: Vec<String>,
    /// An existing folder (0700) of ours, empty, on a disk with room for the results. The caller removes it.
    pub output: PathBuf,
    pub limits: CollectLimits,
}

/// How much may be collected.
#[derive(Debug, Clone)]
pub struct CollectLimits {
    /// For each of the stages: bundle, tree, result, artifacts.
    pub stage: Duration,
    /// Files and folders that are looked at in the work tree, ignored folders apart.
    pub entries: usize,
    /// Of one file of the tree's commit, and of all that changed together.
    pub file_bytes: u64,
    pub tree_bytes: u64,
    /// Of a bundle from the agent's side.
    pub bundle_bytes: u64,
    /// Of one artifact, of all declared ones together, and their number.
    pub artifact_bytes: u64,
    pub artifacts_bytes: u64,
    pub artifacts: usize,
}

impl Default for CollectLimits {
    fn default() -> Self {
        const GIB: u64 = 1024 * 1024 * 1024;
        Self {
            stage: Duration::from_mins(5),
            entries: 1_000_000,
            file_bytes: GIB / 2,
            tree_bytes: 4 * GIB,
            bundle_bytes: 2 * GIB,
            artifact_bytes: limits::ARTIFACT_BYTES,
            artifacts_bytes: 4 * limits::ARTIFACT_BYTES,
            // Branch, patch and summary are artifacts too, and so is the word about each glob without a match.
            artifacts: limits::ARTIFACTS - limits::ARTIFACT_GLOBS - 4,
        }
    }
}

/// What was collected.
#[derive(Debug)]
pub struct Collected {
    pub summary: Summary,
    /// The bundle, the patch and the summary, then the declared ones. When nothing changed (`head_commit` is
    /// `base_commit`), bundle and patch are skipped.
    pub artifacts: Vec<CollectedArtifact>,
}

/// One artifact, ready to be stored or not.
#[derive(Debug)]
pub struct CollectedArtifact {
    /// See [`ckrv_types::artifact`]; for a glob without a match the glob itself behind `files/`.
    pub name: String,
    pub content_type: &'static str,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    /// A private file in the request's output folder.
    File {
        path: PathBuf,
        /// Bytes.
        size: u64,
        /// In hex.
        sha256: String,
    },
    /// Left out on purpose.
    Skipped { message: String },
    /// Could not be read or made.
    Failed { message: String },
}

/// Collects. The agent should be dead; if it is not, the result may mix moments, and that is all.
pub async fn collect(request: &CollectRequest) -> Collected {
    let mut warnings = Warnings::default();
    let job = Job::stage(request);
    if let Err(error) = objects::make(&job.objects(), &request.checkout.git_dir) {
        warnings.add(format!("there is no place for the work: {error}"));
    }
    let taken = bundle::take_newest(&job, &mut warnings).await;
    let tree = match snapshot::snapshot(&Job::stage(request), &taken.head, &mut warnings).await {
        Ok(tree) => tree,
        Err(error) => {
            warnings.add(format!("the work tree could not be collected: {error}"));
            None
        }
    };
    let Outcome { summary, mut artifacts } = outcome::make(&Job::stage(request), &taken, tree, warnings).await;
    artifacts.extend(files::collect(&Job::stage(request)).await);
    Collected { summary, artifacts }
}

/// The request within one stage, with what every stage needs of it.
struct Job<'a> {
    request: &'a CollectRequest,
    deadline: Instant,
}

impl<'a> Job<'a> {
    fn stage(request: &'a CollectRequest) -> Self {
        Self { request, deadline: Instant::now() + request.limits.stage }
    }

    /// A call on the pristine repository. What it makes goes to the job's own objects.
    fn git(&self) -> Call {
        let request = self.request;
        request
            .git
            .call()
            // A bomb in a pack ends git, not the machine.
            .env("GIT_ALLOC_LIMIT", "1g")
            .env("GIT_OBJECT_DIRECTORY", self.objects())
            .git_dir(&request.checkout.git_dir)
            .limit(self.deadline.saturating_duration_since(Instant::now()))
    }

    fn base(&self) -> &str {
        &self.request.checkout.base
    }

    fn branch(&self) -> String {
        format!("ckrv/{}", self.request.job)
    }

    /// What is made of the agent's work, apart from the pristine repository's objects.
    fn objects(&self) -> PathBuf {
        self.output("objects")
    }

    fn output(&self, name: &str) -> PathBuf {
        self.request.output.join(name)
    }
}

impl CollectedArtifact {
    fn failed(name: &str, error: impl std::fmt::Display) -> Self {
        let content = Content::Failed { message: error.to_string() };
        Self { name: name.to_owned(), content_type: content_type(Path::new(name)), content }
    }

    fn skipped(name: &str, message: impl Into<String>) -> Self {
        let content = Content::Skipped { message: message.into() };
        Self { name: name.to_owned(), content_type: content_type(Path::new(name)), content }
    }
}

/// By the name's ending; they are only ever served as attachments.
fn content_type(name: &Path) -> &'static str {
    if name == Path::new(artifact::BUNDLE) {
        return "application/x-git-bundle";
    }
    match name.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "txt" | "log" | "md" => "text/plain; charset=utf-8",
        "patch" | "diff" => "text/x-diff; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "html" | "htm" => "text/html; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "svg" => "image/svg+xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        _ => "application/octet-stream",
    }
}
