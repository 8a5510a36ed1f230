//! The form of `credentials/PROFILE`: JSON, of which all but what is secret can be read.
//!
//! ```text
//! {"version":1,"holds":"login","key":{"in":"keyring","entry":"…"},"sealed":"<base64 of nonce and ciphertext>"}
//! ```
//! Sealed by XChaCha20-Poly1305 with a new random nonce each time. Authenticated with it are the version, what it holds, the
//! profile and its server: a file that is moved to another profile, or a profile that is pointed at another server, does
//! not open.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use ckrv_types::Secret;

use super::locker::{Locker, Place};
use super::{Kept, Login};

const VERSION: u32 = 1;
const NONCE_BYTES: usize = 24;

/// What kind of credential it is; no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    Login,
    Key,
}

/// Whose credential it is.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub profile: String,
    pub server: String,
}

impl Owner {
    /// The name of its key in a keyring, for people who look there.
    pub(super) fn entry(&self) -> String {
        format!("{} at {}", self.profile, self.server)
    }

    /// No part can hold a line's end.
    fn associated(&self, holds: Holds) -> String {
        format!("ckrv credentials {VERSION}\n{holds:?}\n{}\n{}", self.profile, self.server)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Envelope {
    version: u32,
    holds: Holds,
    key: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    /// By `--insecure-storage` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    plain: Option<Content>,
}

/// The one place where tokens leave their type.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Content {
    Login {
        access: String,
        refresh: String,
        #[serde(with = "time::serde::timestamp")]
        expires_at: OffsetDateTime,
    },
    Key {
        key: String,
    },
}

impl Envelope {
    /// None: this version does not understand it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|envelope: &Self| envelope.version == VERSION)
    }

    pub(super) fn text(&self) -> String {
        let text = serde_json::to_string(self).expect("texts and numbers can be written as JSON");
        format!("{text}\n")
    }

    pub(super) fn holds(&self) -> Holds {
        self.holds
    }

    pub(super) fn place(&self) -> &Place {
        &self.key
    }

    /// In words.
    pub(super) fn locked_with(&self) -> &'static str {
        match self.key {
            Place::Keyring { .. } => "encrypted; the key is in the system's keyring",
            Place::File => "encrypted; the key is in a file of yours",
            Place::Passphrase { .. } => "encrypted with your passphrase",
            Place::None => "in plain text",
        }
    }

    pub(super) fn seal(kept: &Kept, locker: &Locker, owner: &Owner) -> Self {
        let (holds, content) = match kept {
            Kept::Login(Login { access, refresh, expires_at }) => {
                let (access, refresh) = (access.expose().to_owned(), refresh.expose().to_owned());
                (Holds::Login, Content::Login { access, refresh, expires_at: *expires_at })
            }
            Kept::Key(key) => (Holds::Key, Content::Key { key: key.expose().to_owned() }),
        };
        let (mut sealed, mut plain) = (None, None);
        match locker.cipher() {
            None => plain = Some(content),
            Some(cipher) => sealed = Some(encrypt(&cipher, &content, &owner.associated(holds))),
        }
        Self { version: VERSION, holds, key: locker.place().clone(), sealed, plain }
    }

    /// None: the key is another one, or somebody has changed the file.
    pub(super) fn open(&self, locker: &Locker, owner: &Owner) -> Option<Kept> {
        let content = match (locker.cipher(), &self.sealed, &self.plain) {
            (Some(cipher), Some(sealed), _) => decrypt(&cipher, sealed, &owner.associated(self.holds))?,
            (None, _, Some(plain)) => serde_json::to_vec(plain).ok()?,
            _ => return None,
        };
        Some(match serde_json::from_slice(&content).ok()? {
            Content::Login { access, refresh, expires_at } => {
                Kept::Login(Login { access: Secret::new(access), refresh: Secret::new(refresh), expires_at })
            }
            Content::Key { key } => Kept::Key(Secret::new(key)),
        })
    }
}

fn encrypt(cipher: &XChaCha20Poly1305, content: &Content, associated: &str) -> String {
    let nonce: [u8; NONCE_BYTES] = rand::random();
    let text = serde_json::to_vec(content).expect("texts and numbers can be written as JSON");
    let payload = Payload { msg: &text, aad: associated.as_bytes() };
    let sealed = cipher.encrypt(&XNonce::from(nonce), payload).expect("a few hundred bytes can be encrypted");
    STANDARD.encode([&nonce[..], &sealed].concat())
}

fn decrypt(cipher: &XChaCha20Poly1305, sealed: &str, associated: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE_BYTES>()?;
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: associated.as_bytes() }).ok()
}

impl Locker {
    fn cipher(&self) -> Option<XChaCha20Poly1305> {
        self.key().map(|key| XChaCha20Poly1305::new(&(*key).into()))
    }
}
