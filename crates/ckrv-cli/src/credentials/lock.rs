//! `credentials/PROFILE.lock`: held by whoever changes a credential. The system takes it back from a process that dies.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::error::CredentialError;
use crate::sys;

/// Longer than a renewal takes that waits for a server to come back.
const LIMIT: Duration = Duration::from_mins(1);

/// Until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Lock {
    /// Waits for whoever has it.
    pub(super) async fn take(path: &Path) -> Result<Self, CredentialError> {
        let file = path.to_owned();
        let taken = tokio::task::spawn_blocking(move || {
            sys::create_private_folder(file.parent().unwrap_or(Path::new(".")))?;
            let file = sys::open_private(&file)?;
            file.lock()?;
            Ok(file)
        });
        let failed = |source| CredentialError::File { verb: "lock", path: path.to_owned(), source };
        match tokio::time::timeout(LIMIT, taken).await {
            Ok(Ok(file)) => file.map(Self).map_err(failed),
            Ok(Err(error)) => Err(failed(std::io::Error::other(error))),
            Err(_) => Err(CredentialError::Held { path: path.to_owned() }),
        }
    }
}
