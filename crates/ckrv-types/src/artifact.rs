//! What a job leaves behind, as single objects with a manifest.

use serde::{Deserialize, Serialize};

/// The result branch `ckrv/<job id>` as a git bundle.
pub const BUNDLE: &str = "result.bundle";
/// The whole change against the base commit, as `git diff --binary` prints it.
pub const PATCH: &str = "changes.patch";
/// A [`Summary`].
pub const SUMMARY: &str = "summary.json";
/// Artifacts that the user declared are named `files/<path in the work tree>`.
pub const FILES_PREFIX: &str = "files/";

/// One stored object of a job, as the API lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Artifact {
    /// A relative path with `/`, unique within the attempt.
    pub name: String,
    /// The attempt that made it.
    pub attempt: u32,
    pub status: ArtifactStatus,
    /// Bytes.
    pub size: u64,
    /// Of the content, lower-case hex; absent when nothing was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    pub content_type: String,
    /// Why it was not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The outcome of one artifact: a job's other artifacts do not suffer from one that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ArtifactStatus {
    /// A place was given out; the upload is not confirmed.
    Pending,
    Stored,
    /// Could not be read or uploaded; the message says why.
    Failed,
    /// Left out on purpose (a link out of the tree, over the limit, a glob without a match).
    Skipped,
    /// Removed by retention.
    Expired,
}

/// `GET /v1/jobs/{id}/artifacts`: the manifest of the job's latest attempt that stored any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Manifest {
    pub items: Vec<Artifact>,
}

/// What `summary.json` says of the collected work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Summary {
    /// `ckrv/<job id>`.
    pub branch: String,
    /// The commit that the agent's clone stood at.
    pub base_commit: String,
    /// The result branch's head; equal to the base when nothing changed.
    pub head_commit: String,
    /// The agent's own commits that were taken over.
    pub agent_commits: u32,
    /// Whether a commit of the work tree was put on top of them.
    pub tree_commit: bool,
    pub files_changed: u32,
    pub insertions: u64,
    pub deletions: u64,
    /// What could not be taken over and why, such as a bundle that failed its check.
    #[serde(default)]
    pub warnings: Vec<String>,
}
