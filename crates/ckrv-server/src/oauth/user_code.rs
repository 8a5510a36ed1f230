//! The code that a device shows and a person types (RFC 8628, section 6.1): eight letters, none of them a vowel, so that no
//! word comes of it, and none that is taken for another.

use std::fmt;

use crate::auth::tokens::{Signer, TokenHash};

const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;

/// Eight letters in upper case. Shown as `XXXX-XXXX`.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(String);

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl UserCode {
    pub fn random() -> Self {
        Self((0..LENGTH).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect())
    }

    /// What somebody typed, whatever the case and whatever stands between the letters. None: it cannot be one.
    pub fn typed(text: &str) -> Option<Self> {
        let letters: String =
            text.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_uppercase()).collect();
        let possible = letters.len() == LENGTH && letters.bytes().all(|letter| LETTERS.contains(&letter));
        possible.then_some(Self(letters))
    }

    /// As it is kept: keyed, because its 34 bits are soon tried.
    pub fn hash(&self, signer: &Signer) -> TokenHash {
        signer.hash_short("user code", &self.0)
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.0.split_at(LENGTH / 2);
        write!(f, "{first}-{second}")
    }
}

#[cfg(test)]
mod tests {
    use ckrv_types::Secret;

    use super::*;

    #[test]
    fn a_code_is_eight_letters_in_two_groups_and_survives_being_typed() {
        for _ in 0..100 {
            let code = UserCode::random();
            let shown = code.to_string();
            let (first, second) = shown.split_once('-').unwrap();
            for group in [first, second] {
                assert!(group.len() == 4 && group.bytes().all(|letter| LETTERS.contains(&letter)), "{shown}");
            }
            assert_eq!(UserCode::typed(&shown), Some(code));
        }
    }

    #[test]
    fn case_and_what_is_no_letter_do_not_matter() {
        let code = UserCode::typed("BCDF-GHJK").unwrap();
        for typed in ["bcdfghjk", "  bcdf ghjk\n", "B.C.D.F/G.H.J.K", "bcdf\u{2013}ghjk", "1b2c3d4f5g6h7j8k"] {
            assert_eq!(UserCode::typed(typed).as_ref(), Some(&code), "{typed:?}");
        }
        for typed in ["", "BCDF-GHJ", "BCDF-GHJKL", "ACDF-GHJK", "BCDF-GHJÖ"] {
            assert_eq!(UserCode::typed(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn what_is_kept_of_a_code_differs_by_the_servers_key() {
        let code = UserCode::random();
        let signer = |byte: &str| Signer::new(&Secret::new(byte.repeat(32))).unwrap();
        assert_eq!(code.hash(&signer("ab")), code.hash(&signer("ab")));
        assert_ne!(code.hash(&signer("ab")), code.hash(&signer("ac")));
    }
}
