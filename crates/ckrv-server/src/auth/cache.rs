//! What was found for a credential (or, by the same means, for an organization), for a few seconds: a stream of requests costs one look-up, and a revoked key is
//! refused on every path within [`TTL`].

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::tokens::TokenHash;

/// Well within the minute in which a revocation must be effective everywhere.
pub const TTL: Duration = Duration::from_secs(10);

/// Entries that are kept at most; over it the old ones go.
const ENTRIES: usize = 10_000;

/// Found credentials by the hash of their token, unless another key is named. What was not found is not kept.
pub struct Cache<T, K = TokenHash>(Mutex<HashMap<K, (Instant, T)>>);

impl<T: Clone, K: Eq + Hash> Cache<T, K> {
    pub fn get(&self, key: &K) -> Option<T> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|(found, _)| found.elapsed() < TTL).map(|(_, value)| value.clone())
    }

    pub fn put(&self, key: K, value: T) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES {
            entries.retain(|_, (found, _)| found.elapsed() < TTL);
        }
        if entries.len() < ENTRIES {
            entries.insert(key, (Instant::now(), value));
        }
    }

    /// Forgets what `matches`, because it was revoked here.
    pub fn forget(&self, matches: impl Fn(&T) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (_, value)| !matches(value));
    }
}

impl<T, K> Default for Cache<T, K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
