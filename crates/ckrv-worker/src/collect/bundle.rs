//! A bundle from the agent's side, checked as a parcel from a stranger.
//!
//! 1. The header is read here (gitformat-bundle(5)): HEAD, at most one branch at the same commit, nothing else.
//! 2. The pack goes through `git index-pack --strict` into a quarantine beside the pristine repository, so that a bad one
//!    leaves nothing behind.
//! 3. HEAD must be a commit that descends from the base, with everything that it needs.
//! 4. Only then the pack moves into the pristine repository.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ckrv_types::spec::check_ref_name;

use crate::git::{Call, CallError, TOLERATED_FAULTS};

use super::Job;
use super::warnings::Warnings;

const HEADER_BYTES: u64 = 64 * 1024;

/// The agent's commits that were taken over.
#[derive(Debug)]
pub(super) struct Taken {
    /// The base when there are none.
    pub head: String,
    pub commits: u32,
}

/// Why a bundle is no good.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Header(&'static str),
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("its branch does not descend from the commit that the job began at")]
    NotADescendant,
    #[error("{0}")]
    Git(#[from] CallError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Takes over the first bundle that is good; of the others the warnings tell.
pub(super) async fn take_newest(job: &Job<'_>, warnings: &mut Warnings) -> Taken {
    for path in &job.request.bundles {
        match take(job, path).await {
            Ok(taken) => return taken,
            Err(refusal) => warnings.add(format!("a bundle of the agent's commits was refused: {refusal}")),
        }
    }
    Taken { head: job.base().to_owned(), commits: 0 }
}

async fn take(job: &Job<'_>, path: &Path) -> Result<Taken, Refusal> {
    let mut file = File::open(path)?;
    let limit = job.request.limits.bundle_bytes;
    if file.metadata()?.len() > limit {
        return Err(Refusal::TooLarge(limit));
    }
    let header = Header::read(&mut file, job.base().len())?;
    file.seek(SeekFrom::Start(header.length))?;
    let quarantine = Quarantine::open(job)?;
    let strict: Vec<String> = TOLERATED_FAULTS.iter().map(|fault| format!("{fault}=warn")).collect();
    quarantine
        .git(job)
        .args(["index-pack", "--stdin", "--fix-thin", &format!("--max-input-size={limit}")])
        .arg(format!("--strict={}", strict.join(",")))
        .input_file(file)
        .run()
        .await?;
    let commits = check(job, &quarantine, &header.head).await?;
    quarantine.release(job)?;
    Ok(Taken { head: header.head, commits })
}

/// Answers how many commits are new.
async fn check(job: &Job<'_>, quarantine: &Quarantine, head: &str) -> Result<u32, Refusal> {
    let git = || quarantine.git(job);
    git().args(["cat-file", "-e", &format!("{head}^{{commit}}")]).run().await?;
    match git().args(["merge-base", "--is-ancestor", job.base(), head]).run().await {
        Ok(_) => (),
        Err(CallError::Failed { code: 1, .. }) => return Err(Refusal::NotADescendant),
        Err(error) => return Err(error.into()),
    }
    let range = format!("{}..{head}", job.base());
    git().args(["rev-list", "--objects", "--quiet", &range, "--"]).run().await?;
    let count = git().args(["rev-list", "--count", &range, "--"]).run().await?;
    Ok(count.line().parse().unwrap_or(u32::MAX))
}

/// What stands before the pack.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// Bytes up to the pack.
    length: u64,
    head: String,
}

impl Header {
    fn read(file: &mut File, id_length: usize) -> Result<Self, Refusal> {
        let mut bytes = Vec::new();
        file.take(HEADER_BYTES).read_to_end(&mut bytes)?;
        let length = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or(Refusal::Header("it has no header"))? + 2;
        let text = str::from_utf8(&bytes[..length]).map_err(|_| Refusal::Header("its header is not text"))?;
        let head = Self::parse(text, id_length).map_err(Refusal::Header)?;
        Ok(Self { length: length as u64, head })
    }

    /// HEAD's commit.
    fn parse(text: &str, id_length: usize) -> Result<String, &'static str> {
        let is_id =
            |id: &str| id.len() == id_length && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut lines = text.lines();
        if !matches!(lines.next(), Some("# v2 git bundle" | "# v3 git bundle")) {
            return Err("it is not a git bundle");
        }
        let mut refs = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(capability) = line.strip_prefix('@') {
                let format = if id_length == 40 { "object-format=sha1" } else { "object-format=sha256" };
                if capability != format {
                    return Err("it wants a capability that is not used here");
                }
            } else if let Some(prerequisite) = line.strip_prefix('-') {
                if !prerequisite.split(' ').next().is_some_and(is_id) {
                    return Err("one of its prerequisites is malformed");
                }
            } else {
                refs.push(line.split_once(' ').filter(|(id, _)| is_id(id)).ok_or("one of its refs is malformed")?);
            }
        }
        let head = refs.iter().find(|(_, name)| *name == "HEAD").ok_or("it has no HEAD")?.0;
        let is_expected = |(id, name): &(&str, &str)| {
            let branch = name.strip_prefix("refs/heads/");
            *id == head && (*name == "HEAD" || branch.is_some_and(|branch| check_ref_name(branch).is_ok()))
        };
        if refs.len() > 2 || !refs.iter().all(is_expected) {
            return Err("it has other refs than HEAD and the branch at it");
        }
        Ok(head.to_owned())
    }
}

/// An object folder that borrows from the pristine repository and lends it nothing.
struct Quarantine(PathBuf);

impl Quarantine {
    fn open(job: &Job<'_>) -> io::Result<Self> {
        let repository = &job.request.checkout.git_dir;
        let folder = repository.join("quarantine");
        fs::create_dir_all(folder.join("info"))?;
        fs::create_dir_all(folder.join("pack"))?;
        let mut objects = repository.join("objects").into_os_string();
        objects.push("\n");
        fs::write(folder.join("info/alternates"), std::os::unix::ffi::OsStrExt::as_bytes(objects.as_os_str()))?;
        Ok(Self(folder))
    }

    fn git(&self, job: &Job<'_>) -> Call {
        job.git().env("GIT_OBJECT_DIRECTORY", &self.0)
    }

    /// The index goes last: a pack without one is not seen.
    fn release(&self, job: &Job<'_>) -> io::Result<()> {
        let target = job.request.checkout.git_dir.join("objects/pack");
        fs::create_dir_all(&target)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &str) -> Result<String, &'static str> {
        Header::parse(&lines.replace("~A", &"a".repeat(40)).replace("~B", &"b".repeat(40)), 40)
    }

    #[test]
    fn the_header_that_the_shim_asks_for_is_taken() {
        let head = Ok("a".repeat(40));
        assert_eq!(parse("# v2 git bundle\n-~B base\n~A HEAD\n~A refs/heads/main\n\n"), head);
        assert_eq!(parse("# v2 git bundle\n-~B\n~A HEAD\n\n"), head);
        assert_eq!(parse("# v3 git bundle\n@object-format=sha1\n-~B \n~A refs/heads/fix/it\n~A HEAD\n\n"), head);
    }

    #[test]
    fn every_other_header_is_refused() {
        for header in [
            "",
            "# v4 git bundle\n~A HEAD\n\n",
            "# v2 git bundle\n\n",
            "# v2 git bundle\n~A refs/heads/main\n\n",
            "# v2 git bundle\n~A HEAD\n~B refs/heads/main\n\n",
            "# v2 git bundle\n~A HEAD\n~A refs/heads/../../hooks/post-checkout\n\n",
            "# v2 git bundle\n~A HEAD\n~A refs/heads/-x\n\n",
            "# v2 git bundle\n~A HEAD\n~A refs/replace/~B\n\n",
            "# v2 git bundle\n~A HEAD\n~A refs/heads/a\n~A refs/heads/b\n\n",
            "# v2 git bundle\n-zz\n~A HEAD\n\n",
            "# v2 git bundle\n--upload-pack=x\n~A HEAD\n\n",
            "# v2 git bundle\nabc HEAD\n\n",
            "# v3 git bundle\n@filter=blob:none\n~A HEAD\n\n",
            "# v3 git bundle\n@object-format=sha256\n~A HEAD\n\n",
        ] {
            assert!(parse(header).is_err(), "{header:?} was taken");
        }
    }
}
