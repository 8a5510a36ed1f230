//! SSH private keys in OpenSSH's own form (openssh-portable, PROTOCOL.key): only as far as to say whether git can use one
//! without asking anybody, and what its public half is known by.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// Kinds that need nothing but the file.
const KINDS: [&str; 5] =
    ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];

/// Why a key cannot be used. Never carries a piece of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("this is the public half; the private one is in the file without .pub")]
    Public,
    #[error("a private key in OpenSSH's form is expected; `ssh-keygen -p -N '' -f FILE` writes a copy of it so")]
    Form,
    #[error(
        "it has a passphrase, which nobody will be there to type; `ssh-keygen -p -N '' -f FILE` takes it off a copy"
    )]
    Passphrase,
    #[error("it is not whole: the text between its first and last line does not read as a key")]
    Broken,
    #[error("`{0}` is no kind of key that works from a file alone; use ed25519")]
    Kind(String),
}

/// A key that git can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey {
    /// SHA-256 of its public half, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

/// Reads a key file's text.
pub fn read(text: &str) -> Result<SshKey, Unusable> {
    let text = text.trim();
    if KINDS.iter().any(|kind| text.starts_with(kind)) || text.starts_with("-----BEGIN PUBLIC") {
        return Err(Unusable::Public);
    }
    let Some(body) = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)) else {
        let is_encrypted = text.starts_with("-----BEGIN") && text.contains("ENCRYPTED");
        return Err(if is_encrypted { Unusable::Passphrase } else { Unusable::Form });
    };
    let encoded: String = body.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(encoded).map_err(|_| Unusable::Broken)?;
    let key = bytes.strip_prefix(MAGIC).ok_or(Unusable::Broken)?;
    Reader(key).key().unwrap_or(Err(Unusable::Broken))
}

/// The kind of a public key as it stands on the wire (RFC 4253, section 6.6); none: it is none.
pub fn kind_of(public: &[u8]) -> Option<&str> {
    str::from_utf8(Reader(public).string()?).ok()
}

/// What is left to read (RFC 4251, section 5).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// None: it ends too early.
    fn key(&mut self) -> Option<Result<SshKey, Unusable>> {
        let (cipher, _kdf, _options) = (self.string()?, self.string()?, self.string()?);
        if cipher != b"none" {
            return Some(Err(Unusable::Passphrase));
        }
        let count = self.number()?;
        let (public, private) = (self.string()?, self.string()?);
        let kind = kind_of(public)?;
        let mut private = Reader(private);
        let same = private.number()? == private.number()?;
        if count != 1 || !same || private.string()? != kind.as_bytes() {
            return None;
        }
        if !KINDS.contains(&kind) {
            return Some(Err(Unusable::Kind(kind.chars().filter(char::is_ascii_graphic).take(64).collect())));
        }
        let fingerprint = format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(public)));
        Some(Ok(SshKey { fingerprint }))
    }

    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A key of OpenSSH's own making, with what `ssh-keygen -l` says of it.
    fn made(arguments: &[&str]) -> (String, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let keygen = |arguments: &[&str]| {
            let done = Command::new("ssh-keygen").args(arguments).arg("-f").arg(&file).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        };
        keygen(&[&["-q", "-C", "made for a test"], arguments].concat());
        let said = keygen(&["-l"]);
        let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
        (std::fs::read_to_string(file).unwrap(), public, said.split(' ').nth(1).unwrap().to_owned())
    }

    #[test]
    fn a_key_of_each_kind_is_known_by_the_fingerprint_that_openssh_gives_it() {
        for kind in [&["-t", "ed25519"][..], &["-t", "ecdsa", "-b", "384"], &["-t", "rsa", "-b", "2048"]] {
            let (private, public, fingerprint) = made(&[kind, &["-N", ""]].concat());
            assert_eq!(read(&private).unwrap().fingerprint, fingerprint, "{kind:?}");
            assert_eq!(read(&private.replace('\n', "\r\n")).unwrap().fingerprint, fingerprint);
            assert_eq!(read(&public), Err(Unusable::Public));
        }
    }

    #[test]
    fn a_key_with_a_passphrase_is_refused_in_either_form() {
        let (private, _, _) = made(&["-t", "ed25519", "-N", "open sesame"]);
        assert_eq!(read(&private), Err(Unusable::Passphrase));
        let (pem, _, _) = made(&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "open sesame"]);
        assert_eq!(read(&pem), Err(Unusable::Passphrase));
    }

    #[test]
    fn another_form_and_what_is_broken_are_refused() {
        let (pem, _, _) = made(&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]);
        assert_eq!(read(&pem), Err(Unusable::Form));
        assert_eq!(read("ghp_0123456789"), Err(Unusable::Form));
        assert_eq!(read(""), Err(Unusable::Form));
        let (private, _, _) = made(&["-t", "ed25519", "-N", ""]);
        let lines: Vec<&str> = private.lines().collect();
        let without = |at: usize| {
            let mut lines = lines.clone();
            lines.remove(at);
            lines.join("\n")
        };
        assert_eq!(read(&without(1)), Err(Unusable::Broken));
        assert_eq!(read(&without(lines.len() - 1)), Err(Unusable::Form));
        assert_eq!(read(&without(2)), Err(Unusable::Broken));
        assert_eq!(read(&format!("{BEGIN}\n{END}")), Err(Unusable::Broken));
    }
}
