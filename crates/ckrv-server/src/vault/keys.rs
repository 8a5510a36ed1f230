//! What seals data keys: the seam at which a key management service takes the place of keys that the server holds.

use std::error::Error;

use futures::future::BoxFuture;

use super::envelope::DataKey;

/// Why a data key was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key-encryption key `{0}` is not among the server's")]
    Unknown(String),
    #[error(
        "it does not open: it was changed, moved or put back, or its key-encryption key is another of the same name"
    )]
    Unreadable,
    /// Of a service: it is away, or refuses.
    #[error("the service that has the key-encryption keys did not do it")]
    Service(#[source] Box<dyn Error + Send + Sync>),
}

/// Key-encryption keys. They seal little and rarely, so that each call may be one over a network.
pub trait KeyEncryption: Send + Sync {
    /// The id of the key that seals: kept beside what it has sealed. 1 to 63 visible characters.
    fn current(&self) -> &str;

    /// Whether what the key of this id has sealed can be opened.
    fn knows(&self, id: &str) -> bool;

    /// Seals under the current key, bound to `aad`.
    fn wrap<'a>(&'a self, key: &'a DataKey, aad: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, KeyError>>;

    /// Opens what the key of this id has sealed with the same `aad`.
    fn unwrap<'a>(&'a self, id: &'a str, sealed: &'a [u8], aad: &'a [u8]) -> BoxFuture<'a, Result<DataKey, KeyError>>;
}
