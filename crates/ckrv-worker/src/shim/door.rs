//! The orchestrator's socket in a pod, where its agent's container comes from.
//!
//! The socket appears under its name when it can be connected to, and with its mode: a shim that finds it refusing knows
//! that its orchestrator is gone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;

use super::session::{Session, SessionError};

/// For the two users of a pod, through the group that they share.
const MODE: u32 = 0o660;
/// Between two refusals: whoever knocks without end does not fill the log.
const REFUSE_EVERY: Duration = Duration::from_secs(1);

/// A socket for one shim.
#[derive(Debug)]
pub struct Door {
    listener: Arc<UnixListener>,
    /// Who is let in (SO_PEERCRED).
    uid: u32,
}

impl Door {
    /// Listens at `path` for the shim of the user `uid`. Must be called within a runtime.
    pub fn open(path: &Path, uid: u32) -> io::Result<Self> {
        let mut unready = path.as_os_str().to_owned();
        unready.push(".new");
        let unready = Path::new(&unready);
        match fs::remove_file(unready) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
        let listener = UnixListener::bind(unready)?;
        fs::set_permissions(unready, Permissions::from_mode(MODE))?;
        fs::rename(unready, path)?;
        Ok(Self { listener: Arc::new(listener), uid })
    }

    /// Lets in the first shim of the right user, within `limit`. Everybody who comes later is refused. `folder`: see
    /// [`Session::accept`].
    pub async fn admit(&self, folder: &Path, limit: Duration) -> Result<Session, SessionError> {
        let session = Session::accept(&self.listener, Some(self.uid), folder, limit).await?;
        tokio::spawn(refuse(Arc::clone(&self.listener)));
        Ok(session)
    }
}

/// Ends with the process.
async fn refuse(listener: Arc<UnixListener>) {
    while let Ok((stream, _)) = listener.accept().await {
        let uid = stream.peer_cred().map(|peer| peer.uid()).ok();
        tracing::warn!(uid, "somebody came to the shim's socket after the shim, and was refused");
        drop(stream);
        tokio::time::sleep(REFUSE_EVERY).await;
    }
}
