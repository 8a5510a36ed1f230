//! The one form of every token that ckrv gives out: `ck_<kind>_<subject>_<64 hex of secret><8 hex of CRC-32>`.
//!
//! The checksum covers all that stands before it: it catches typos before a look-up and tells scanners a true find.
//! What a token is worth is for the server to say.

use std::fmt;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A user's or a service's API key; subject: the key's id without its prefix.
    Live,
    /// The same for test organizations.
    Test,
    /// A runner's token; subject: the runner's id without its prefix.
    Runner,
    /// Exchanged by a worker for its attempt token; subject: `<job>.<attempt>.<organization>`, ids without prefix.
    Bootstrap,
    /// A worker's token; subject as for [`TokenKind::Bootstrap`], and a fourth part: the worker's instance.
    Attempt,
    /// Exchanged by a person's program for an access token and its own successor; subject: `<login>.<number>`, the login's id
    /// without its prefix.
    Refresh,
    /// The last part of an invitation's link; subject: the invitation's id without its prefix.
    Invite,
    /// An agent's key at its model proxy; good for one attempt and only there.
    Phantom,
}

impl TokenKind {
    pub const ALL: [Self; 8] = [
        Self::Live,
        Self::Test,
        Self::Runner,
        Self::Bootstrap,
        Self::Attempt,
        Self::Refresh,
        Self::Invite,
        Self::Phantom,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
            Self::Runner => "runner",
            Self::Bootstrap => "boot",
            Self::Attempt => "attempt",
            Self::Refresh => "refresh",
            Self::Invite => "invite",
            Self::Phantom => "phantom",
        }
    }
}

/// Why a text is not a token. Never carries the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    #[error("not a ckrv token (expected ck_<kind>_…)")]
    Shape,
    #[error("the token's checksum is wrong: a character is missing or mistyped")]
    Checksum,
}

/// What every token begins with.
pub const PREFIX: &str = "ck_";

/// Bytes of a token's secret part.
pub const SECRET_BYTES: usize = 32;
const SECRET_HEX: usize = SECRET_BYTES * 2;
const CHECKSUM_HEX: usize = 8;

/// A token of good shape and checksum; borrowed parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParsedToken<'a> {
    pub kind: TokenKind,
    pub subject: &'a str,
    /// 64 hex digits.
    pub secret: &'a str,
}

impl fmt::Debug for ParsedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ck_{}_{}_[redacted]", self.kind.as_str(), self.subject)
    }
}

/// Puts a token together. `subject` holds only `0-9 a-z .`.
pub fn compose(kind: TokenKind, subject: &str, secret: &[u8; SECRET_BYTES]) -> String {
    use fmt::Write as _;
    let mut token = format!("ck_{}_{subject}_", kind.as_str());
    for byte in secret {
        write!(token, "{byte:02x}").expect("writing to a String cannot fail");
    }
    let checksum = crc32fast::hash(token.as_bytes());
    write!(token, "{checksum:08x}").expect("writing to a String cannot fail");
    token
}

/// Takes a token apart and checks its checksum.
pub fn parse(text: &str) -> Result<ParsedToken<'_>, InvalidToken> {
    let mut parts = text.strip_prefix(PREFIX).ok_or(InvalidToken::Shape)?.splitn(3, '_');
    let (Some(kind), Some(subject), Some(tail)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(InvalidToken::Shape);
    };
    let kind = TokenKind::ALL.into_iter().find(|known| known.as_str() == kind).ok_or(InvalidToken::Shape)?;
    let subject_ok = !subject.is_empty()
        && subject.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.');
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !subject_ok || tail.len() != SECRET_HEX + CHECKSUM_HEX || !tail.bytes().all(hex) {
        return Err(InvalidToken::Shape);
    }
    let (secret, checksum) = tail.split_at(SECRET_HEX);
    let covered = &text[..text.len() - CHECKSUM_HEX];
    if format!("{:08x}", crc32fast::hash(covered.as_bytes())) != checksum {
        return Err(InvalidToken::Checksum);
    }
    Ok(ParsedToken { kind, subject, secret })
}

/// Replaces every token in `text` by `ck_<kind>_[redacted]`. `None`: there is none (the usual case, found cheaply).
pub fn mask(text: &str) -> Option<String> {
    let mut masked: Option<String> = None;
    let mut copied = 0;
    let mut from = 0;
    while let Some(found) = text[from..].find("ck_").map(|at| at + from) {
        from = found + 3;
        let end = text[found..]
            .find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.'))
            .map_or(text.len(), |at| found + at);
        // The token may run into more text of its own alphabet: its secret part has a fixed length.
        if let Some((kind, length)) = token_prefix(&text[found..end]) {
            let out = masked.get_or_insert_default();
            out.push_str(&text[copied..found]);
            out.push_str("ck_");
            out.push_str(kind.as_str());
            out.push_str("_[redacted]");
            copied = found + length;
            from = copied;
        }
    }
    if let Some(out) = &mut masked {
        out.push_str(&text[copied..]);
    }
    masked
}

fn token_prefix(text: &str) -> Option<(TokenKind, usize)> {
    let subject_at = text[3..].find('_')? + 4;
    let secret_at = text[subject_at..].find('_')? + subject_at + 1;
    let length = secret_at + SECRET_HEX + CHECKSUM_HEX;
    let candidate = text.get(..length)?;
    parse(candidate).ok().map(|token| (token.kind, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> String {
        compose(TokenKind::Live, "01k9zj3m5r8w2t6y4x0v7q1n5d", &[7; SECRET_BYTES])
    }

    #[test]
    fn a_token_survives_its_text_form() {
        let token = sample();
        let parsed = parse(&token).unwrap();
        assert_eq!(parsed.kind, TokenKind::Live);
        assert_eq!(parsed.subject, "01k9zj3m5r8w2t6y4x0v7q1n5d");
        assert_eq!(parsed.secret, "07".repeat(32));
    }

    #[test]
    fn one_mistyped_character_is_a_checksum_error() {
        let token = sample().replace("0707", "0708");
        assert_eq!(parse(&token), Err(InvalidToken::Checksum));
    }

    #[test]
    fn other_texts_are_refused_by_shape() {
        for text in ["", "ck_", "ck_live_x_y", "ghp_abc", "ck_prod_x_00"] {
            assert_eq!(parse(text), Err(InvalidToken::Shape), "{text}");
        }
    }

    #[test]
    fn masking_finds_tokens_anywhere_and_leaves_the_rest() {
        let token = sample();
        assert_eq!(mask(&format!("a {token} b {token}")).unwrap(), "a ck_live_[redacted] b ck_live_[redacted]");
        assert_eq!(mask(&format!("{token}abc")).unwrap(), "ck_live_[redacted]abc");
        assert_eq!(mask(&format!("ck_ck_{token}")).unwrap(), "ck_ck_ck_live_[redacted]");
        assert_eq!(mask("stack_trace of ck_live_nothing"), None);
    }

    #[test]
    fn a_token_is_never_printed_by_debug() {
        let token = sample();
        assert_eq!(format!("{:?}", parse(&token).unwrap()), "ck_live_01k9zj3m5r8w2t6y4x0v7q1n5d_[redacted]");
    }
}
