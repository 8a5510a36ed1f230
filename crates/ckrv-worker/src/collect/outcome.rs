//! The result: a commit of the tree on top of the agent's commits, the branch as a bundle, the change as a patch, and the
//! summary.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ckrv_types::artifact::{self, Summary};
use sha2::{Digest, Sha256};

use crate::git::CallError;

use super::bundle::{Refusal, Taken, prove};
use super::warnings::{Warnings, printable};
use super::{CollectedArtifact, Content, Job, content_type};

const UNCHANGED: &str = "the agent changed nothing";
const WAY_OUT: &str = "the whole change is in changes.patch, which `ckrv pull --output DIR` writes; or have the agent mend that in \
                       another run";

pub(super) struct Outcome {
    pub summary: Summary,
    /// Bundle, patch, summary.
    pub artifacts: Vec<CollectedArtifact>,
}

/// Makes all of it; what fails is said in its artifact.
pub(super) async fn make(job: &Job<'_>, taken: &Taken, tree: Option<String>, mut warnings: Warnings) -> Outcome {
    let commit = match tree {
        Some(tree) => commit(job, &tree, &taken.head).await.map(Some),
        None => Ok(None),
    };
    let commit = commit.unwrap_or_else(|error| {
        warnings.add(format!("the work tree could not be committed: {error}"));
        None
    });
    let tree_commit = commit.is_some();
    let head = commit.unwrap_or_else(|| taken.head.clone());
    let mut summary = Summary {
        branch: job.branch(),
        base_commit: job.base().to_owned(),
        tree_commit,
        agent_commits: taken.commits,
        files_changed: 0,
        insertions: 0,
        deletions: 0,
        head_commit: head,
        warnings: Vec::new(),
    };
    let mut artifacts = Vec::new();
    if summary.head_commit == summary.base_commit {
        artifacts.extend([artifact::BUNDLE, artifact::PATCH].map(|name| CollectedArtifact::skipped(name, UNCHANGED)));
    } else {
        let (counts, bundle, patch) = tokio::join!(
            Box::pin(count(job, &summary)),
            Box::pin(bundle(job, &summary)),
            Box::pin(patch(job, &summary))
        );
        match counts {
            Ok(counts) => (summary.files_changed, summary.insertions, summary.deletions) = counts,
            Err(error) => warnings.add(format!("the change could not be counted: {error}")),
        }
        if let Err(Failure::Refused(found)) = &bundle {
            warnings.add(format!("there is no branch, because git refuses what would be in it: {found}; {WAY_OUT}"));
        }
        artifacts.push(finish(job, artifact::BUNDLE, bundle).await);
        artifacts.push(finish(job, artifact::PATCH, patch).await);
    }
    summary.warnings = warnings.into_texts();
    artifacts.push(finish(job, artifact::SUMMARY, write_summary(job, &summary)).await);
    Outcome { summary, artifacts }
}

async fn commit(job: &Job<'_>, tree: &str, parent: &str) -> Result<String, CallError> {
    let author = &job.request.author;
    // git refuses a name of nothing but what it strips.
    let name = if author.name.chars().any(char::is_alphanumeric) { author.name.clone() } else { "ckrv".to_owned() };
    let message = format!("ckrv {}: work tree", job.request.job);
    let call = job.git().args(["commit-tree", tree, "-p", parent, "-m", &message]);
    let call = ["AUTHOR", "COMMITTER"].iter().fold(call, |call, role| {
        call.env(format!("GIT_{role}_NAME"), &name).env(format!("GIT_{role}_EMAIL"), &author.email)
    });
    Ok(call.run().await?.line())
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Git(#[from] CallError),
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What git found.
    #[error("git refuses what would be in it: {0}")]
    Refused(String),
    #[error("it could not be checked: {0}")]
    Unproven(#[source] Refusal),
}

async fn bundle(job: &Job<'_>, summary: &Summary) -> Result<(), Failure> {
    let branch = format!("refs/heads/{}", summary.branch);
    job.git().args(["update-ref", &branch, &summary.head_commit]).run().await?;
    let file = File::create(job.output(artifact::BUNDLE))?;
    let call = job.git().args(["bundle", "create", "--quiet", "-", &branch, &format!("^{}", summary.base_commit)]);
    call.output_file(file).run().await?;
    prove(job, &job.output(artifact::BUNDLE), &summary.head_commit).await.map_err(|refusal| match refusal.found() {
        Some(found) => Failure::Refused(printable(&found)),
        None => Failure::Unproven(refusal),
    })
}

async fn patch(job: &Job<'_>, summary: &Summary) -> Result<(), Failure> {
    let file = File::create(job.output(artifact::PATCH))?;
    let range = [summary.base_commit.as_str(), summary.head_commit.as_str(), "--"];
    job.git().args(DIFF).arg("--binary").args(range).output_file(file).run().await?;
    Ok(())
}

const DIFF: [&str; 6] =
    ["diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--ignore-submodules=none"];

/// Files, insertions, deletions.
async fn count(job: &Job<'_>, summary: &Summary) -> Result<(u32, u64, u64), CallError> {
    let output =
        job.git().args(DIFF).args(["--shortstat", &summary.base_commit, &summary.head_commit, "--"]).run().await?;
    Ok(parse_count(&output.line()))
}

/// ` 3 files changed, 5 insertions(+), 2 deletions(-)`, the latter two only where there are any.
fn parse_count(line: &str) -> (u32, u64, u64) {
    let number = |word: &str| {
        let part = line.split(',').find(|part| part.contains(word))?;
        part.trim().split(' ').next()?.parse::<u64>().ok()
    };
    let files = number(" file").and_then(|count| u32::try_from(count).ok());
    (files.unwrap_or_default(), number(" insertion").unwrap_or_default(), number(" deletion").unwrap_or_default())
}

fn write_summary(job: &Job<'_>, summary: &Summary) -> Result<(), Failure> {
    let json = serde_json::to_vec_pretty(summary).map_err(io::Error::other)?;
    Ok(std::fs::write(job.output(artifact::SUMMARY), json)?)
}

/// The artifact of a file that was made in the output folder, or of the failure to make it.
async fn finish(job: &Job<'_>, name: &'static str, made: Result<(), Failure>) -> CollectedArtifact {
    match made {
        Ok(()) => (),
        // Another attempt would come to the same.
        Err(failure @ Failure::Refused(_)) => return CollectedArtifact::skipped(name, failure.to_string()),
        Err(failure) => return CollectedArtifact::failed(name, failure),
    }
    let path = job.output(name);
    let hashed = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || hash(&path)).await
    };
    let limit = job.request.limits.artifact_bytes;
    match hashed.map_err(io::Error::other).and_then(|hashed| hashed) {
        Ok((size, _)) if size > limit => {
            CollectedArtifact::failed(name, format!("it has {size} bytes, more than {limit}"))
        }
        Ok((size, sha256)) => CollectedArtifact {
            name: name.to_owned(),
            content_type: content_type(Path::new(name)),
            content: Content::File { path, size, sha256 },
        },
        Err(error) => CollectedArtifact::failed(name, error),
    }
}

fn hash(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, hex::encode(hash.finalize())));
        }
        hash.update(&buffer[..count]);
        size += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_gits_line() {
        assert_eq!(parse_count(" 3 files changed, 5 insertions(+), 2 deletions(-)"), (3, 5, 2));
        assert_eq!(parse_count(" 1 file changed, 1 insertion(+)"), (1, 1, 0));
        assert_eq!(parse_count(" 1 file changed, 0 insertions(+), 0 deletions(-)"), (1, 0, 0));
        assert_eq!(parse_count(""), (0, 0, 0));
    }
}
