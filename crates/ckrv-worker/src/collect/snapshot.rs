//! The work tree as a git tree object, on top of the agent's commits.
//!
//! An index of ours starts as the head's tree. What is untouched since the clone is as the base had it; what changed goes to
//! git as bytes ([`super::blobs`]) or, where git has to look at it, is copied into the shadow (see [`super::walk`]) and added
//! from there; what is gone is removed; what could not be looked at stays as the head has it. Line ends and such are
//! converted as the tree's attributes say, drivers (filters) do not exist.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::git::{Call, CallError};

use super::conversions::Conversions;
use super::hostile::{HostileTree, Kind};
use super::reader::Reader;
use super::walk::{Found, FoundFile, walk};
use super::warnings::Warnings;
use super::{Job, blobs};

const GITLINK: &str = "160000";
/// Room for the listing of a tree of a few million files.
const LISTING_BYTES: usize = 512 * 1024 * 1024;
/// In the pristine repository: no attribute of the tree has an effect on its content.
const NO_CONVERSION: &str = "* -text -eol -ident -filter -working-tree-encoding\n";

#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("{0}")]
    Git(#[from] CallError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The files of a commit, by path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing(BTreeMap<PathBuf, (String, String)>);

impl Listing {
    async fn read(job: &Job<'_>, commit: &str) -> Result<Self, CallError> {
        let call = job.git().args(["ls-tree", "-r", "-z", "--full-tree", commit]);
        Ok(Self::parse(&call.stdout_bytes(LISTING_BYTES).run().await?.stdout))
    }

    /// `mode type id TAB path NUL …`
    fn parse(bytes: &[u8]) -> Self {
        let line = |line: &[u8]| {
            let tab = line.iter().position(|byte| *byte == b'\t')?;
            let mut fields = str::from_utf8(&line[..tab]).ok()?.split(' ');
            let (mode, _, id) = (fields.next()?, fields.next()?, fields.next()?);
            let path = PathBuf::from(OsString::from_vec(line[tab + 1..].to_vec()));
            Some((path, (mode.to_owned(), id.to_owned())))
        };
        Self(bytes.split(|byte| *byte == 0).filter_map(line).collect())
    }

    pub fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    /// Whether there is anything in that folder (a submodule is nothing: it is not looked into).
    pub fn has_below(&self, folder: &Path) -> bool {
        let mut from = self.0.range(folder.to_owned()..);
        from.find(|(path, _)| path.as_path() != folder).is_some_and(|(path, _)| path.starts_with(folder))
    }
}

/// The tree object of the work tree; `None` when it is the same as the head's.
pub(super) async fn snapshot(
    job: &Job<'_>,
    head: &str,
    warnings: &mut Warnings,
) -> Result<Option<String>, SnapshotError> {
    let work_tree = job.request.checkout.work_tree.clone();
    let tree =
        Arc::new(tokio::task::spawn_blocking(move || HostileTree::open(&work_tree)).await.map_err(io::Error::other)??);
    let shadow = job.output("shadow");
    fs::create_dir(&shadow)?;
    let tracked = Listing::read(job, head).await?;
    let base = if head == job.base() { None } else { Some(Listing::read(job, job.base()).await?) };
    let found = walk(job, &tree, &shadow, &tracked, warnings).await?;
    let plan = Plan::make(job, found, &tracked, base.as_ref().unwrap_or(&tracked));
    if plan.settled.is_empty() && plan.touched.is_empty() {
        return Ok(None);
    }
    let index = Index { job, shadow: &shadow };
    index.begin(head, plan.settled).await?;
    let conversions = Conversions::ask(|| index.in_shadow(), &plan.touched).await;
    let stored = blobs::store(job, Reader::new(job, tree), plan.touched, conversions, warnings).await?;
    index.settle(stored.settled).await?;
    let copied = copy(stored.reader, &shadow, stored.left, warnings).await?;
    index.add_all(&copied, warnings).await?;
    index.tree(head).await
}

/// What is to be done to the head's index.
struct Plan {
    /// Lines for `update-index --index-info`: removals first.
    settled: Vec<u8>,
    /// Files whose content has to be read.
    touched: Vec<FoundFile>,
}

impl Plan {
    fn make(job: &Job<'_>, found: Found, tracked: &Listing, base: &Listing) -> Self {
        let seen: HashSet<&Path> = found.files.iter().map(|file| file.path.as_path()).collect();
        let mut settled = Vec::new();
        let no_id = "0".repeat(job.base().len());
        for (path, (mode, _)) in &tracked.0 {
            let is_closed = found.closed.iter().any(|folder| path.starts_with(folder));
            if mode != GITLINK && !is_closed && !seen.contains(path.as_path()) {
                settle(&mut settled, "0", &no_id, path);
            }
        }
        let mut touched = Vec::new();
        for file in found.files {
            match base.0.get(&file.path) {
                Some(entry) if job.request.baseline.is_untouched(&file.path, &file.stamp) => {
                    if tracked.0.get(&file.path) != Some(entry) {
                        settle(&mut settled, &entry.0, &entry.1, &file.path);
                    }
                }
                _ => touched.push(file),
            }
        }
        Self { settled, touched }
    }
}

/// Adds a line for `update-index --index-info`.
pub(super) fn settle(lines: &mut Vec<u8>, mode: &str, id: &str, path: &Path) {
    lines.extend_from_slice(format!("{mode} {id}\t").as_bytes());
    lines.extend_from_slice(path.as_os_str().as_bytes());
    lines.push(0);
}

/// Copies into the shadow; answers the paths, NUL after each. What cannot be copied stays as the head has it.
async fn copy(reader: Reader, shadow: &Path, files: Vec<FoundFile>, warnings: &mut Warnings) -> io::Result<Vec<u8>> {
    let copier = Copier { reader, shadow: shadow.to_owned(), warnings: Warnings::default() };
    let (paths, told) = tokio::task::spawn_blocking(move || copier.run(files)).await.map_err(io::Error::other)?;
    warnings.extend(told);
    Ok(paths)
}

struct Copier {
    reader: Reader,
    shadow: PathBuf,
    warnings: Warnings,
}

impl Copier {
    fn run(mut self, files: Vec<FoundFile>) -> (Vec<u8>, Warnings) {
        let mut paths = Vec::new();
        for file in files {
            if let Err(error) = self.copy(&file) {
                self.warnings.add(format!("`{}` was left as it was: {error}", file.path.display()));
                continue;
            }
            paths.extend_from_slice(file.path.as_os_str().as_bytes());
            paths.push(0);
        }
        (paths, self.warnings)
    }

    fn copy(&mut self, file: &FoundFile) -> io::Result<()> {
        let target = self.shadow.join(&file.path);
        if file.kind == Kind::Link {
            return symlink(self.reader.link(&file.path)?, target);
        }
        let (source, stamp) = self.reader.file(&file.path)?;
        // Of the mode git keeps the owner's right to execute.
        let mode = if stamp.mode & 0o100 == 0 { 0o600 } else { 0o700 };
        let mut copy = File::options().write(true).create(true).truncate(true).mode(mode).open(&target)?;
        let copied = io::copy(&mut source.take(self.reader.limit()), &mut copy)?;
        self.reader.has_read(copied);
        Ok(())
    }
}

/// The index that becomes the tree.
struct Index<'a> {
    job: &'a Job<'a>,
    shadow: &'a Path,
}

impl Index<'_> {
    fn git(&self) -> Call {
        self.job.git().env("GIT_INDEX_FILE", self.job.output("index"))
    }

    fn in_shadow(&self) -> Call {
        self.git().work_tree(self.shadow)
    }

    async fn begin(&self, head: &str, settled: Vec<u8>) -> Result<(), CallError> {
        self.git().args(["read-tree", head]).run().await?;
        self.settle(settled).await
    }

    async fn settle(&self, settled: Vec<u8>) -> Result<(), CallError> {
        let info = self.git().args(["update-index", "-z", "--replace", "--add", "--index-info"]);
        info.input(settled).run().await?;
        Ok(())
    }

    async fn add_all(&self, paths: &[u8], warnings: &mut Warnings) -> Result<(), SnapshotError> {
        if paths.is_empty() || self.add(paths).await.is_ok() {
            return Ok(());
        }
        let attributes = self.job.request.checkout.git_dir.join("info/attributes");
        fs::create_dir_all(self.job.request.checkout.git_dir.join("info"))?;
        fs::write(attributes, NO_CONVERSION)?;
        self.add(paths).await?;
        warnings.add("the tree's attributes (.gitattributes) could not be obeyed: files are as they lay there");
        Ok(())
    }

    async fn add(&self, paths: &[u8]) -> Result<(), CallError> {
        let add = self.in_shadow().args(["update-index", "-z", "--replace", "--add", "--stdin"]);
        add.input(paths.to_vec()).run().await?;
        Ok(())
    }

    /// None when it is the head's.
    async fn tree(&self, head: &str) -> Result<Option<String>, SnapshotError> {
        let tree = self.git().args(["write-tree"]).run().await?.line();
        let same = self.git().args(["rev-parse", &format!("{head}^{{tree}}")]).run().await?.line();
        Ok((tree != same).then_some(tree))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_knows_files_and_what_is_below_folders() {
        let id = "a".repeat(40);
        let text = format!("100644 blob {id}\ta/b\0100644 blob {id}\tab\0160000 commit {id}\tsub\0");
        let listing = Listing::parse(text.as_bytes());
        assert_eq!(listing.0.len(), 3);
        assert!(listing.has(Path::new("a/b")) && !listing.has(Path::new("a")));
        assert!(listing.has_below(Path::new("a")));
        assert!(!listing.has_below(Path::new("ab")) && !listing.has_below(Path::new("sub")));
        assert!(!listing.has_below(Path::new("z")));
    }
}
