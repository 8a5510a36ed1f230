//! Finds the files of the work tree that count: everything but what `.gitignore` leaves out, `.git`, nested repositories
//! and special files.
//!
//! It goes down level by level. Each folder is made again in our *shadow* of the tree, with copies of its `.gitignore` and
//! `.gitattributes`, and git is asked there which names are ignored: its own rules, without a look at the hostile tree.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::git::CallError;

use super::Job;
use super::hostile::{HostileTree, Kind, Stamp};
use super::snapshot::Listing;
use super::warnings::Warnings;

/// Deeper folders are left as they were: git itself cannot go much further than a path of 4096 bytes.
const DEPTH: usize = 200;
/// A larger `.gitignore` or `.gitattributes` is not obeyed.
const RULES_BYTES: u64 = 1024 * 1024;
const RULES: [&str; 2] = [".gitignore", ".gitattributes"];

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files and links that belong into the tree's commit.
    pub files: Vec<FoundFile>,
    /// Folders that were not looked into: what was tracked there stays.
    pub closed: Vec<PathBuf>,
}

#[derive(Debug)]
pub(super) struct FoundFile {
    pub path: PathBuf,
    pub kind: Kind,
    pub stamp: Stamp,
}

/// Walks `tree`; the folders and rules are in `shadow` afterwards.
pub(super) async fn walk(
    job: &Job<'_>,
    tree: &Arc<HostileTree>,
    shadow: &Path,
    tracked: &Listing,
    warnings: &mut Warnings,
) -> Result<Found, CallError> {
    let mut found = Found::default();
    let mut level = Level { folders: vec![PathBuf::new()], entries_left: job.request.limits.entries };
    let deadline = job.deadline;
    for _ in 0..DEPTH {
        if level.folders.is_empty() {
            return Ok(found);
        }
        let (reader, folders, target) = (Arc::clone(tree), std::mem::take(&mut level.folders), shadow.to_owned());
        let entries_left = level.entries_left;
        let listed = tokio::task::spawn_blocking(move || list(&reader, folders, &target, entries_left, deadline)).await;
        let mut listed =
            listed.map_err(|error| CallError::Io { what: "listing".into(), source: io::Error::other(error) })?;
        warnings.extend(std::mem::take(&mut listed.warnings));
        found.closed.append(&mut listed.closed);
        level.entries_left -= level.entries_left.min(listed.entries.len());
        level.keep(job, shadow, tracked, listed.entries, &mut found).await?;
    }
    warnings.add(format!("folders more than {DEPTH} deep were left out"));
    found.closed.append(&mut level.folders);
    Ok(found)
}

struct Level {
    folders: Vec<PathBuf>,
    entries_left: usize,
}

impl Level {
    /// Sorts what was listed: files to the found ones, folders to the next level, ignored ones out unless git tracks them.
    async fn keep(
        &mut self,
        job: &Job<'_>,
        shadow: &Path,
        tracked: &Listing,
        entries: Vec<FoundFile>,
        found: &mut Found,
    ) -> Result<(), CallError> {
        let ignored = ignored(job, shadow, &entries).await?;
        for entry in entries {
            let is_ignored = ignored.contains(&entry.path);
            match entry.kind {
                Kind::Folder if !is_ignored || tracked.has_below(&entry.path) => self.folders.push(entry.path),
                Kind::File | Kind::Link if !is_ignored || tracked.has(&entry.path) => found.files.push(entry),
                _ => (),
            }
        }
        Ok(())
    }
}

/// Asks git, in the shadow.
async fn ignored(job: &Job<'_>, shadow: &Path, entries: &[FoundFile]) -> Result<HashSet<PathBuf>, CallError> {
    if entries.is_empty() {
        return Ok(HashSet::new());
    }
    let mut names = Vec::new();
    for entry in entries {
        // `./` keeps git from reading a name as pathspec magic, which this command cannot be told to leave.
        names.extend_from_slice(b"./");
        names.extend_from_slice(entry.path.as_os_str().as_bytes());
        names.push(0);
    }
    let answer_bytes = names.len();
    let call = job.git().env("GIT_LITERAL_PATHSPECS", "0").work_tree(shadow).args([
        "check-ignore",
        "--no-index",
        "-z",
        "--stdin",
    ]);
    let output = call.input(names).stdout_bytes(answer_bytes).run_any(&mut |_| ()).await?;
    // 1: none of them.
    if output.code > 1 {
        return Err(CallError::Failed { what: "check-ignore".into(), code: output.code, stderr: output.stderr });
    }
    let names = output.stdout.split(|byte| *byte == 0).filter_map(|name| name.strip_prefix(b"./"));
    Ok(names.map(|name| PathBuf::from(std::ffi::OsString::from_vec(name.to_vec()))).collect())
}

#[derive(Default)]
struct Listed {
    entries: Vec<FoundFile>,
    closed: Vec<PathBuf>,
    warnings: Warnings,
}

impl Listed {
    fn close(&mut self, folder: PathBuf, why: &str) {
        self.warnings.add(format!("`{}` was left as it was: {why}", folder.display()));
        self.closed.push(folder);
    }
}

/// Lists the folders of one level and lays out their shadow.
fn list(tree: &HostileTree, folders: Vec<PathBuf>, shadow: &Path, limit: usize, deadline: Instant) -> Listed {
    let mut listed = Listed::default();
    for folder in folders {
        if Instant::now() >= deadline {
            listed.close(folder, "there was no time left");
            continue;
        }
        let room = limit - limit.min(listed.entries.len());
        match tree.list(&folder, room) {
            Ok(entries) if entries.len() > room => listed.close(folder, "the tree has too many files"),
            Ok(entries) => {
                let is_git = |name: &std::ffi::OsStr| name.eq_ignore_ascii_case(".git");
                if !folder.as_os_str().is_empty() && entries.iter().any(|entry| is_git(&entry.name)) {
                    listed.close(folder, "it is a repository of its own");
                    continue;
                }
                if let Err(error) = lay_out(tree, &folder, shadow) {
                    listed.close(folder, &error.to_string());
                    continue;
                }
                for entry in entries.into_iter().filter(|entry| !is_git(&entry.name)) {
                    let path = folder.join(&entry.name);
                    if entry.kind == Kind::Special {
                        listed.warnings.add(format!("`{}` is neither file, folder nor link", path.display()));
                        continue;
                    }
                    // git asks the shadow whether a name is a folder.
                    if entry.kind == Kind::Folder && fs::create_dir(shadow.join(&path)).is_err() {
                        listed.close(path, "it could not be copied");
                        continue;
                    }
                    listed.entries.push(FoundFile { path, kind: entry.kind, stamp: entry.stamp });
                }
            }
            Err(error) => listed.close(folder, &error.to_string()),
        }
    }
    listed
}

/// Copies the folder's rules. What is no honest file of rules is not obeyed.
fn lay_out(tree: &HostileTree, folder: &Path, shadow: &Path) -> io::Result<()> {
    for name in RULES {
        let path = folder.join(name);
        if let Ok((file, stamp)) = tree.file(&path)
            && stamp.size <= RULES_BYTES
        {
            let mut rules = Vec::new();
            file.take(RULES_BYTES).read_to_end(&mut rules)?;
            fs::write(shadow.join(&path), rules)?;
        }
    }
    Ok(())
}
