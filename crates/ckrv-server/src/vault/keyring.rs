//! Key-encryption keys that the server holds: from a file or a variable, or derived from its secret key.
//!
//! A line is `id:hex`. The first seals, all open: a new key is put in front, `ckrv-server admin rotate-vault-key` seals all
//! data keys by it, and the old one is taken away.

use std::fs;
use std::io;
use std::path::PathBuf;

use ckrv_types::spec::is_name;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use sha2::{Digest as _, Sha256};

use super::envelope::{DataKey, KEY_BYTES};
use super::keys::{KeyEncryption, KeyError};
use crate::auth::tokens::Signer;
use crate::config::VaultConfig;

/// No key of an administrator's begins with it.
const DERIVED: &str = "derived";
const DERIVED_FOR: &str = "vault";
/// Bytes of its hash in a derived key's id.
const FINGERPRINT_BYTES: usize = 4;

/// Why the keys cannot be used. Never carries a piece of one.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error("cannot read the vault's keys in {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{from}: there is no key; a line is `id:` and 64 hex digits")]
    None { from: String },
    #[error("{from}: line {line} is not `id:` and 64 hex digits")]
    Line { from: String, line: usize },
    #[error("{from}: line {line}: an id has 1 to 63 of a-z 0-9 - and does not begin with `derived`")]
    Id { from: String, line: usize },
    #[error("{from}: the id `{id}` is there twice")]
    Twice { from: String, id: String },
}

/// The keys, the one that seals first.
pub struct Keyring(Vec<Kek>);

struct Kek {
    id: String,
    key: DataKey,
}

impl Keyring {
    /// What is configured; otherwise a key that the server's own makes. That one can always be read by: so that whoever
    /// begins to configure keys has only to re-seal.
    pub fn load(config: &VaultConfig, signer: &Signer) -> Result<Self, KeyringError> {
        let mut keys = match (&config.vault_key_file, &config.vault_key) {
            (Some(path), _) => {
                let text =
                    fs::read_to_string(path).map_err(|source| KeyringError::Read { path: path.clone(), source })?;
                parse(&text, &path.display().to_string())?
            }
            (None, Some(text)) => parse(text.expose(), "CKRV_VAULT_KEY")?,
            (None, None) => Vec::new(),
        };
        keys.push(derived(signer));
        Ok(Self(keys))
    }

    /// Whether nobody has configured a key.
    pub fn is_derived(&self) -> bool {
        is_derived(self.current())
    }
}

/// Whether the key of this id is made of a server's secret key.
pub fn is_derived(id: &str) -> bool {
    id.starts_with(DERIVED)
}

fn derived(signer: &Signer) -> Kek {
    let key = signer.derive(DERIVED_FOR);
    // Another secret key derives another key, and it must not pass for this one.
    let fingerprint = hex::encode(&Sha256::digest(key)[..FINGERPRINT_BYTES]);
    Kek { id: format!("{DERIVED}-{fingerprint}"), key: DataKey::new(key) }
}

fn parse(text: &str, from: &str) -> Result<Vec<Kek>, KeyringError> {
    let mut keys: Vec<Kek> = Vec::new();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        let (from, number) = (from.to_owned(), at + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((id, hex)) = line.split_once(':') else { return Err(KeyringError::Line { from, line: number }) };
        let mut key = [0; KEY_BYTES];
        if hex::decode_to_slice(hex.trim(), &mut key).is_err() {
            return Err(KeyringError::Line { from, line: number });
        }
        if !is_name(id) || id.starts_with(DERIVED) {
            return Err(KeyringError::Id { from, line: number });
        }
        if keys.iter().any(|known| known.id == id) {
            return Err(KeyringError::Twice { from, id: id.to_owned() });
        }
        keys.push(Kek { id: id.to_owned(), key: DataKey::new(key) });
    }
    if keys.is_empty() { Err(KeyringError::None { from: from.to_owned() }) } else { Ok(keys) }
}

impl KeyEncryption for Keyring {
    fn current(&self) -> &str {
        &self.0[0].id
    }

    fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|kek| kek.id == id)
    }

    fn wrap<'a>(&'a self, key: &'a DataKey, aad: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, KeyError>> {
        ready(Ok(self.0[0].key.seal(key.bytes(), aad))).boxed()
    }

    fn unwrap<'a>(&'a self, id: &'a str, sealed: &'a [u8], aad: &'a [u8]) -> BoxFuture<'a, Result<DataKey, KeyError>> {
        let opened = match self.0.iter().find(|kek| kek.id == id) {
            None => Err(KeyError::Unknown(id.to_owned())),
            Some(kek) => kek
                .key
                .open(sealed, aad)
                .and_then(|key| key.try_into().ok())
                .map(DataKey::new)
                .ok_or(KeyError::Unreadable),
        };
        ready(opened).boxed()
    }
}

#[cfg(test)]
mod tests {
    use ckrv_types::Secret;

    use super::*;

    fn signer(byte: &str) -> Signer {
        Signer::new(&Secret::new(byte.repeat(KEY_BYTES))).unwrap()
    }

    fn keyring(text: &str) -> Result<Keyring, KeyringError> {
        let config = VaultConfig { vault_key_file: None, vault_key: Some(Secret::new(text)) };
        Keyring::load(&config, &signer("07"))
    }

    fn line(id: &str, byte: &str) -> String {
        format!("{id}:{}\n", byte.repeat(KEY_BYTES))
    }

    #[tokio::test]
    async fn the_first_key_seals_and_every_listed_one_opens() {
        let (one, two) = (line("k1", "0a"), line("k2", "0b"));
        let before = keyring(&one).unwrap();
        let key = DataKey::random();
        let sealed = before.wrap(&key, b"place").await.unwrap();
        let after = keyring(&format!("# the new one\n{two}\n{one}")).unwrap();
        assert_eq!(after.current(), "k2");
        assert_eq!(after.unwrap("k1", &sealed, b"place").await.unwrap().bytes(), key.bytes());
        assert!(matches!(after.unwrap("k1", &sealed, b"elsewhere").await, Err(KeyError::Unreadable)));
        assert!(matches!(after.unwrap("k2", &sealed, b"place").await, Err(KeyError::Unreadable)));
        let without = keyring(&two).unwrap();
        assert!(!without.knows("k1"));
        assert!(matches!(without.unwrap("k1", &sealed, b"place").await, Err(KeyError::Unknown(id)) if id == "k1"));
    }

    #[tokio::test]
    async fn without_a_key_one_is_derived_which_opens_when_there_is_one_and_not_under_another_secret_key() {
        let none = VaultConfig { vault_key_file: None, vault_key: None };
        let derived = Keyring::load(&none, &signer("07")).unwrap();
        assert!(derived.is_derived());
        let sealed = derived.wrap(&DataKey::random(), b"").await.unwrap();
        let later = keyring(&line("k1", "0a")).unwrap();
        assert!(!later.is_derived());
        assert!(later.unwrap(derived.current(), &sealed, b"").await.is_ok());
        let other = Keyring::load(&none, &signer("08")).unwrap();
        assert!(!other.knows(derived.current()));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_without_the_key() {
        let key = "0a".repeat(KEY_BYTES);
        for (text, told) in [
            (String::new(), "no key"),
            ("# nothing".to_owned(), "no key"),
            (key.clone(), "line 1"),
            (format!("k1:{key}0a"), "line 1"),
            (format!("\nk1:{}zz", &key[2..]), "line 2"),
            (format!("K1:{key}"), "an id has"),
            (format!("derived-1:{key}"), "an id has"),
            (format!("k1:{key}\nk1:{key}"), "`k1` is there twice"),
        ] {
            let error = keyring(&text).err().expect(&text).to_string();
            assert!(error.contains(told) && !error.contains("0a0a"), "{error}");
        }
    }
}
