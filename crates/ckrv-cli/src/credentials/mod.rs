//! What profiles are signed in with: the file `credentials/PROFILE`, and who may open it.
//!
//! The file holds a login's tokens (or an API key), encrypted ([`envelope`]) with a key that is kept elsewhere
//! ([`locker`]): in the system's keyring, in a file of the user's, or in their head. Whoever changes the file holds the lock
//! `credentials/PROFILE.lock` and reads it again first; reading takes no lock, for the file is replaced as a whole.
//! [`source`] gives the tokens out and renews them.

mod envelope;
mod error;
mod keyring;
mod lock;
mod locker;
pub mod source;

use std::path::PathBuf;

use time::OffsetDateTime;
use url::Url;

use ckrv_client::oauth::Tokens;
use ckrv_types::Secret;

pub use envelope::Holds;
use envelope::{Envelope, Owner};
pub use error::CredentialError;
pub use lock::Lock;
pub use locker::{KeySources, Locker};

use crate::home::{self, Home};

/// What a profile is signed in with. It has neither `Debug` nor `Serialize`.
pub enum Kept {
    Login(Login),
    /// An API key that was given at login.
    Key(Secret),
}

/// A login's newest tokens.
pub struct Login {
    pub access: Secret,
    pub refresh: Secret,
    /// Of the access token, by this machine's clock.
    pub expires_at: OffsetDateTime,
}

impl From<Tokens> for Login {
    fn from(tokens: Tokens) -> Self {
        let life = time::Duration::try_from(tokens.expires_in).unwrap_or(time::Duration::ZERO);
        let expires_at = OffsetDateTime::now_utc().checked_add(life).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self { access: tokens.access, refresh: tokens.refresh, expires_at }
    }
}

/// The place of one profile's credential.
#[derive(Debug, Clone)]
pub struct Store {
    owner: Owner,
    path: PathBuf,
    lock: PathBuf,
    keys: KeySources,
}

/// What was read, and what it is to be locked with again.
pub struct Opened {
    pub kept: Kept,
    pub locker: Locker,
}

impl Store {
    /// `profile` is a good name of one.
    pub fn new(home: &Home, profile: &str, server: &Url, keys: KeySources) -> Self {
        let folder = home.credentials();
        Self {
            owner: Owner { profile: profile.to_owned(), server: server.to_string() },
            path: folder.join(profile),
            lock: folder.join(format!("{profile}.lock")),
            keys,
        }
    }

    /// Nobody is asked for a passphrase.
    #[must_use]
    pub fn without_asking(self) -> Self {
        Self { keys: KeySources { may_ask: false, ..self.keys }, ..self }
    }

    pub fn profile(&self) -> &str {
        &self.owner.profile
    }

    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Whoever changes the file holds this.
    pub async fn lock(&self) -> Result<Lock, CredentialError> {
        Lock::take(&self.lock).await
    }

    /// What kind of credential there is, and in words where; none: the profile is signed out. Opens nothing.
    pub fn look(&self) -> Result<Option<(Holds, String)>, CredentialError> {
        let Some(envelope) = self.envelope()? else { return Ok(None) };
        let place = format!("{}, {}", self.path.display(), envelope.locked_with());
        Ok(Some((envelope.holds(), place)))
    }

    /// Reads and decrypts.
    pub async fn read(&self) -> Result<Opened, CredentialError> {
        let envelope =
            self.envelope()?.ok_or_else(|| CredentialError::SignedOut { profile: self.profile().to_owned() })?;
        let locker = Locker::of(envelope.place(), &self.keys, &self.path).await?;
        let kept = envelope.open(&locker, &self.owner).ok_or_else(|| self.broken())?;
        Ok(Opened { kept, locker })
    }

    /// A key to encrypt a new credential with, by what the user has said; found before anybody is bothered with a login.
    pub async fn locker(&self, insecure: bool) -> Result<Locker, CredentialError> {
        let before = self.envelope().ok().flatten();
        Locker::choose(&self.keys, insecure, before.as_ref().map(Envelope::place), &self.owner.entry()).await
    }

    /// Encrypts and writes, as a whole or not at all; on disk when it returns. The caller holds the lock.
    pub fn write(&self, kept: &Kept, locker: &Locker, _held: &Lock) -> Result<(), CredentialError> {
        let text = Envelope::seal(kept, locker, &self.owner).text();
        home::replace(&self.path, &text).map_err(|source| self.file("write", source))
    }

    /// Removes the file, and the key that was only good for it. The lock's file stays: others may be waiting for it.
    pub async fn forget(&self, _held: &Lock) -> Result<(), CredentialError> {
        let place = self.envelope().ok().flatten().map(|envelope| envelope.place().clone());
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(self.file("remove", error)),
            _ => {}
        }
        if let Some(place) = place {
            // Without the file, the key is of no use to anybody.
            let _ = place.forget().await;
        }
        Ok(())
    }

    fn envelope(&self) -> Result<Option<Envelope>, CredentialError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.file("read", error)),
        };
        Envelope::parse(&text).map(Some).ok_or_else(|| CredentialError::Unreadable { path: self.path.clone() })
    }

    fn broken(&self) -> CredentialError {
        CredentialError::Undecipherable { path: self.path.clone() }
    }

    fn file(&self, verb: &'static str, source: std::io::Error) -> CredentialError {
        CredentialError::File { verb, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
