//! The system's keyring: the Secret Service on Linux, the keychain on macOS, the credential manager on Windows.
//!
//! Any of them may hang: a session bus that nobody answers on, a dialogue that nobody sees. So each call is made by a thread of
//! its own, which is left behind after [`LIMIT`].

use std::sync::Arc;
use std::time::Duration;

use keyring_core::{CredentialStore, Entry, Error};

use super::locker::{KEY_BYTES, Key};

const LIMIT: Duration = Duration::from_secs(3);
const SERVICE: &str = "ckrv";

/// Why a keyring is of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("it has not answered within {LIMIT:?}; is it locked?")]
    Silent,
    #[error("{0}")]
    Refused(String),
    #[error("it has no key named `{0}`")]
    NoKey(String),
    #[error("what it has under `{0}` is no key")]
    NotAKey(String),
}

pub(super) async fn get(entry: String) -> Result<Key, KeyringError> {
    let name = entry.clone();
    // As text: some keyrings keep nothing else.
    let text = limited(move || open(&entry)?.get_password()).await;
    let text = match text {
        Err(Failed::Keyring(Error::NoEntry)) => return Err(KeyringError::NoKey(name)),
        text => text?,
    };
    let mut key = [0; KEY_BYTES];
    hex::decode_to_slice(text, &mut key).map_err(|_| KeyringError::NotAKey(name))?;
    Ok(key)
}

pub(super) async fn set(entry: String, key: Key) -> Result<(), KeyringError> {
    Ok(limited(move || open(&entry)?.set_password(&hex::encode(key))).await?)
}

/// One that is not there is as good as removed.
pub(super) async fn remove(entry: String) -> Result<(), KeyringError> {
    match limited(move || open(&entry)?.delete_credential()).await {
        Err(Failed::Keyring(Error::NoEntry)) => Ok(()),
        done => Ok(done?),
    }
}

fn open(entry: &str) -> Result<Entry, Error> {
    store()?.build(SERVICE, entry, None)
}

#[cfg(target_os = "linux")]
fn store() -> Result<Arc<CredentialStore>, Error> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

#[cfg(target_os = "macos")]
fn store() -> Result<Arc<CredentialStore>, Error> {
    Ok(apple_native_keyring_store::keychain::Store::new()?)
}

#[cfg(windows)]
fn store() -> Result<Arc<CredentialStore>, Error> {
    Ok(windows_native_keyring_store::Store::new()?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn store() -> Result<Arc<CredentialStore>, Error> {
    Err(Error::NotSupportedByStore("no keyring of this system is known".to_owned()))
}

enum Failed {
    Silent,
    Keyring(Error),
}

impl From<Failed> for KeyringError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Silent => Self::Silent,
            // Not all of them: some carry what was kept.
            Failed::Keyring(
                error @ (Error::PlatformFailure(_)
                | Error::NoStorageAccess(_)
                | Error::NotSupportedByStore(_)
                | Error::BadStoreFormat(_)
                | Error::TooLong(..)
                | Error::Invalid(..)),
            ) => Self::Refused(error.to_string()),
            Failed::Keyring(_) => Self::Refused("it answered what cannot be understood".to_owned()),
        }
    }
}

async fn limited<T: Send + 'static>(call: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Failed> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Nobody may be waiting any more.
        let _ = tell.send(call());
    });
    match tokio::time::timeout(LIMIT, told).await {
        Ok(Ok(answer)) => answer.map_err(Failed::Keyring),
        // The thread is gone without a word, or still there.
        Ok(Err(_)) | Err(_) => Err(Failed::Silent),
    }
}
