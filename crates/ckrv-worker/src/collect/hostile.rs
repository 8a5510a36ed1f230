//! Reading a folder that an enemy has filled and may still be changing: every step goes from an open folder to a name in
//! it, links are never followed, and only regular files are opened for reading.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);
// Without O_NONBLOCK opening a FIFO would wait for its writer.
const FILE: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

/// The root of the tree. Paths given to it are relative to it.
#[derive(Debug)]
pub(super) struct HostileTree(OwnedFd);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link,
    /// FIFO, socket, device.
    Special,
}

/// What tells whether a file was touched. A process can set every time of a file but `ctime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub mode: u32,
    pub size: u64,
    pub inode: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    pub ctime: (i64, i64),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub name: OsString,
    pub kind: Kind,
    pub stamp: Stamp,
}

impl HostileTree {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, FOLDER, Mode::empty())?))
    }

    /// The names in a folder, at most `limit` and one, in no order; without `.` and `..`.
    pub fn list(&self, folder: &Path, limit: usize) -> io::Result<Vec<Entry>> {
        let mut dir = Dir::from_fd(self.descend(folder)?)?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
            if names.len() > limit {
                break;
            }
        }
        let entry = |name: OsString| {
            // One that is gone by now never was.
            let stat = fstatat(&dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
            Some(Entry { name, kind: kind(&stat), stamp: stamp(&stat) })
        };
        Ok(names.into_iter().filter_map(entry).collect())
    }

    /// A regular file, for reading.
    pub fn file(&self, path: &Path) -> io::Result<(File, Stamp)> {
        let (folder, name) = self.parent(path)?;
        // Looked at before it is opened: opening a device may do something.
        let is_file = |stat: &FileStat| kind(stat) == Kind::File;
        let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        if !is_file(&fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?) {
            return Err(refused());
        }
        let file = File::from(openat(&folder, name, FILE, Mode::empty())?);
        let stat = fstat(&file)?;
        if is_file(&stat) { Ok((file, stamp(&stat))) } else { Err(refused()) }
    }

    /// Where a symbolic link points.
    pub fn link(&self, path: &Path) -> io::Result<OsString> {
        let (folder, name) = self.parent(path)?;
        Ok(readlinkat(&folder, name)?)
    }

    fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a path below the work tree");
        let name = path.file_name().ok_or_else(refused)?;
        Ok((self.descend(path.parent().unwrap_or(Path::new("")))?, name))
    }

    fn descend(&self, folder: &Path) -> io::Result<OwnedFd> {
        let mut at: Option<OwnedFd> = None;
        for component in folder.components() {
            let Component::Normal(name) = component else {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a path below the work tree"));
            };
            let here: BorrowedFd = at.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
            at = Some(openat(here, name, FOLDER, Mode::empty())?);
        }
        match at {
            Some(folder) => Ok(folder),
            // A fresh one and no copy: copies share the place that reading has come to.
            None => Ok(openat(&self.0, ".", FOLDER, Mode::empty())?),
        }
    }
}

fn kind(stat: &FileStat) -> Kind {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Kind::File,
        SFlag::S_IFDIR => Kind::Folder,
        SFlag::S_IFLNK => Kind::Link,
        _ => Kind::Special,
    }
}

#[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "the widths of these fields differ between systems")]
fn stamp(stat: &FileStat) -> Stamp {
    Stamp {
        mode: stat.st_mode as u32,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        inode: stat.st_ino as u64,
        mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, HostileTree) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        std::fs::write(folder.path().join("d/file"), "inside").unwrap();
        let tree = HostileTree::open(folder.path()).unwrap();
        (folder, tree)
    }

    #[test]
    fn a_file_is_read_by_its_path() {
        let (_folder, tree) = tree();
        let (file, stamp) = tree.file(Path::new("d/file")).unwrap();
        assert_eq!((io::read_to_string(file).unwrap().as_str(), stamp.size), ("inside", 6));
    }

    #[test]
    fn no_link_is_followed_at_any_step() {
        let (folder, tree) = tree();
        symlink("/etc", folder.path().join("out")).unwrap();
        symlink("d", folder.path().join("within")).unwrap();
        symlink("/etc/passwd", folder.path().join("d/passwd")).unwrap();
        for path in ["out/passwd", "within/file", "d/passwd"] {
            assert!(tree.file(Path::new(path)).is_err(), "{path} was opened");
        }
        assert!(tree.list(Path::new("out"), 10).is_err());
        assert_eq!(tree.link(Path::new("d/passwd")).unwrap(), "/etc/passwd");
    }

    #[test]
    fn no_path_leads_out() {
        let (_folder, tree) = tree();
        for path in ["../x", "d/../../x", "/etc/passwd", "", ".."] {
            assert!(tree.file(Path::new(path)).is_err(), "{path} was opened");
        }
    }

    #[test]
    fn a_fifo_is_refused_at_once() {
        let (folder, tree) = tree();
        nix::unistd::mkfifo(&folder.path().join("fifo"), Mode::S_IRWXU).unwrap();
        assert!(tree.file(Path::new("fifo")).is_err());
        let entries = tree.list(Path::new(""), 10).unwrap();
        assert!(entries.iter().any(|entry| entry.name == "fifo" && entry.kind == Kind::Special));
    }

    #[test]
    fn a_crowded_folder_is_cut() {
        let (folder, tree) = tree();
        (0..50).for_each(|i| std::fs::write(folder.path().join(format!("f{i}")), "").unwrap());
        assert_eq!(tree.list(Path::new(""), 10).unwrap().len(), 11);
        assert_eq!(tree.list(Path::new(""), 100).unwrap().len(), 51);
        assert_eq!(tree.list(Path::new(""), 100).unwrap().len(), 51, "a second look sees the same");
    }
}
