//! Making tokens, and checking those that are checked by computing rather than by looking up.
//!
//! - API keys and runners' tokens are 256 random bits; only their SHA-256 is kept.
//! - The tokens of workers are an HMAC over what they are good for, so the list of assignments can repeat them and no
//!   append needs a look-up: `ck_boot_<job>.<attempt>.<org>_…` and `ck_attempt_<job>.<attempt>.<org>.<instance>_…`.
//!   Only the instance that `start` has bound ever gets the latter.

use ckrv_types::token::{self, ParsedToken, SECRET_BYTES, TokenKind};
use ckrv_types::{AttemptId, JobId, LoginId, OrgId, Secret};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// SHA-256 of a token, as it is kept.
pub type TokenHash = [u8; 32];

/// Characters of an instance: 128 bits in hex.
pub const INSTANCE_CHARS: usize = 32;

pub fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// A new random token for `id` (its text form; the prefix is left out).
pub fn random(kind: TokenKind, id: impl std::fmt::Display) -> Secret {
    compose(kind, id, &rand::random())
}

/// A token with a secret part of the caller's.
pub fn compose(kind: TokenKind, id: impl std::fmt::Display, secret: &[u8; SECRET_BYTES]) -> Secret {
    Secret::new(token::compose(kind, bare(&id.to_string()), secret))
}

/// Why the configured key cannot sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret key is not 64 hex digits")]
pub struct InvalidSecretKey;

/// Signs and checks workers' tokens with the server's secret key.
#[derive(Clone)]
pub struct Signer([u8; 32]);

/// What a worker's token says, once its signature was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub attempt: AttemptId,
    pub org: OrgId,
    /// Of an attempt's token: the instance that it was given to.
    pub instance: Option<String>,
}

impl Signer {
    pub fn new(key: &Secret) -> Result<Self, InvalidSecretKey> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(key.expose().trim(), &mut bytes).map_err(|_| InvalidSecretKey)?;
        Ok(Self(bytes))
    }

    /// What the runner hands to the attempt's worker.
    pub fn bootstrap_token(&self, org: OrgId, attempt: AttemptId) -> Secret {
        self.sign(TokenKind::Bootstrap, &subject(org, attempt, None))
    }

    /// What `start` answers.
    pub fn attempt_token(&self, org: OrgId, attempt: AttemptId, instance: &str) -> Secret {
        self.sign(TokenKind::Attempt, &subject(org, attempt, Some(instance)))
    }

    /// The refresh token of this number of a login: who asks twice gets the same one, and only its hash is kept.
    pub fn refresh_token(&self, login: LoginId, number: u32) -> Secret {
        self.sign(TokenKind::Refresh, &format!("{}.{number}", bare(&login.to_string())))
    }

    /// A key for one purpose, that tells nothing of the server's own.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        self.mac("key", purpose)
    }

    /// What is kept of a secret too short for a hash that anybody can compute.
    pub fn hash_short(&self, purpose: &str, secret: &str) -> TokenHash {
        self.mac(purpose, secret)
    }

    /// What is kept of a request's body that may hold a password: a hash that nobody else can try passwords on.
    pub fn hash_request(&self, body: &[u8]) -> TokenHash {
        self.mac_bytes("request", body)
    }

    /// The claims of a bootstrap or attempt token; `None`: not signed by this key.
    pub fn check(&self, token: &ParsedToken<'_>) -> Option<Claims> {
        let signed = hex::encode(self.mac(token.kind.as_str(), token.subject));
        let good: bool = signed.as_bytes().ct_eq(token.secret.as_bytes()).into();
        if good { claims(token) } else { None }
    }

    /// Hides the secret part of a token that has to be repeated to whoever asks twice, under a pad that is used for
    /// `id` alone. The same call brings it back.
    pub fn mask(&self, id: &str, secret: &[u8; SECRET_BYTES]) -> [u8; SECRET_BYTES] {
        let pad = self.mac("pad", id);
        std::array::from_fn(|at| secret[at] ^ pad[at])
    }

    fn sign(&self, kind: TokenKind, subject: &str) -> Secret {
        Secret::new(token::compose(kind, subject, &self.mac(kind.as_str(), subject)))
    }

    fn mac(&self, use_for: &str, subject: &str) -> [u8; 32] {
        self.mac_bytes(use_for, subject.as_bytes())
    }

    fn mac_bytes(&self, use_for: &str, subject: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        // What it is used for has no bar in it.
        mac.update(use_for.as_bytes());
        mac.update(b"|");
        mac.update(subject);
        mac.finalize().into_bytes().into()
    }
}

fn bare(id: &str) -> &str {
    id.split_once('-').map_or(id, |(_, bare)| bare)
}

fn subject(org: OrgId, attempt: AttemptId, instance: Option<&str>) -> String {
    let (job, org) = (attempt.job.to_string(), org.to_string());
    let subject = format!("{}.{}.{}", bare(&job), attempt.number, bare(&org));
    match instance {
        Some(instance) => format!("{subject}.{instance}"),
        None => subject,
    }
}

fn claims(token: &ParsedToken<'_>) -> Option<Claims> {
    let mut parts = token.subject.splitn(4, '.');
    let job: JobId = format!("{}-{}", JobId::PREFIX, parts.next()?).parse().ok()?;
    let number = parts.next()?.parse().ok()?;
    let org = format!("{}-{}", OrgId::PREFIX, parts.next()?).parse().ok()?;
    let instance = parts.next().map(str::to_owned);
    let complete = (token.kind == TokenKind::Attempt) == instance.is_some();
    complete.then_some(Claims { attempt: AttemptId { job, number }, org, instance })
}

/// Whether `text` can be a worker's instance: 128 bits as lower-case hex.
pub fn is_instance(text: &str) -> bool {
    text.len() == INSTANCE_CHARS && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(byte: &str) -> Signer {
        Signer::new(&Secret::new(byte.repeat(32))).unwrap()
    }

    fn attempt() -> (OrgId, AttemptId) {
        (OrgId::new(), AttemptId { job: JobId::new(), number: 3 })
    }

    const INSTANCE: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn a_workers_token_says_what_it_was_signed_for() {
        let (org, attempt) = attempt();
        let boot = signer("ab").bootstrap_token(org, attempt);
        let claims = signer("ab").check(&token::parse(boot.expose()).unwrap()).unwrap();
        assert_eq!(claims, Claims { attempt, org, instance: None });

        let own = signer("ab").attempt_token(org, attempt, INSTANCE);
        let claims = signer("ab").check(&token::parse(own.expose()).unwrap()).unwrap();
        assert_eq!(claims, Claims { attempt, org, instance: Some(INSTANCE.to_owned()) });
    }

    #[test]
    fn a_token_of_another_key_kind_or_subject_is_refused() {
        let (org, attempt) = attempt();
        let boot = signer("ab").bootstrap_token(org, attempt);
        let parsed = token::parse(boot.expose()).unwrap();
        assert_eq!(signer("ac").check(&parsed), None);

        let mut secret = [0; SECRET_BYTES];
        hex::decode_to_slice(parsed.secret, &mut secret).unwrap();
        let as_attempt = token::compose(TokenKind::Attempt, parsed.subject, &secret);
        assert_eq!(signer("ab").check(&token::parse(&as_attempt).unwrap()), None);

        let other = subject(org, AttemptId { number: 4, ..attempt }, None);
        let moved = token::compose(TokenKind::Bootstrap, &other, &secret);
        assert_eq!(signer("ab").check(&token::parse(&moved).unwrap()), None);
    }

    #[test]
    fn a_masked_secret_comes_back_for_its_own_id_only() {
        let secret = [7; SECRET_BYTES];
        let masked = signer("ab").mask("key-1", &secret);
        assert_ne!(masked, secret);
        assert_eq!(signer("ab").mask("key-1", &masked), secret);
        assert_ne!(signer("ab").mask("key-2", &masked), secret);
    }

    #[test]
    fn a_key_that_is_not_64_hex_digits_is_refused() {
        for key in ["", "ab", "zz".repeat(32).as_str()] {
            assert!(Signer::new(&Secret::new(key)).is_err());
        }
    }
}
