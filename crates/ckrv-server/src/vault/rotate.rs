//! Sealing anew, while servers serve: data keys by the current key-encryption key, and secrets by new data keys.
//!
//! Each is a transaction of its own with its line in the audit log, so that an interrupted run is begun again where it ended.
//! What does not open is left as it is, told, and does not keep the rest from being done. One run at a time: [`Turn`].

use std::collections::BTreeSet;

use ckrv_types::{CredentialId, OrgId};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::envelope::{DataKey, data_key_aad};
use super::keys::KeyError;
use super::{Sealed, Vault, VaultError, data_keys as keys};
use crate::db::audit::{self, Actor, Entry};
use crate::db::locks::Lock;
use crate::db::{Db, Tx, credentials, data_keys};

/// The right to seal anew. It goes with the connection that has it.
pub struct Turn(PgConnection);

impl Turn {
    /// None: another run has it.
    pub async fn take(db: &Db) -> Result<Option<Self>, sqlx::Error> {
        let mut lock = db.connection().await?;
        let is_ours: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(Lock::VaultRotation.key())
            .fetch_one(&mut lock)
            .await?;
        Ok(is_ours.then_some(Self(lock)))
    }

    pub async fn end(self) {
        // Its end is the lock's, whether it is an orderly one or not.
        let _ = self.0.close().await;
    }
}

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

    /// Gives every organization that has one a new data key, seals its secrets by it, and forgets the old ones. Keys by which
    /// something is sealed that does not open are kept.
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
        loop {
            let unreadable = self.reseal(db, org, (new.version, &key), done).await?;
            let left = forget_older(db, org, new.version).await?;
            // Somebody who had begun before may have written by an older one meanwhile.
            if left.iter().all(|id| unreadable.contains(id)) {
                done.unreadable.extend(unreadable.iter().map(|id| format!("credential {id} of {org}")));
                return Ok(());
            }
        }
    }

    /// Seals by this data key what older ones have sealed; what does not open.
    async fn reseal(
        &self,
        db: &Db,
        org: OrgId,
        (version, key): (i32, &DataKey),
        done: &mut Rotated,
    ) -> Result<BTreeSet<CredentialId>, VaultError> {
        let (mut unreadable, mut behind) = (BTreeSet::new(), None);
        loop {
            let mut tx = db.system().await?;
            let Some(sealed) = credentials::next_older(&mut tx, org, version, behind).await? else {
                return Ok(unreadable);
            };
            behind = Some(sealed.id);
            match self.open(&sealed.key, &sealed.bound(), &sealed.secret).await {
                Ok(secret) => {
                    let bytes = key.seal(secret.expose().as_bytes(), &sealed.bound().aad());
                    credentials::reseal(&mut tx, sealed.id, &Sealed { data_key: version, bytes }).await?;
                    tx.commit().await?;
                    done.secrets += 1;
                }
                Err(VaultError::Unreadable | VaultError::Key(KeyError::Unknown(_))) => {
                    unreadable.insert(sealed.id);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Forgets the data keys before `version` by which nothing is sealed; the credentials that others of them have sealed.
async fn forget_older(db: &Db, org: OrgId, version: i32) -> Result<Vec<CredentialId>, sqlx::Error> {
    let mut tx = db.system().await?;
    // Waits for those who are writing by one, and keeps out those who are about to.
    data_keys::lock_all(&mut tx, org).await?;
    let left = credentials::older(&mut tx, org, version).await?;
    data_keys::forget_unused(&mut tx, org, version).await?;
    tx.commit().await?;
    Ok(left)
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
