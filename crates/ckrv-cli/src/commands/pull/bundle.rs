//! The result branch: from a bundle, through a repository where it is checked, into the checkout.
//!
//! The quarantine is a bare repository of our own that sees the checkout's objects (as git's own receive quarantine does)
//! and has no settings but ours. Only what passed there is taken over, by the branch's name alone.

use std::fs::{self, File};
use std::io::{BufReader, Seek as _, SeekFrom};
use std::path::Path;

use tempfile::TempDir;

use ckrv_types::{Job, fsck};

use super::header::{self, Header};
use super::pulled::PulledBranch;
use crate::failure::{Failure, OrFail as _};
use crate::git::Git;
use crate::git::checkout::Checkout;

/// Checks the bundle and makes (or, by `force`, replaces) the local branch `ckrv/<job id>`.
pub async fn import(file: &Path, job: &Job, checkout: &Checkout, force: bool) -> Result<PulledBranch, Failure> {
    let name = format!("ckrv/{}", job.id);
    let reference = format!("refs/heads/{name}");
    let header = read_header(file, &reference)?;
    if let Some(result) = &job.result
        && result.head_commit != header.head
    {
        return Err(hostile("it holds another commit than the server says"));
    }
    let quarantine = Quarantine::beside(checkout).await?;
    quarantine.take(file, &reference, &header, job).await.map_err(|failure| failure.hint(as_patch(job)))?;
    let updated = take_over(&quarantine, checkout, &name, &header.head, force).await?;
    describe(name, &header, job, checkout, updated).await
}

/// What is left to do with work that makes no branch.
pub fn as_patch(job: &Job) -> String {
    format!("`ckrv pull --output DIR {}` writes the work as a patch, to be looked at", job.id)
}

fn read_header(file: &Path, reference: &str) -> Result<Header, Failure> {
    let opened = File::open(file).or_fail(|| "cannot read the job's bundle".into())?;
    header::read(BufReader::new(opened), reference).or_fail(|| "the job's bundle is refused".into())
}

fn hostile(why: &str) -> Failure {
    Failure::failed("the job's bundle is refused").cause(why)
}

/// A repository that nothing else uses, gone when dropped.
struct Quarantine {
    git: Git,
    _folder: TempDir,
}

impl Quarantine {
    async fn beside(checkout: &Checkout) -> Result<Self, Failure> {
        let what = || "cannot prepare a repository for checking the job's work".to_owned();
        let folder = tempfile::tempdir().or_fail(what)?;
        let format = checkout.git().run(&["rev-parse", "--show-object-format"]).await.or_fail(what)?;
        let git = Git::hardened(folder.path());
        let format = format!("--object-format={format}");
        git.run(&["init", "--quiet", "--bare", "--template=", &format, "."]).await.or_fail(what)?;
        let objects = checkout.objects().await.or_fail(what)?;
        let Some(objects) = objects.to_str().filter(|path| !path.contains('\n')) else {
            return Err(Failure::failed(what()).cause("the checkout's path cannot be written down"));
        };
        fs::create_dir_all(folder.path().join("objects/info")).or_fail(what)?;
        fs::write(folder.path().join("objects/info/alternates"), format!("{objects}\n")).or_fail(what)?;
        Self::share_depth(checkout, folder.path()).await?;
        Ok(Self { git, _folder: folder })
    }

    /// A shallow checkout says where its history ends; what sees its objects must know.
    async fn share_depth(checkout: &Checkout, folder: &Path) -> Result<(), Failure> {
        let what = || "cannot read the checkout's depth".to_owned();
        let path = checkout.git().run(&["rev-parse", "--git-path", "shallow"]).await.or_fail(what)?;
        let path = checkout.root().join(path);
        if path.is_file() {
            fs::copy(path, folder.join("shallow")).or_fail(what)?;
        }
        Ok(())
    }

    /// Unpacks the bundle. git's own `fetch` does not check the objects of a bundle in every version, so the pack in it is
    /// given to the program that does:
    /// 1. all that it builds upon is here;
    /// 2. each object is sound;
    /// 3. the branch is a commit, and nothing that it needs is missing;
    /// 4. it builds upon the commit that the job began with.
    async fn take(&self, file: &Path, reference: &str, header: &Header, job: &Job) -> Result<(), Failure> {
        for (number, commit) in header.prerequisites.iter().enumerate() {
            if !self.git.says(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).await {
                return Err(lacks(commit, job));
            }
            let base = format!("refs/ckrv/base/{number}");
            self.git.run(&["update-ref", &base, commit]).await.or_fail(|| "cannot prepare the check".into())?;
        }
        let refused = || "the job's bundle is refused".to_owned();
        let mut pack = File::open(file).or_fail(refused)?;
        pack.seek(SeekFrom::Start(header.length)).or_fail(refused)?;
        let index_pack = ["index-pack", "--stdin", "--fix-thin", &fsck::index_pack_argument()];
        self.git.run_from(&index_pack, pack).await.or_fail(refused)?;
        let head = &header.head;
        if self.git.run(&["cat-file", "-t", head]).await.or_fail(refused)? != "commit" {
            return Err(hostile("its branch is no commit"));
        }
        self.git.run(&["rev-list", "--objects", "--quiet", head, "--not", "--all"]).await.or_fail(refused)?;
        self.git.run(&["update-ref", reference, head]).await.or_fail(refused)?;
        match &job.result {
            Some(result) if !self.git.says(&["merge-base", "--is-ancestor", &result.base_commit, head]).await => {
                Err(hostile("its commits do not build upon the commit that the job began with"))
            }
            _ => Ok(()),
        }
    }
}

fn lacks(commit: &str, job: &Job) -> Failure {
    let branch = job.spec.branch.as_deref().unwrap_or_default();
    Failure::failed(format!("this checkout does not have the commit {commit} that the job began with"))
        .cause(format!("the job ran on {}", job.spec.repo))
        .hint(format!("git fetch origin {branch}").trim_end().to_owned() + ", and pull again")
}

/// Makes the branch in the checkout; says whether anything had to be done.
async fn take_over(
    quarantine: &Quarantine,
    checkout: &Checkout,
    name: &str,
    head: &str,
    force: bool,
) -> Result<bool, Failure> {
    let reference = format!("refs/heads/{name}");
    let present = checkout.git().run(&["rev-parse", "--quiet", "--verify", &reference]).await.ok();
    match present {
        Some(present) if present == head => return Ok(false),
        Some(_) if !force => {
            return Err(Failure::failed(format!("the branch {name} is here with other content"))
                .hint("--force replaces it; or rename yours: git branch -m"));
        }
        _ => {}
    }
    let plus = if force { "+" } else { "" };
    let refspec = format!("{plus}{reference}:{reference}");
    let from = quarantine.git.folder().to_string_lossy().into_owned();
    let fetch =
        ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--", &from, &refspec];
    checkout.git().run(&fetch).await.or_fail(|| format!("cannot make the branch {name}"))?;
    Ok(true)
}

async fn describe(
    name: String,
    header: &Header,
    job: &Job,
    checkout: &Checkout,
    updated: bool,
) -> Result<PulledBranch, Failure> {
    let what = || format!("cannot read the branch {name}");
    let git = checkout.git();
    let head = &header.head;
    let base = match (&job.result, header.prerequisites.as_slice()) {
        (Some(result), _) => result.base_commit.clone(),
        (None, [base]) => base.clone(),
        (None, _) => git.run(&["merge-base", "HEAD", head]).await.or_fail(what)?,
    };
    let commits = git.run(&["rev-list", "--count", &format!("{base}..{head}")]).await.or_fail(what)?;
    let stat = git.run(&["diff-tree", "-r", "--shortstat", "--no-ext-diff", "--no-textconv", &base, head]).await;
    let stat = stat.or_fail(what)?;
    Ok(PulledBranch {
        base,
        head: head.clone(),
        commits: commits.parse().unwrap_or_default(),
        files_changed: number_before(&stat, "file"),
        insertions: number_before(&stat, "insertion"),
        deletions: number_before(&stat, "deletion"),
        updated,
        name,
    })
}

/// From `3 files changed, 10 insertions(+), 2 deletions(-)`; what is zero is left out there.
fn number_before(stat: &str, word: &str) -> u64 {
    let part = stat.split(',').find(|part| part.contains(word));
    part.and_then(|part| part.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
