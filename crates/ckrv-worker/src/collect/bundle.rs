//! A bundle from the agent's side, checked as a parcel from a stranger.
//!
//! 1. The header is read here (gitformat-bundle(5)): HEAD, at most one branch at the same commit, nothing else.
//! 2. The pack goes through `git index-pack --strict` into a quarantine ([`super::objects`]), so that a bad one leaves
//!    nothing behind.
//! 3. HEAD must be a commit that descends from the base, with everything that it needs.
//! 4. Only then the pack moves to the job's own objects.
//!
//! The bundle of the result goes the same way, for `ckrv pull` will judge it so.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use ckrv_types::spec::check_ref_name;

use crate::git::CallError;

use super::Job;
use super::objects::{Fault, Quarantine};
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
pub(super) enum Refusal {
    #[error("{0}")]
    Header(&'static str),
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("{0}")]
    Pack(#[from] Fault),
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
    let quarantine = Quarantine::open(job, "quarantine")?;
    let commits = quarantine.judge(job, file, limit, &header.head).await?;
    quarantine.release(job)?;
    Ok(Taken { head: header.head, commits })
}

/// Judges a bundle of ours as `ckrv pull` will: what it would refuse is not to be handed out.
pub(super) async fn prove(job: &Job<'_>, path: &Path, head: &str) -> Result<(), Refusal> {
    let mut file = File::open(path)?;
    let length = header_length(&read_start(&mut file)?)?;
    file.seek(SeekFrom::Start(length as u64))?;
    Quarantine::open(job, "proof")?.judge(job, file, job.request.limits.artifact_bytes, head).await?;
    Ok(())
}

impl Refusal {
    /// What git found in the objects, such as `gitmodulesUpdate: disallowed submodule update setting`; none if it was not the
    /// objects that it refused. Pieces of them may be in the text.
    pub fn found(&self) -> Option<String> {
        let Self::Pack(Fault::Git(CallError::Failed { stderr, .. })) = self else { return None };
        let (_, found) = stderr.lines().find_map(|line| line.strip_prefix("error: object ")?.split_once(": "))?;
        Some(found.to_owned())
    }
}

/// As much as a header may have.
fn read_start(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes up to the pack.
fn header_length(bytes: &[u8]) -> Result<usize, Refusal> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or(Refusal::Header("it has no header"))?;
    Ok(end + 2)
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
        let bytes = read_start(file)?;
        let length = header_length(&bytes)?;
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
