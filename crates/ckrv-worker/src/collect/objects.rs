//! Folders of git objects beside the pristine repository: each sees what is in that one and lends it nothing, so that no
//! object of the agent's ever gets in there. And the judgement over a pack from elsewhere, which takes place in one of them.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ckrv_types::fsck;

use crate::git::CallError;

use super::Job;

/// Why a pack is no good.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("its branch does not descend from the commit that the job began at")]
    NotADescendant,
    #[error("{0}")]
    Git(#[from] CallError),
}

/// An object folder; gone when dropped.
pub(super) struct Quarantine(PathBuf);

impl Quarantine {
    /// Under this name in the request's output folder.
    pub fn open(job: &Job<'_>, name: &str) -> io::Result<Self> {
        let folder = job.output(name);
        make(&folder, &job.request.checkout.git_dir)?;
        Ok(Self(folder))
    }

    /// Judges the rest of `pack`, of at most `bytes`, as `ckrv pull` does; answers how many commits it brings.
    ///
    /// 1. Each object is sound.
    /// 2. `head` is a commit that descends from the base, and nothing that it needs is missing.
    pub async fn judge(&self, job: &Job<'_>, pack: File, bytes: u64, head: &str) -> Result<u32, Fault> {
        let git = || job.git().env("GIT_OBJECT_DIRECTORY", &self.0);
        let limit = format!("--max-input-size={bytes}");
        let strict = fsck::index_pack_argument();
        git().args(["index-pack", "--stdin", "--fix-thin", &limit, &strict]).input_file(pack).run().await?;
        git().args(["cat-file", "-e", &format!("{head}^{{commit}}")]).run().await?;
        match git().args(["merge-base", "--is-ancestor", job.base(), head]).run().await {
            Ok(_) => (),
            Err(CallError::Failed { code: 1, .. }) => return Err(Fault::NotADescendant),
            Err(error) => return Err(error.into()),
        }
        let range = format!("{}..{head}", job.base());
        git().args(["rev-list", "--objects", "--quiet", &range, "--"]).run().await?;
        let count = git().args(["rev-list", "--count", &range, "--"]).run().await?;
        Ok(count.line().parse().unwrap_or(u32::MAX))
    }

    /// Gives what was judged to the job's own objects. The index goes last: a pack without one is not seen.
    pub fn release(&self, job: &Job<'_>) -> io::Result<()> {
        let target = job.objects().join("pack");
        let mut packs: Vec<PathBuf> = fs::read_dir(self.0.join("pack"))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        packs.sort_by_key(|path| path.extension().is_some_and(|extension| extension == "idx"));
        for pack in packs {
            if let Some(name) = pack.file_name() {
                fs::rename(&pack, target.join(name))?;
            }
        }
        Ok(())
    }
}

impl Drop for Quarantine {
    fn drop(&mut self) {
        // What stays is in nobody's way: objects are only ever looked for elsewhere.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes an object folder that borrows from the repository's.
pub(super) fn make(folder: &Path, repository: &Path) -> io::Result<()> {
    fs::create_dir_all(folder.join("info"))?;
    fs::create_dir_all(folder.join("pack"))?;
    let mut objects = repository.join("objects").into_os_string();
    objects.push("\n");
    fs::write(folder.join("info/alternates"), objects.as_bytes())
}
