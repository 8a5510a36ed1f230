//! Credentials that organizations let their jobs use, encrypted at rest.
//!
//! Each secret is sealed under its organization's data key, each data key under a key-encryption key that the database never
//! has ([`keys::KeyEncryption`]: from a file or the environment, or a key management service). What is sealed is bound to its
//! place ([`envelope`]): bytes that were changed, moved to another row or put back from an older version do not open.
//!
//! Written by the API ([`Vault::seal`]), read for the workers of attempts alone ([`give`]) and by the operator's re-sealing
//! ([`rotate`]). Nothing here answers a secret to a user, and nothing here is logged but names and ids.

pub mod data_keys;
pub mod envelope;
pub mod give;
pub mod keyring;
pub mod keys;
pub mod known_hosts;
pub mod rotate;
pub mod rules;
pub mod ssh_key;
pub mod wanted;

use std::sync::Arc;

use ckrv_types::{OrgId, Problem, ProblemCode, Secret};

use self::envelope::Bound;
use self::keys::{KeyEncryption, KeyError};
use crate::db::Db;
use crate::db::data_keys::StoredDataKey;
use crate::error::ApiError;

/// Why a secret was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Somebody else than the vault wrote the row.
    #[error("what is sealed does not open: its row was changed, moved or put back")]
    Unreadable,
    #[error("a data key cannot be used")]
    Key(#[source] KeyError),
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
}

impl From<KeyError> for VaultError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unreadable => Self::Unreadable,
            other => Self::Key(other),
        }
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Database(error) => error.into(),
            VaultError::Unreadable => Self::Internal("what the vault has sealed does not open"),
            // A server that is being given its keys: another one may know them, and this one after its restart.
            VaultError::Key(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the vault's key cannot be used");
                Problem::new(ProblemCode::Unavailable)
                    .detail("The key that credentials are encrypted with cannot be used at the moment.")
                    .into()
            }
        }
    }
}

/// A secret as it is kept.
pub struct Sealed {
    /// Version of the organization's data key.
    pub data_key: i32,
    pub bytes: Vec<u8>,
}

/// The way in and out.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<dyn KeyEncryption>,
}

impl Vault {
    pub fn new(keys: Arc<dyn KeyEncryption>) -> Self {
        Self { keys }
    }

    /// Seals a secret for its place under the organization's latest data key, of which the first is made here.
    pub async fn seal(&self, db: &Db, bound: &Bound<'_>, secret: &Secret) -> Result<Sealed, VaultError> {
        let (data_key, key) = data_keys::latest(db, self.keys.as_ref(), bound.org).await?;
        Ok(Sealed { data_key, bytes: key.seal(secret.expose().as_bytes(), &bound.aad()) })
    }

    /// Opens what was sealed for this very place.
    pub async fn open(&self, key: &StoredDataKey, bound: &Bound<'_>, sealed: &[u8]) -> Result<Secret, VaultError> {
        let key = self.data_key(bound.org, key).await?;
        let opened = key.open(sealed, &bound.aad()).ok_or(VaultError::Unreadable)?;
        String::from_utf8(opened).map(Secret::new).map_err(|_| VaultError::Unreadable)
    }

    async fn data_key(&self, org: OrgId, stored: &StoredDataKey) -> Result<envelope::DataKey, VaultError> {
        Ok(self.keys.unwrap(&stored.kek, &stored.sealed, &envelope::data_key_aad(org, stored.version)).await?)
    }
}
