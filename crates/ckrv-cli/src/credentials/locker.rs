//! The key of a credential's file: where it is kept, and how it is got.
//!
//! On a desktop a random key is in the system's keyring. Where there is none, the user says: a key file (`CKRV_KEY_FILE`), a
//! passphrase (`CKRV_PASSPHRASE_FILE`, or asked for at a terminal), or no encryption at all.

use std::io;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use super::error::CredentialError;
use super::keyring;
use crate::sys;

pub(super) const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// RFC 9106, section 4, the second recommended option, with one lane: nobody attacks it by thousands in parallel.
const ARGON2: Cost = Cost { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
/// What a file may ask for at most: it must not take the machine's memory.
const MOST: Cost = Cost { memory_kib: 1024 * 1024, passes: 16, lanes: 16 };

pub(super) type Key = [u8; KEY_BYTES];

/// What the user has said of keys.
#[derive(Debug, Clone, Default)]
pub struct KeySources {
    pub key_file: Option<PathBuf>,
    pub passphrase_file: Option<PathBuf>,
    /// There is a terminal at which a passphrase can be asked for.
    pub may_ask: bool,
}

/// Where a key is kept, as the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "lowercase")]
pub(super) enum Place {
    Keyring { entry: String },
    File,
    Passphrase { salt: String, cost: Cost },
    None,
}

/// Of Argon2id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Place {
    /// Forgets a key that was made for one file.
    pub(super) async fn forget(self) -> Result<(), keyring::KeyringError> {
        match self {
            Self::Keyring { entry } => keyring::remove(entry).await,
            Self::File | Self::Passphrase { .. } | Self::None => Ok(()),
        }
    }
}

/// A key and its place. It has no `Debug`.
pub struct Locker {
    place: Place,
    /// None: nothing is encrypted.
    key: Option<Key>,
}

impl Locker {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Without encryption, what is kept can be read by whoever reads the file.
    pub fn is_insecure(&self) -> bool {
        self.key.is_none()
    }

    /// The key for a new file, by the first of: what was said in so many words, the keyring, the terminal. `before`: what the
    /// file was locked with until now; `entry`: the key's name in the keyring.
    pub(super) async fn choose(
        keys: &KeySources,
        insecure: bool,
        before: Option<&Place>,
        entry: &str,
    ) -> Result<Self, CredentialError> {
        if insecure {
            return Ok(Self { place: Place::None, key: None });
        }
        if let Some(path) = &keys.key_file {
            return Ok(Self { place: Place::File, key: Some(key_in(path)?) });
        }
        if let Some(path) = &keys.passphrase_file {
            return Self::new_passphrase(&private_text(path)?);
        }
        let problem = match Self::in_keyring(entry, before).await {
            Ok(locker) => return Ok(locker),
            Err(problem) => problem,
        };
        if !keys.may_ask {
            return Err(CredentialError::NoKeyring { source: problem });
        }
        let text = ask(&format!("There is no keyring ({problem}).\nA passphrase to encrypt the login with: "))?;
        if ask("The same again: ")? != text {
            return Err(CredentialError::Mistyped);
        }
        Self::new_passphrase(&text)
    }

    /// The key of a file at `path` that was locked with `place`.
    pub(super) async fn of(place: &Place, keys: &KeySources, path: &Path) -> Result<Self, CredentialError> {
        let owned = || path.to_owned();
        let key = match place {
            Place::None => None,
            Place::Keyring { entry } => {
                let key = keyring::get(entry.clone()).await;
                Some(key.map_err(|source| CredentialError::Keyring { path: owned(), source })?)
            }
            Place::File => {
                let file = keys.key_file.as_ref().ok_or_else(|| CredentialError::NeedsKeyFile { path: owned() })?;
                Some(key_in(file)?)
            }
            Place::Passphrase { salt, cost } => {
                let text = match &keys.passphrase_file {
                    Some(file) => private_text(file)?,
                    None if keys.may_ask => ask(&format!("Passphrase of {}: ", path.display()))?,
                    None => return Err(CredentialError::NeedsPassphrase { path: owned() }),
                };
                let key = hex::decode(salt).ok().and_then(|salt| derive(&text, &salt, *cost));
                Some(key.ok_or_else(|| CredentialError::Unreadable { path: owned() })?)
            }
        };
        Ok(Self { place: place.clone(), key })
    }

    /// The key that is there already serves the new file, too: until it is written, the old one can be read.
    async fn in_keyring(entry: &str, before: Option<&Place>) -> Result<Self, keyring::KeyringError> {
        let place = Place::Keyring { entry: entry.to_owned() };
        if before == Some(&place)
            && let Ok(key) = keyring::get(entry.to_owned()).await
        {
            return Ok(Self { place, key: Some(key) });
        }
        let key: Key = rand::random();
        keyring::set(entry.to_owned(), key).await?;
        Ok(Self { place, key: Some(key) })
    }

    fn new_passphrase(text: &str) -> Result<Self, CredentialError> {
        if text.is_empty() {
            return Err(CredentialError::EmptyPassphrase);
        }
        let salt: [u8; SALT_BYTES] = rand::random();
        let key = derive(text, &salt, ARGON2).expect("the cost is one that Argon2 knows");
        Ok(Self { place: Place::Passphrase { salt: hex::encode(salt), cost: ARGON2 }, key: Some(key) })
    }
}

/// None: no cost that is borne.
fn derive(passphrase: &str, salt: &[u8], cost: Cost) -> Option<Key> {
    if cost.memory_kib > MOST.memory_kib || cost.passes > MOST.passes || cost.lanes > MOST.lanes {
        return None;
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES)).ok()?;
    let mut key = [0; KEY_BYTES];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.as_bytes(), salt, &mut key).ok()?;
    Some(key)
}

/// 64 hex digits.
fn key_in(path: &Path) -> Result<Key, CredentialError> {
    let mut key = [0; KEY_BYTES];
    let text = private_text(path).map_err(|error| match error {
        CredentialError::File { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
            CredentialError::NoKeyFile { path, source }
        }
        error => error,
    })?;
    hex::decode_to_slice(&text, &mut key).map_err(|_| CredentialError::KeyFile { path: path.to_owned() })?;
    Ok(key)
}

/// The content of a file that only its user may read, without its last line's end.
fn private_text(path: &Path) -> Result<String, CredentialError> {
    let failed = |source| CredentialError::File { verb: "read", path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !sys::is_private(&metadata) {
        return Err(CredentialError::OpenToOthers { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Blocks, and rightly so: nothing else goes on, and the terminal must be put back as it was.
fn ask(words: &str) -> Result<String, CredentialError> {
    rpassword::prompt_password(words).map_err(|source| CredentialError::Ask { source })
}
