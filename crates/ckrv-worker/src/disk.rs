//! How much of the disk a folder takes.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

/// Between two looks, at least; a large tree is looked at less often, so that looking stays below a twentieth of the time.
const EVERY: Duration = Duration::from_secs(2);
const SHARE: u32 = 20;
/// Blocks in stat(2) have this size whatever the file system's own is.
const BLOCK: u64 = 512;

/// Bytes allocated below `folder`, each file once however many names it has. Links are not followed. What disappears
/// meanwhile, or cannot be read, counts nothing.
pub fn usage(folder: &Path) -> u64 {
    let mut total = 0;
    let mut seen = HashSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                folders.push(entry.path());
            }
            if found.nlink() < 2 || found.is_dir() || seen.insert((found.dev(), found.ino())) {
                total += found.blocks() * BLOCK;
            }
        }
    }
    total
}

/// Ends when `folder` takes more than `quota` bytes; answers how many.
pub async fn over_quota(folder: PathBuf, quota: u64) -> u64 {
    loop {
        let started = Instant::now();
        let folder = folder.clone();
        // It only fails when the process is ending.
        let used = tokio::task::spawn_blocking(move || usage(&folder)).await.unwrap_or_default();
        if used > quota {
            return used;
        }
        tokio::time::sleep(EVERY.max(started.elapsed() * SHARE)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_by_what_they_occupy_once_for_all_their_names() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let before = usage(dir.path());
        let file = dir.path().join("sub/file");
        fs::write(&file, vec![1; 100_000]).unwrap();
        fs::hard_link(&file, dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", dir.path().join("elsewhere")).unwrap();
        let grown = usage(dir.path()) - before;
        assert!((100_000..120_000).contains(&grown), "{grown}");
    }

    #[tokio::test]
    async fn a_folder_over_its_quota_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), vec![1; 100_000]).unwrap();
        assert!(over_quota(dir.path().to_owned(), 50_000).await > 50_000);
    }
}
