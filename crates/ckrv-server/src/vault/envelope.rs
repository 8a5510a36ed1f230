//! The cipher, and what each thing that is sealed is bound to.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): a random nonce of 24 bytes, then the ciphertext with its tag. 192 bits of
//! nonce make a repetition under one key out of the question.

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use ckrv_types::credential::CredentialKind;
use ckrv_types::{CredentialId, OrgId, ProjectId};

const NONCE_BYTES: usize = 24;
pub const KEY_BYTES: usize = 32;

/// A key that seals and opens. It shows nothing of itself.
#[derive(Clone)]
pub struct DataKey([u8; KEY_BYTES]);

impl DataKey {
    pub fn random() -> Self {
        Self(rand::random())
    }

    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// For the one who seals this key.
    pub const fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    pub fn seal(&self, plain: &[u8], aad: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), Payload { msg: plain, aad });
        [&nonce[..], &sealed.expect("fails for more than 256 GiB only")].concat()
    }

    /// None: it was sealed by another key, for another place, or is changed.
    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        self.cipher().decrypt(&XNonce::from(*nonce), Payload { msg, aad }).ok()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

/// A credential's secret in its place: whose it is, which version, and all that says where it may be sent and by whose jobs.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub org: OrgId,
    pub credential: CredentialId,
    pub version: u32,
    pub name: &'a str,
    pub kind: CredentialKind,
    pub host: &'a str,
    pub username: Option<&'a str>,
    pub project: Option<ProjectId>,
    pub known_hosts: Option<&'a str>,
}

impl Bound<'_> {
    /// Injective: each part has its length before it, and an absent one another mark than an empty one.
    pub fn aad(&self) -> Vec<u8> {
        let (org, credential) = (self.org.uuid(), self.credential.uuid());
        let project = self.project.map(|project| project.uuid().into_bytes());
        let parts: [Option<&[u8]>; 9] = [
            Some(org.as_bytes()),
            Some(credential.as_bytes()),
            Some(&self.version.to_be_bytes()),
            Some(self.name.as_bytes()),
            Some(self.kind.as_str().as_bytes()),
            Some(self.host.as_bytes()),
            self.username.map(str::as_bytes),
            project.as_ref().map(|project| &project[..]),
            self.known_hosts.map(str::as_bytes),
        ];
        joined(b"ckrv credential 1", &parts)
    }
}

/// What a data key is bound to.
pub fn data_key_aad(org: OrgId, version: i32) -> Vec<u8> {
    joined(b"ckrv data key 1", &[Some(org.uuid().as_bytes()), Some(&version.to_be_bytes())])
}

fn joined(purpose: &[u8], parts: &[Option<&[u8]>]) -> Vec<u8> {
    let mut aad = purpose.to_vec();
    for part in parts {
        match part {
            Some(part) => {
                aad.push(1);
                aad.extend((part.len() as u64).to_be_bytes());
                aad.extend(*part);
            }
            None => aad.push(0),
        }
    }
    aad
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> Bound<'static> {
        Bound {
            org: OrgId::new(),
            credential: CredentialId::new(),
            version: 2,
            name: "forge",
            kind: CredentialKind::GitToken,
            host: "git.example.com",
            username: Some("bot"),
            project: None,
            known_hosts: None,
        }
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_place_only() {
        let (key, bound) = (DataKey::random(), bound());
        let sealed = key.seal(b"hunter2", &bound.aad());
        assert_eq!(key.open(&sealed, &bound.aad()).unwrap(), b"hunter2");
        let elsewhere = [
            Bound { org: OrgId::new(), ..bound },
            Bound { credential: CredentialId::new(), ..bound },
            Bound { version: 1, ..bound },
            Bound { version: 3, ..bound },
            Bound { name: "forgd", ..bound },
            Bound { kind: CredentialKind::ModelKey, ..bound },
            Bound { host: "evil.example.com", ..bound },
            Bound { username: None, ..bound },
            Bound { username: Some(""), ..bound },
            Bound { project: Some(ProjectId::new()), ..bound },
            Bound { known_hosts: Some(""), ..bound },
            // What one part loses another gains.
            Bound { name: "forg", host: "egit.example.com", ..bound },
        ];
        for other in elsewhere {
            assert_eq!(key.open(&sealed, &other.aad()), None, "{other:?}");
        }
        assert_eq!(DataKey::random().open(&sealed, &bound.aad()), None);
    }

    #[test]
    fn a_changed_byte_anywhere_is_found() {
        let (key, aad) = (DataKey::random(), bound().aad());
        let sealed = key.seal(b"hunter2", &aad);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&changed, &aad), None, "byte {at}");
        }
        for length in [0, NONCE_BYTES - 1, NONCE_BYTES, sealed.len() - 1] {
            assert_eq!(key.open(&sealed[..length], &aad), None, "{length} bytes");
        }
    }

    #[test]
    fn the_same_secret_is_never_sealed_to_the_same_bytes() {
        let key = DataKey::random();
        assert_ne!(key.seal(b"hunter2", b""), key.seal(b"hunter2", b""));
    }
}
