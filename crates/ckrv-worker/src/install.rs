//! `ckrv-worker install`: an init container of ckrv's own image puts this static program where the container of any other
//! image can run it as the shim.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Anybody may run it, its maker alone may replace it.
const MODE: u32 = 0o755;

/// Copies the running program to `path`, whose folder exists. It is never there in part.
pub fn install(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut copy = tempfile::NamedTempFile::new_in(folder)?;
    io::copy(&mut File::open(std::env::current_exe()?)?, copy.as_file_mut())?;
    fs::set_permissions(copy.path(), Permissions::from_mode(MODE))?;
    copy.persist(path)?;
    Ok(())
}
