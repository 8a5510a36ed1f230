//! The way to the orchestrator.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

use super::serve::ShimError;

/// How long the orchestrator's socket may take to appear (its image may still be pulled).
pub(super) const CONNECT_LIMIT: Duration = Duration::from_mins(5);
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// A socket that is there and refuses is one whose orchestrator has ended; unless it was seen in the moment of its making.
const REFUSED_LIMIT: Duration = Duration::from_secs(2);

/// Where the orchestrator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connect {
    /// In a container beside this one: its unix socket, waited for.
    Socket {
        path: PathBuf,
        /// This container's, which its agent gets too.
        environment: BTreeMap<String, String>,
    },
    /// Standard input is the socket: how [`super::Session::launch_local`] starts a shim.
    Inherited,
}

impl Connect {
    pub(super) async fn open(&self) -> Result<UnixStream, ShimError> {
        match self {
            Self::Inherited => standard_input().map_err(ShimError::Inherited),
            Self::Socket { path, .. } => wait_for(path).await,
        }
    }
}

async fn wait_for(path: &Path) -> Result<UnixStream, ShimError> {
    let deadline = Instant::now() + CONNECT_LIMIT;
    let mut refused_at = None;
    loop {
        let source = match UnixStream::connect(path).await {
            Ok(stream) => return Ok(stream),
            Err(source) => source,
        };
        let now = Instant::now();
        if source.kind() == io::ErrorKind::ConnectionRefused {
            if now.duration_since(*refused_at.get_or_insert(now)) >= REFUSED_LIMIT {
                return Err(ShimError::Lost);
            }
        } else {
            refused_at = None;
        }
        if now >= deadline {
            return Err(ShimError::Connect { path: path.to_owned(), source });
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}

/// A copy of standard input that children do not inherit (they get /dev/null in its place).
fn standard_input() -> io::Result<UnixStream> {
    let stream = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr()?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
