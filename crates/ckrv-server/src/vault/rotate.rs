//! Sealing anew, while servers serve: data keys by the current key-encryption key, and secrets by new data keys.
//!
//! Each is a transaction of its own with its line in the audit log, so that an interrupted run is begun again where it ended.
//! What does not open is left as it is, told, and does not keep the rest from being done.

use ckrv_types::{CredentialId, OrgId};
use serde_json::{Value, json};

use super::envelope::{DataKey, data_key_aad};
use super::keys::KeyError;
use super::{Sealed, Vault, VaultError, data_keys as keys};
use crate::db::audit::{self, Actor, Entry};
use crate::db::{Db, Tx, credentials, data_keys};

/// What a run did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Data keys that are sealed by the current key-encryption key since.
    pub data_keys: u64,
    /// Secrets that are sealed by new data keys since.
    pub secrets: u64,
    /// Organizations' data keys and credentials that do not open.
    pub unreadable: Vec<String>,
}

impl Vault {
    /// Seals every data key by the current key-encryption key that another one has sealed.
    pub async fn rotate(&self, db: &Db) -> Result<Rotated, VaultError> {
        let (mut done, mut behind) = (Rotated::default(), None);
        loop {
            let mut tx = db.system().await?;
            let Some((org, stored)) = data_keys::next_other(&mut tx, self.keys.current(), behind).await? else {
                return Ok(done);
            };
            behind = Some((org, stored.version));
            match self.keys.unwrap(&stored.kek, &stored.sealed, &data_key_aad(org, stored.version)).await {
                Ok(key) => {
                    let new = keys::sealed(self.keys.as_ref(), org, stored.version, &key).await?;
                    data_keys::replace(&mut tx, org, &new).await?;
                    let detail = json!({ "data_key": stored.version, "from": stored.kek, "to": new.kek });
                    note(&mut tx, org, "vault.rotated", None, detail).await?;
                    tx.commit().await?;
                    done.data_keys += 1;
                }
                Err(KeyError::Unreadable | KeyError::Unknown(_)) => {
                    done.unreadable.push(format!("data key {} of {org}, sealed by `{}`", stored.version, stored.kek));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives every organization that has one a new data key, seals its secrets by it, and forgets the old ones.
    pub async fn rotate_data_keys(&self, db: &Db) -> Result<Rotated, VaultError> {
        let mut tx = db.system().await?;
        let orgs = data_keys::orgs(&mut tx).await?;
        tx.commit().await?;
        let mut done = Rotated::default();
        for org in orgs {
            self.renew(db, org, &mut done).await?;
        }
        Ok(done)
    }

    async fn renew(&self, db: &Db, org: OrgId, done: &mut Rotated) -> Result<(), VaultError> {
        let key = DataKey::random();
        let mut tx = db.system().await?;
        let newest = data_keys::lock_all(&mut tx, org).await?.first().map_or(0, |newest| newest.version);
        let new = keys::sealed(self.keys.as_ref(), org, newest + 1, &key).await?;
        data_keys::insert(&mut tx, org, &new).await?;
        note(&mut tx, org, "vault.rotated", None, json!({ "data_key": new.version })).await?;
        tx.commit().await?;
        let mut behind = None;
        loop {
            let mut tx = db.system().await?;
            let Some(sealed) = credentials::next_older(&mut tx, org, new.version, behind).await? else { break };
            behind = Some(sealed.id);
            match self.open(&sealed.key, &sealed.bound(), &sealed.secret).await {
                Ok(secret) => {
                    let bytes = key.seal(secret.expose().as_bytes(), &sealed.bound().aad());
                    credentials::reseal(&mut tx, sealed.id, &Sealed { data_key: new.version, bytes }).await?;
                    tx.commit().await?;
                    done.secrets += 1;
                }
                Err(VaultError::Unreadable) => done.unreadable.push(format!("credential {} of {org}", sealed.id)),
                Err(error) => return Err(error),
            }
        }
        let mut tx = db.system().await?;
        data_keys::forget_unused(&mut tx, org, new.version).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Removes what a lost key-encryption key has sealed: credentials, which nobody can open any more, and their data keys. How
/// many credentials there were.
pub async fn forget(db: &Db, kek: &str) -> Result<usize, sqlx::Error> {
    let mut tx = db.system().await?;
    let removed = credentials::forget_of(&mut tx, kek).await?;
    for (org, id, name) in &removed {
        note(&mut tx, *org, "credential.removed", Some(*id), json!({ "name": name, "lost_key": kek })).await?;
    }
    data_keys::forget_of(&mut tx, kek).await?;
    tx.commit().await?;
    Ok(removed.len())
}

async fn note(
    tx: &mut Tx,
    org: OrgId,
    action: &str,
    subject: Option<CredentialId>,
    detail: Value,
) -> Result<(), sqlx::Error> {
    let subject = subject.map(|id| id.to_string());
    audit::write(tx, &Entry { org: Some(org), actor: Actor::System, action, subject, address: None, detail }).await
}
