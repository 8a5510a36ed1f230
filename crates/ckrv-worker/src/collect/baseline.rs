//! How the work tree's files looked before the agent ran, so that only what was touched is read again. It saves work and
//! decides nothing: an unknown file is simply read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::hostile::{HostileTree, Kind, Stamp};

/// A file changed within this many seconds of the newest one is not trusted: a later change could bear the same time.
const YOUNG_SECONDS: i64 = 1;
/// Beyond it, files are unknown.
const FILES: usize = 1_000_000;

/// The stamps of a fresh clone's files. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Baseline(Arc<HashMap<PathBuf, Stamp>>);

impl Baseline {
    /// Looks at every file of the work tree, without reading any. Folders that cannot be read are left out.
    pub async fn take(work_tree: &Path) -> Self {
        let work_tree = work_tree.to_owned();
        let stamps = tokio::task::spawn_blocking(move || stamps(&work_tree)).await;
        Self(Arc::new(stamps.unwrap_or_default()))
    }

    pub(super) fn is_untouched(&self, path: &Path, stamp: &Stamp) -> bool {
        self.0.get(path) == Some(stamp)
    }
}

fn stamps(work_tree: &Path) -> HashMap<PathBuf, Stamp> {
    let mut stamps = HashMap::new();
    let Ok(tree) = HostileTree::open(work_tree) else { return stamps };
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in tree.list(&folder, FILES).unwrap_or_default() {
            let path = folder.join(&entry.name);
            match entry.kind {
                Kind::Folder if entry.name != ".git" => folders.push(path),
                Kind::File if stamps.len() < FILES => {
                    stamps.insert(path, entry.stamp);
                }
                _ => (),
            }
        }
    }
    let newest = stamps.values().map(|stamp| stamp.ctime.0).max().unwrap_or_default();
    stamps.retain(|_, stamp| stamp.ctime.0 < newest - YOUNG_SECONDS);
    stamps
}
