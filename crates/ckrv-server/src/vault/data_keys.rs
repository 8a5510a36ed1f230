//! Each organization's data keys: made when the first secret is sealed, and looked at when a server starts.

use std::collections::BTreeMap;

use ckrv_types::OrgId;

use super::envelope::{DataKey, data_key_aad};
use super::keys::{KeyEncryption, KeyError};
use super::{Vault, VaultError, keyring};
use crate::db::data_keys::StoredDataKey;
use crate::db::{Db, data_keys};

/// Data keys of each key-encryption key that are tried at the start: one row that somebody has changed does not say that the
/// key is another.
const TRIED: i64 = 5;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(
        "{count} data keys of the vault are sealed by the key `{kek}`, which is not listed: list it again behind the current one \
         (CKRV_VAULT_KEY_FILE). If it is lost, so are those credentials: `ckrv-server admin forget-vault-key {kek}` removes them"
    )]
    NotListed { kek: String, count: i64 },
    #[error(
        "{count} data keys of the vault are sealed by `{kek}`, a key that is derived from another CKRV_SECRET_KEY: restore that \
         one, configure a vault key (CKRV_VAULT_KEY_FILE), and have `ckrv-server admin rotate-vault-key` seal everything by it; \
         then the secret key can be replaced. If the former one is lost, so are those credentials: \
         `ckrv-server admin forget-vault-key {kek}` removes them"
    )]
    OtherSecretKey { kek: String, count: i64 },
    #[error(
        "the listed key `{kek}` is not the one by which the vault's data keys were sealed: restore it, or list it under an id of its own"
    )]
    Another { kek: String },
    #[error("the vault's keys cannot be looked at")]
    Vault(#[from] VaultError),
}

impl Vault {
    /// Whether every data key can be opened by the keys that are listed: a server without one would have jobs fail that
    /// others carry.
    pub async fn check(&self, db: &Db) -> Result<(), Refusal> {
        let mut tx = db.system().await.map_err(VaultError::from)?;
        let counts = data_keys::counts(&mut tx).await.map_err(VaultError::from)?;
        let samples = data_keys::samples(&mut tx, TRIED).await.map_err(VaultError::from)?;
        tx.commit().await.map_err(VaultError::from)?;
        if let Some((kek, count)) = counts.into_iter().find(|(kek, _)| !self.keys.knows(kek)) {
            return Err(if keyring::is_derived(&kek) {
                Refusal::OtherSecretKey { kek, count }
            } else {
                Refusal::NotListed { kek, count }
            });
        }
        let mut opened: BTreeMap<&str, bool> = BTreeMap::new();
        for (org, stored) in &samples {
            let is_open = opened.entry(&stored.kek).or_default();
            match self.data_key(*org, stored).await {
                Ok(_) => *is_open = true,
                Err(VaultError::Unreadable) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match opened.into_iter().find(|(_, is_open)| !is_open) {
            Some((kek, _)) => Err(Refusal::Another { kek: kek.to_owned() }),
            None => Ok(()),
        }
    }
}

/// The organization's latest data key with its version. Makes the first one.
pub(super) async fn latest(db: &Db, keys: &dyn KeyEncryption, org: OrgId) -> Result<(i32, DataKey), VaultError> {
    let mut tx = db.system().await?;
    let found = data_keys::latest(&mut tx, org).await?;
    tx.commit().await?;
    let stored = match found {
        Some(stored) => stored,
        None => first(db, keys, org).await?,
    };
    let opened = keys.unwrap(&stored.kek, &stored.sealed, &data_key_aad(org, stored.version)).await;
    Ok((stored.version, opened?))
}

/// Of two at once one is kept.
async fn first(db: &Db, keys: &dyn KeyEncryption, org: OrgId) -> Result<StoredDataKey, VaultError> {
    let new = sealed(keys, org, 1, &DataKey::random()).await?;
    let mut tx = db.system().await?;
    data_keys::insert_first(&mut tx, org, &new).await?;
    let kept = data_keys::latest(&mut tx, org).await?;
    tx.commit().await?;
    kept.ok_or(VaultError::Unreadable)
}

/// A data key as it is kept, sealed by the current key-encryption key.
pub(super) async fn sealed(
    keys: &dyn KeyEncryption,
    org: OrgId,
    version: i32,
    key: &DataKey,
) -> Result<StoredDataKey, KeyError> {
    let sealed = keys.wrap(key, &data_key_aad(org, version)).await?;
    Ok(StoredDataKey { version, kek: keys.current().to_owned(), sealed })
}
