//! The keys that access tokens are signed with, shared by all replicas through the database.
//!
//! A new key is published before it signs, so that whoever keeps the list for a while knows it; an old one stays published
//! until its last token is dead. Private keys are encrypted at rest under a key derived from the server's secret.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::jwt;
use crate::auth::tokens::Signer;
use crate::db::Db;
use crate::db::audit::{self, Actor, Entry};
use crate::db::signing_keys::{self, StoredKey};
use crate::error::{ApiError, ApiResult};

/// What was read is believed for so long: another replica's new key is known well before it signs.
const FRESH: Duration = Duration::from_mins(1);
/// An unknown key's name has the list read again, but not more often than this.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// From its publication until a key signs.
const PUBLISHED_BEFORE: time::Duration = time::Duration::minutes(10);
/// A key signs for so long, until the next one does.
const SIGNS_FOR: time::Duration = time::Duration::days(30);
/// So long after the next key has begun to sign, every token of this one is dead.
const PUBLISHED_AFTER: time::Duration = time::Duration::hours(1);

const NONCE_BYTES: usize = 24;

/// The list, as this replica read it last.
pub struct SigningKeys {
    cipher: XChaCha20Poly1305,
    read: RwLock<Option<(Instant, Arc<Vec<Key>>)>>,
}

/// RFC 7517, section 5.
#[derive(Debug, Serialize, ToSchema)]
pub struct JwkSet {
    pub keys: Vec<Jwk>,
}

/// A public key: RFC 7517, RFC 8037.
#[derive(Debug, Serialize, ToSchema)]
pub struct Jwk {
    pub kty: &'static str,
    pub crv: &'static str,
    pub x: String,
    pub kid: String,
    #[serde(rename = "use")]
    pub used_for: &'static str,
    pub alg: &'static str,
}

impl Jwk {
    const EMPTY: Self =
        Self { kty: "OKP", crv: "Ed25519", x: String::new(), kid: String::new(), used_for: "sig", alg: "EdDSA" };
}

/// One key.
pub struct Key {
    /// RFC 7638 thumbprint, `kid` in tokens and in the list.
    pub id: String,
    public: Vec<u8>,
    signs_from: OffsetDateTime,
    pub encoding: EncodingKey,
    pub decoding: DecodingKey,
}

impl SigningKeys {
    pub fn new(signer: &Signer) -> Self {
        jwt::install();
        let key = signer.derive("signing keys at rest");
        Self { cipher: XChaCha20Poly1305::new(&key.into()), read: RwLock::default() }
    }

    /// The key that signs now. Makes the first one.
    pub async fn signing(&self, db: &Db) -> ApiResult<Arc<Vec<Key>>> {
        self.list(db, FRESH).await
    }

    /// The list with the key of this id in it, if there is one.
    pub async fn with(&self, db: &Db, id: &str) -> ApiResult<Arc<Vec<Key>>> {
        let list = self.list(db, FRESH).await?;
        if list.iter().any(|key| key.id == id) { Ok(list) } else { self.list(db, READ_AGAIN).await }
    }

    /// The public keys.
    pub async fn public(&self, db: &Db) -> ApiResult<JwkSet> {
        let list = self.list(db, FRESH).await?;
        let keys = list.iter().map(|key| Jwk { kid: key.id.clone(), x: base64(&key.public), ..Jwk::EMPTY }).collect();
        Ok(JwkSet { keys })
    }

    /// Makes the next key when it is time, and forgets those whose tokens are all dead. For the replica that leads.
    pub async fn rotate(&self, db: &Db) -> ApiResult<()> {
        let mut tx = db.system().await?;
        signing_keys::lock(&mut tx).await?;
        let now = signing_keys::now(&mut tx).await?;
        let stored = signing_keys::list(&mut tx).await?;
        // With another secret than they were encrypted with, it is as if there were none.
        let newest = stored.iter().filter(|key| self.open(key).is_ok()).map(|key| key.signs_from).max();
        if newest.is_none_or(|newest| newest + SIGNS_FOR <= now + PUBLISHED_BEFORE) {
            let signs_from = if newest.is_some() { now + PUBLISHED_BEFORE } else { now };
            let made = self.make(signs_from)?;
            signing_keys::insert(&mut tx, &made).await?;
            let entry = Entry {
                org: None,
                actor: Actor::System,
                action: "signing-key.created",
                subject: Some(made.id),
                address: None,
                detail: json!({}),
            };
            audit::write(&mut tx, &entry).await?;
        }
        signing_keys::forget(&mut tx, PUBLISHED_AFTER).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn list(&self, db: &Db, fresh: Duration) -> ApiResult<Arc<Vec<Key>>> {
        let known = self.read.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, list)) = known.filter(|(at, _)| at.elapsed() < fresh) {
            return Ok(list);
        }
        let mut list = self.stored(db).await?;
        if list.is_empty() {
            self.rotate(db).await?;
            list = self.stored(db).await?;
        }
        let list = Arc::new(list);
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), Arc::clone(&list)));
        Ok(list)
    }

    async fn stored(&self, db: &Db) -> ApiResult<Vec<Key>> {
        let mut tx = db.system().await?;
        let stored = signing_keys::list(&mut tx).await?;
        tx.commit().await?;
        let opened = stored.iter().map(|key| (key, self.open(key)));
        Ok(opened
            .filter_map(|(key, opened)| {
                opened.inspect_err(|error| tracing::warn!(key = key.id, %error, "a signing key is left out")).ok()
            })
            .collect())
    }

    fn make(&self, signs_from: OffsetDateTime) -> ApiResult<StoredKey> {
        let failed = |_| ApiError::Internal("no signing key can be made");
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?;
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref())
            .map_err(|_| ApiError::Internal("a signing key that was just made cannot be read"))?;
        let public = pair.public_key().as_ref().to_vec();
        let id = thumbprint(&public);
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: pkcs8.as_ref(), aad: id.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| ApiError::Internal("a signing key cannot be encrypted"))?;
        Ok(StoredKey { id, public, sealed: [&nonce[..], &sealed].concat(), signs_from })
    }

    fn open(&self, stored: &StoredKey) -> ApiResult<Key> {
        let broken = ApiError::Internal("a signing key cannot be decrypted; is CKRV_SECRET_KEY another than before?");
        let Some((nonce, sealed)) = stored.sealed.split_first_chunk::<NONCE_BYTES>() else { return Err(broken) };
        let payload = Payload { msg: sealed, aad: stored.id.as_bytes() };
        let Ok(pkcs8) = self.cipher.decrypt(&XNonce::from(*nonce), payload) else { return Err(broken) };
        Ok(Key {
            id: stored.id.clone(),
            public: stored.public.clone(),
            signs_from: stored.signs_from,
            encoding: EncodingKey::from_ed_der(&pkcs8),
            decoding: DecodingKey::from_ed_der(&stored.public),
        })
    }
}

/// The newest key that is due by this process's clock; where that is late and none is, the oldest. Each is published, and so is
/// good to whoever checks.
pub fn due(list: &[Key]) -> Option<&Key> {
    let now = OffsetDateTime::now_utc();
    let due = list.iter().filter(|key| key.signs_from <= now).max_by_key(|key| key.signs_from);
    due.or_else(|| list.iter().min_by_key(|key| key.signs_from))
}

/// RFC 7638: SHA-256 over the required members in lexical order, which is how they are written here.
fn thumbprint(public: &[u8]) -> String {
    base64(&Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64(public))))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_key_that_is_due_signs_and_by_a_late_clock_the_oldest() {
        let keys = SigningKeys::new(&Signer::new(&ckrv_types::Secret::new("ab".repeat(32))).unwrap());
        let now = OffsetDateTime::now_utc();
        let of = |minutes: i64| keys.open(&keys.make(now + time::Duration::minutes(minutes)).unwrap()).unwrap();
        let list = [of(10), of(-1), of(-10)];
        assert_eq!(due(&list).map(|key| &key.id), Some(&list[1].id));
        let list = [of(10), of(1)];
        assert_eq!(due(&list).map(|key| &key.id), Some(&list[1].id));
        assert!(due(&[]).is_none());
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        // RFC 8037, appendix A.3.
        let public = base64::Engine::decode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        );
        assert_eq!(thumbprint(&public.unwrap()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
