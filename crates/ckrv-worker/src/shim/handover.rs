//! The work tree changes hands between two users: the orchestrator's clone becomes the agent's before it runs, and what the
//! agent made can be read by the orchestrator after it has ended.
//!
//! Both are done on the agent's side with its rights. A file belongs to who makes it, and without privileges there is no
//! other way to give one away: so the clone is copied. Group permissions alone would not do, as only a file's owner may
//! change its mode and times, and as git and its like do not trust a repository of somebody else.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What everybody who gets to the volume may do with the agent's files: see them.
const READ_FILE: u32 = 0o444;
const READ_FOLDER: u32 = 0o555;

/// Copies the clone at `from` to `to`, which does not exist yet. The modes stay; links are copied as links.
pub(super) fn take_over(from: &Path, to: &Path) -> io::Result<()> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let (source, target) = (from.join(&folder), to.join(&folder));
        fs::create_dir(&target).map_err(|error| at(&target, &error))?;
        for entry in fs::read_dir(&source).map_err(|error| at(&source, &error))? {
            let entry = entry?;
            let (source, target) = (entry.path(), target.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(folder.join(entry.file_name()));
            } else if kind.is_symlink() {
                fs::read_link(source).and_then(|link| symlink(link, &target)).map_err(|error| at(&target, &error))?;
            } else {
                fs::copy(source, &target).map_err(|error| at(&target, &error))?;
            }
        }
    }
    Ok(())
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Lets others read what is below `tree`, but for its own `.git`, which nobody opens. What resists stays closed.
pub(super) fn open_up(tree: &Path) {
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten().filter(|entry| folder != tree || entry.file_name() != ".git") {
            let Ok(found) = entry.metadata() else { continue };
            if found.is_symlink() {
                continue;
            }
            let (mode, read) = (found.permissions().mode(), if found.is_dir() { READ_FOLDER } else { READ_FILE });
            if mode & read != read {
                // Somebody else's, which the agent was let to put here.
                let _ = fs::set_permissions(entry.path(), Permissions::from_mode(mode | read));
            }
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_tree_is_taken_over_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/tool"), "run").unwrap();
        fs::set_permissions(from.join("a/b/tool"), Permissions::from_mode(0o755)).unwrap();
        fs::write(from.join("object"), "kept").unwrap();
        fs::set_permissions(from.join("object"), Permissions::from_mode(0o444)).unwrap();
        symlink("/etc", from.join("a/out")).unwrap();
        symlink("nowhere", from.join("dangling")).unwrap();
        take_over(&from, &to).unwrap();
        assert_eq!(
            (fs::read_to_string(to.join("a/b/tool")).unwrap().as_str(), mode(&to.join("a/b/tool"))),
            ("run", 0o755)
        );
        assert_eq!(mode(&to.join("object")), 0o444);
        assert_eq!(fs::read_link(to.join("a/out")).unwrap(), Path::new("/etc"));
        assert_eq!(fs::read_link(to.join("dangling")).unwrap(), Path::new("nowhere"));
    }

    #[test]
    fn what_cannot_be_copied_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = take_over(&folder.path().join("missing"), &folder.path().join("to")).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }

    #[test]
    fn a_tree_is_opened_for_reading_and_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path();
        fs::create_dir_all(tree.join("closed/deep")).unwrap();
        fs::create_dir_all(tree.join(".git/x")).unwrap();
        let private = [tree.join("closed/deep/key"), tree.join("tool"), tree.join(".git/x/secret")];
        for (path, mode) in private.iter().zip([0o600, 0o700, 0o600]) {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(tree.join("closed/deep"), Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o000)).unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        symlink(outside.path(), tree.join("link")).unwrap();
        open_up(tree);
        assert_eq!((mode(&tree.join("closed")), mode(&tree.join("closed/deep"))), (0o555, 0o755));
        assert_eq!(private.map(|path| mode(&path)), [0o644, 0o744, 0o600]);
        assert_eq!(mode(outside.path()), 0o600, "a link was followed");
    }
}
