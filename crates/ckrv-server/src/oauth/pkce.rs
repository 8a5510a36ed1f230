//! Proof that whoever redeems an authorization code is who asked for it (RFC 7636). `S256` alone: the method `plain` shows
//! the proof to everybody who sees the question.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub const METHOD: &str = "S256";

/// BASE64URL of a SHA-256.
const CHALLENGE_CHARS: usize = 43;
/// RFC 7636, section 4.1.
const VERIFIER_CHARS: std::ops::RangeInclusive<usize> = 43..=128;

/// Whether `text` can be a challenge of our method.
pub fn is_challenge(text: &str) -> bool {
    text.len() == CHALLENGE_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Whether `challenge` was made of `verifier`, which is 43 to 128 unreserved characters.
pub fn fits(verifier: &str, challenge: &str) -> bool {
    let made = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    is_verifier(verifier) && bool::from(made.as_bytes().ct_eq(challenge.as_bytes()))
}

fn is_verifier(text: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    VERIFIER_CHARS.contains(&text.len()) && text.bytes().all(unreserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_rfc_fits_and_nothing_else_does() {
        assert!(is_challenge(CHALLENGE) && fits(VERIFIER, CHALLENGE));
        assert!(!fits(CHALLENGE, CHALLENGE), "as with the method `plain`");
        assert!(!fits(&VERIFIER.replace('d', "e"), CHALLENGE));
    }

    #[test]
    fn a_verifier_is_43_to_128_unreserved_characters() {
        for good in ["a".repeat(43), "~".repeat(128), format!("{}-._~", "Z9".repeat(20))] {
            assert!(is_verifier(&good), "{good}");
        }
        for bad in ["a".repeat(42), "a".repeat(129), "a ".repeat(30), "+".repeat(50), "ä".repeat(30)] {
            assert!(!is_verifier(&bad), "{bad}");
            assert!(!fits(&bad, &URL_SAFE_NO_PAD.encode(Sha256::digest(&bad))), "{bad}");
        }
        for bad in ["a".repeat(42), "a".repeat(44), "=".repeat(43), "+".repeat(43)] {
            assert!(!is_challenge(&bad), "{bad}");
        }
    }
}
