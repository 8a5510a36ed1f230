//! The work is collected and stored: a step that runs however the agent ended, with time of its own.

use ckrv_types::artifact::{self, ArtifactStatus, Summary};
use ckrv_types::worker::{FinishedArtifact, NewArtifact};
use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::attempt::Attempt;
use super::prepare::Repository;
use crate::collect::{CollectLimits, CollectRequest, Collected, CollectedArtifact, Content, collect};
use crate::crash::crash_point;
use crate::human;
use crate::upload::{UploadError, Uploader};

/// Uploads at once.
const PARALLEL: usize = 4;

/// What became of the work.
pub struct Results {
    pub summary: Summary,
    pub artifacts: Vec<FinishedArtifact>,
}

impl Results {
    /// Why the work itself (branch, patch) was not stored, if it was not.
    pub fn loss(&self) -> Option<String> {
        let lost =
            self.artifacts.iter().find(|found| found.status == ArtifactStatus::Failed && is_work(&found.name))?;
        Some(format!("{} could not be stored: {}", lost.name, lost.message.as_deref().unwrap_or("no reason is known")))
    }
}

/// Collects what the agent left in `repository` and its `bundles`, and stores it.
pub async fn store(attempt: &Attempt, repository: Repository, bundles: Vec<std::path::PathBuf>) -> Results {
    let Repository { git, checkout, baseline } = repository;
    let request = CollectRequest {
        git,
        checkout,
        baseline,
        bundles,
        job: attempt.started.attempt.job,
        author: attempt.started.commit_author.clone(),
        globs: attempt.started.spec.artifacts.clone(),
        output: attempt.folder.results(),
        limits: CollectLimits { stage: attempt.config.settings.upload_limit(), ..CollectLimits::default() },
    };
    let Collected { summary, artifacts } = collect(&request).await;
    tell(attempt, &summary);
    crash_point("worker.after-collect");
    let deadline = Instant::now() + attempt.config.settings.upload_limit();
    let uploader = Uploader::new(attempt.client.clone(), deadline, attempt.is_server_here()).map_err(|e| e.to_string());
    let uploads = artifacts.into_iter().map(|found| settle(attempt, &uploader, found));
    let artifacts = stream::iter(uploads).buffered(PARALLEL).collect().await;
    Results { summary, artifacts }
}

fn tell(attempt: &Attempt, summary: &Summary) {
    let Summary { files_changed, insertions, deletions, agent_commits, .. } = summary;
    attempt.log.system(&if summary.head_commit == summary.base_commit {
        "collected: nothing changed".to_owned()
    } else {
        let commits = if *agent_commits == 1 { "1 commit".to_owned() } else { format!("{agent_commits} commits") };
        let files = if *files_changed == 1 { "1 file".to_owned() } else { format!("{files_changed} files") };
        format!("collected: {files} changed (+{insertions} -{deletions}), {commits} by the agent")
    });
    for warning in &summary.warnings {
        attempt.log.system(&format!("warning: {warning}"));
    }
}

/// That nothing changed is told once, in one line.
fn is_absent_work(name: &str, status: ArtifactStatus) -> bool {
    status == ArtifactStatus::Skipped && is_work(name)
}

fn is_work(name: &str) -> bool {
    name == artifact::BUNDLE || name == artifact::PATCH
}

/// Stores one artifact, or tells why not. Each has its own outcome.
async fn settle(attempt: &Attempt, uploader: &Result<Uploader, String>, found: CollectedArtifact) -> FinishedArtifact {
    let CollectedArtifact { name, content_type, content } = found;
    let (status, message) = match content {
        Content::Skipped { message } => (ArtifactStatus::Skipped, Some(message)),
        Content::Failed { message } => (ArtifactStatus::Failed, Some(message)),
        Content::File { path, size, sha256 } => {
            let new = NewArtifact { name: name.clone(), size, sha256, content_type: content_type.to_owned() };
            let delayed = |error: &UploadError| {
                let limit = human::duration(attempt.config.settings.upload_limit());
                attempt.log.system(&format!("{name} is not stored yet, trying for {limit}: {}", human::chain(error)));
            };
            let stored = match uploader {
                Ok(uploader) => uploader.store(&new, &path, delayed).await.map_err(|error| human::chain(&error)),
                Err(error) => Err(error.clone()),
            };
            crash_point("worker.between-uploads");
            match stored {
                Ok(()) => {
                    attempt.log.system(&format!("uploaded {name} ({})", human::bytes(size)));
                    (ArtifactStatus::Stored, None)
                }
                Err(message) => (ArtifactStatus::Failed, Some(message)),
            }
        }
    };
    if let Some(message) = message.as_ref().filter(|_| !is_absent_work(&name, status)) {
        let what = if status == ArtifactStatus::Skipped { "left out" } else { "could not store" };
        attempt.log.system(&format!("{what} {name}: {message}"));
    }
    FinishedArtifact { name, status, message }
}
