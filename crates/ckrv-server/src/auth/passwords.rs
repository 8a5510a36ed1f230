//! Passwords of local accounts: Argon2id (RFC 9106) with OWASP's parameters, as PHC strings.
//!
//! One takes 19 MiB and some 20 ms of a core: only two are computed at once, off the runtime's own threads, so that a crowd
//! at the sign-in page costs waiting and not memory.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use ckrv_types::Secret;
use tokio::sync::Semaphore;

use crate::error::{ApiError, ApiResult};

/// Shortest password that is given to an account; NIST SP 800-63B asks for length and nothing else.
pub const MIN_CHARS: usize = 12;
/// Longer ones are nobody's.
pub const MAX_BYTES: usize = 1024;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What an unknown name's password is compared with, so that it takes as long as a known one's.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static AT_ONCE: Semaphore = Semaphore::const_new(2);

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are in their ranges");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The PHC string to keep of a password. Takes its time.
pub fn hash(password: &Secret) -> String {
    let salt: [u8; 16] = rand::random();
    let hashed: PasswordHash = argon2()
        .hash_password_with_salt(password.expose().as_bytes(), &salt)
        .expect("a password of any length and 16 bytes of salt can be hashed");
    hashed.to_string()
}

/// The PHC string to keep of a password, in its turn.
pub async fn hashed(password: Secret) -> ApiResult<String> {
    in_turn(move || hash(&password)).await
}

/// Whether an account may have this password.
pub fn fits(password: &Secret) -> bool {
    let password = password.expose();
    password.chars().count() >= MIN_CHARS && password.len() <= MAX_BYTES
}

/// Whether this is the password that `stored` was made of; without one it takes as long, and is not.
pub async fn matches(password: Secret, stored: Option<String>) -> ApiResult<bool> {
    in_turn(move || verify(&password, stored.as_deref())).await
}

async fn in_turn<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
    let turn = AT_ONCE.acquire().await.map_err(|_| ApiError::Internal("the password hasher is closed"))?;
    let computed = tokio::task::spawn_blocking(move || {
        // Kept until it is computed, even if whoever asked has gone away.
        let _turn = turn;
        compute()
    });
    computed.await.map_err(|_| ApiError::Internal("a password could not be hashed"))
}

fn verify(password: &Secret, stored: Option<&str>) -> bool {
    let same = argon2().verify_password(password.expose().as_bytes(), stored.unwrap_or(NOBODYS)).is_ok();
    same && stored.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other() {
        let password = Secret::new("correct horse battery");
        let stored = hash(&password);
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_ne!(stored, hash(&password), "salted");
        assert!(matches(password.clone(), Some(stored.clone())).await.unwrap());
        assert!(!matches(Secret::new("correct horse"), Some(stored)).await.unwrap());
        assert!(!matches(password, None).await.unwrap());
    }

    #[test]
    fn nobodys_password_costs_what_anybodys_does() {
        let nobodys = PasswordHash::new(NOBODYS).unwrap();
        let anybodys = hash(&Secret::new("x"));
        let anybodys = PasswordHash::new(&anybodys).unwrap();
        assert_eq!(nobodys.params, anybodys.params);
        assert_eq!((nobodys.algorithm, nobodys.version), (anybodys.algorithm, anybodys.version));
        assert_eq!(nobodys.hash.map(|hash| hash.len()), anybodys.hash.map(|hash| hash.len()));
    }
}
