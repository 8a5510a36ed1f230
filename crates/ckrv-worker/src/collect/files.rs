//! Declared artifacts: files of the work tree that match the job's globs, ignored ones too, copied and hashed in one pass.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use ckrv_types::artifact::FILES_PREFIX;
use ckrv_types::limits;
use globset::{GlobBuilder, GlobMatcher};
use sha2::{Digest, Sha256};

use super::hostile::{Entry, HostileTree, Kind};
use super::{CollectLimits, CollectedArtifact, Content, Job, content_type};

/// Folders below a glob's fixed part are searched this deep.
const DEPTH: usize = 200;

/// Every file that a glob matches, and one skipped entry for each glob that brings none.
pub(super) async fn collect(job: &Job<'_>) -> Vec<CollectedArtifact> {
    let globs = job.request.globs.clone();
    if globs.is_empty() {
        return Vec::new();
    }
    let (work_tree, output) = (job.request.checkout.work_tree.clone(), job.output("files"));
    let (limits, deadline) = (job.request.limits.clone(), job.deadline);
    let collected = tokio::task::spawn_blocking(move || {
        let tree = HostileTree::open(&work_tree)?;
        std::fs::create_dir(&output)?;
        let collector = Collector {
            tree,
            output,
            deadline,
            entries_left: limits.entries,
            bytes_left: limits.artifacts_bytes,
            limits,
            seen: HashSet::new(),
            artifacts: Vec::new(),
        };
        Ok::<_, io::Error>(collector.run(&globs))
    });
    collected.await.map_err(io::Error::other).and_then(|collected| collected).unwrap_or_else(|error| {
        let fail = |glob: &String| CollectedArtifact::failed(&format!("{FILES_PREFIX}{glob}"), &error);
        job.request.globs.iter().map(fail).collect()
    })
}

struct Collector {
    tree: HostileTree,
    output: PathBuf,
    limits: CollectLimits,
    deadline: Instant,
    entries_left: usize,
    bytes_left: u64,
    /// Globs may overlap.
    seen: HashSet<PathBuf>,
    artifacts: Vec<CollectedArtifact>,
}

/// A glob taken apart.
struct Pattern {
    matcher: GlobMatcher,
    /// The folders that it names without a wildcard.
    fixed: PathBuf,
    /// How deep below those it can match.
    depth: usize,
}

impl Pattern {
    fn parse(glob: &str) -> Result<Self, globset::Error> {
        let glob = glob.trim_start_matches("./").trim_end_matches('/');
        let matcher = GlobBuilder::new(glob).literal_separator(true).build()?.compile_matcher();
        let is_fixed = |part: &&str| !part.contains(['*', '?', '[', ']', '{', '}', '\\']);
        let parts: Vec<&str> = glob.split('/').collect();
        let fixed: PathBuf = parts[..parts.len() - 1].iter().copied().take_while(is_fixed).collect();
        // Braces may hold slashes, `**` any number of folders.
        let depth = if glob.contains("**") || glob.contains('{') { DEPTH } else { parts.len() - fixed.iter().count() };
        Ok(Self { matcher, fixed, depth })
    }
}

/// What a glob came upon besides files.
#[derive(Default)]
struct Tally {
    files: usize,
    folders: usize,
    skipped: usize,
}

impl Collector {
    fn run(mut self, globs: &[String]) -> Vec<CollectedArtifact> {
        for glob in globs {
            match Pattern::parse(glob) {
                Err(error) => self.skip(glob, format!("it is no glob: {}", error.kind())),
                Ok(pattern) => {
                    let tally = self.search(&pattern);
                    if tally.files == 0 && tally.skipped == 0 {
                        self.skip(glob, nothing(glob, tally.folders));
                    }
                }
            }
        }
        self.artifacts
    }

    fn search(&mut self, pattern: &Pattern) -> Tally {
        let mut tally = Tally::default();
        // The agent's repository is never opened, whatever is asked.
        let is_git = |name: &OsStr| name.eq_ignore_ascii_case(".git");
        let mut folders = vec![(pattern.fixed.clone(), 1)];
        folders.retain(|(fixed, _)| !fixed.iter().any(is_git));
        while let Some((folder, depth)) = folders.pop() {
            // A fixed part that is a link or not there is a glob without a match.
            let Ok(entries) = self.tree.list(&folder, self.entries_left) else { continue };
            if entries.len() > self.entries_left || Instant::now() >= self.deadline {
                self.entries_left = 0;
                continue;
            }
            self.entries_left -= entries.len();
            for entry in entries.into_iter().filter(|entry| !is_git(&entry.name)) {
                let path = folder.join(&entry.name);
                let is_match = pattern.matcher.is_match(&path);
                if entry.kind == Kind::Folder {
                    tally.folders += usize::from(is_match);
                    if depth < pattern.depth {
                        folders.push((path, depth + 1));
                    }
                } else if is_match && self.seen.insert(path.clone()) {
                    self.take(&path, &entry, &mut tally);
                } else if is_match {
                    tally.files += 1;
                }
            }
        }
        tally
    }

    fn take(&mut self, path: &Path, entry: &Entry, tally: &mut Tally) {
        if self.artifacts.len() >= self.limits.artifacts {
            tally.skipped += 1;
            if self.artifacts.len() == self.limits.artifacts {
                self.skip("", format!("more than {} files match: the others were left out", self.limits.artifacts));
            }
            return;
        }
        let shown = path.to_string_lossy().into_owned();
        if let Err(reason) = self.judge(path, entry) {
            tally.skipped += 1;
            return self.skip(&shown, reason);
        }
        tally.files += 1;
        let content = self.copy(path).unwrap_or_else(|error| Content::Failed { message: error.to_string() });
        self.artifacts.push(CollectedArtifact {
            name: format!("{FILES_PREFIX}{shown}"),
            content_type: content_type(path),
            content,
        });
    }

    /// Why it is left out.
    fn judge(&self, path: &Path, entry: &Entry) -> Result<(), String> {
        let name = path.to_str().ok_or("its name is not UTF-8")?;
        let chars = name.chars().count() + FILES_PREFIX.len();
        let most = self.limits.artifact_bytes.min(self.bytes_left);
        match entry.kind {
            Kind::Link => Err("it is a link, and links are not followed".to_owned()),
            Kind::Special | Kind::Folder => Err("it is not a regular file".to_owned()),
            Kind::File if chars > limits::ARTIFACT_NAME_CHARS || name.chars().any(char::is_control) => {
                Err("its name is too long or has control characters".to_owned())
            }
            Kind::File if Instant::now() >= self.deadline => Err("there was no time left".to_owned()),
            Kind::File if entry.stamp.size > most => {
                Err(format!("it has {} bytes, and {most} were left", entry.stamp.size))
            }
            Kind::File => Ok(()),
        }
    }

    /// Under a number: the name is the agent's.
    fn copy(&mut self, path: &Path) -> io::Result<Content> {
        let (source, _) = self.tree.file(path)?;
        let target = self.output.join(self.artifacts.len().to_string());
        let mut copy = File::create_new(&target)?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        let mut source = source.take(self.limits.artifact_bytes.min(self.bytes_left));
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = source.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            copy.write_all(&buffer[..count])?;
            size += count as u64;
        }
        self.bytes_left -= size;
        Ok(Content::File { path: target, size, sha256: hex::encode(hash.finalize()) })
    }

    fn skip(&mut self, name: &str, message: String) {
        let shown: String = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        self.artifacts.push(CollectedArtifact::skipped(&format!("{FILES_PREFIX}{shown}"), message));
    }
}

fn nothing(glob: &str, folders: usize) -> String {
    if folders > 0 {
        let within = glob.trim_end_matches('/');
        format!("it matches only folders; `{within}/**` takes the files in them")
    } else {
        "it matches no file".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_searched_no_wider_and_no_deeper_than_it_can_match() {
        for (glob, fixed, depth) in [
            ("report.txt", "", 1),
            ("target/*.log", "target", 1),
            ("a/b/*/c.xml", "a/b", 2),
            ("*/b/c", "", 3),
            ("a/**/x", "a", DEPTH),
            ("{a,b/c}/x", "", DEPTH),
        ] {
            let pattern = Pattern::parse(glob).unwrap();
            assert_eq!((pattern.fixed.as_path(), pattern.depth), (Path::new(fixed), depth), "{glob}");
        }
    }
}
