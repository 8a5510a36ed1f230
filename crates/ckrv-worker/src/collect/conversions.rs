//! Which files git converts when it takes them in (gitattributes(5)): asked of git itself, in the shadow.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::git::{Call, CallError};

use super::walk::FoundFile;

/// All that bear upon content, filters apart: those have no driver here.
const ATTRIBUTES: [&str; 5] = ["text", "crlf", "eol", "ident", "working-tree-encoding"];
/// Asked for at once, which bounds the answer.
const FILES: usize = 20_000;
/// Room in an answer for an attribute's name and value.
const ANSWER_BYTES: usize = 256;

/// Attributes that say something about content, by path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Conversions {
    /// A path that is not there is taken in as it lies there.
    Known(HashMap<PathBuf, Conversion>),
    /// git could not tell: the tree's attributes are its secret.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    /// CRLF may become LF, and nothing else changes.
    LineEnds,
    Other,
}

impl Conversions {
    /// `git`: makes calls with the shadow as work tree.
    pub async fn ask(git: impl Fn() -> Call, files: &[FoundFile]) -> Self {
        let mut known = HashMap::new();
        for files in files.chunks(FILES) {
            match ask(git(), files).await {
                Ok(answer) => parse(&answer, &mut known),
                Err(_) => return Self::Unknown,
            }
        }
        Self::Known(known)
    }

    /// Whether git would store other bytes than these.
    pub fn may_change(&self, path: &Path, content: &[u8]) -> bool {
        let Self::Known(known) = self else { return true };
        match known.get(path) {
            None => false,
            Some(Conversion::LineEnds) => content.windows(2).any(|pair| pair == b"\r\n"),
            Some(Conversion::Other) => true,
        }
    }
}

async fn ask(git: Call, files: &[FoundFile]) -> Result<Vec<u8>, CallError> {
    let mut names = Vec::new();
    for file in files {
        names.extend_from_slice(file.path.as_os_str().as_bytes());
        names.push(0);
    }
    let limit = ATTRIBUTES.len() * (names.len() + files.len() * ANSWER_BYTES);
    let call = git.args(["check-attr", "-z", "--stdin"]).args(ATTRIBUTES).input(names).stdout_bytes(limit);
    Ok(call.run().await?.stdout)
}

/// `path NUL attribute NUL value NUL …`
fn parse(answer: &[u8], known: &mut HashMap<PathBuf, Conversion>) {
    let mut fields = answer.split(|byte| *byte == 0);
    while let (Some(path), Some(attribute), Some(value)) = (fields.next(), fields.next(), fields.next()) {
        if matches!(value, b"unspecified" | b"unset") {
            continue;
        }
        let found = match attribute {
            b"text" | b"crlf" | b"eol" => Conversion::LineEnds,
            _ => Conversion::Other,
        };
        let conversion = known.entry(PathBuf::from(OsString::from_vec(path.to_vec()))).or_insert(found);
        if found == Conversion::Other {
            *conversion = found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bears_upon_content_counts() {
        let mut known = HashMap::new();
        let answer = b"a\0text\0unspecified\0a\0ident\0unset\0b\0text\0auto\0b\0eol\0lf\0c\0ident\0set\0c\0text\0set\0";
        parse(answer, &mut known);
        let conversions = Conversions::Known(known);
        let changes = |path: &str, content: &[u8]| conversions.may_change(Path::new(path), content);
        assert!(!changes("a", b"x\r\n") && !changes("b", b"x\ny\rz") && changes("b", b"x\r\n") && changes("c", b"x"));
        assert!(Conversions::Unknown.may_change(Path::new("a"), b"x"));
    }
}
