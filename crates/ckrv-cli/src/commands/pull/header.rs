//! The head of a git bundle (gitformat-bundle(5)): which ref it holds, and which commits it builds upon. Read here and not by
//! git, so that git is only handed what has the one expected shape.

use std::io::BufRead;

/// More than any bundle of ours has.
const LONGEST: u64 = 1024 * 1024;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Commits that must be there already.
    pub prerequisites: Vec<String>,
    pub head: String,
    /// Where the pack begins: the length of the head, in bytes.
    pub length: u64,
}

/// Why a file is not a bundle that is taken.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("cannot be read")]
    Read(#[from] std::io::Error),
    #[error("is no git bundle of a version that is known")]
    Version,
    #[error("asks for `{0}`, which no result needs")]
    Capability(String),
    #[error("has a line that makes no sense: {0:?}")]
    Line(String),
    #[error("holds the refs {0:?} instead of {1} alone")]
    Refs(Vec<String>, String),
}

/// Reads the head of a bundle that must hold `reference` and nothing else.
pub fn read(file: impl BufRead, reference: &str) -> Result<Header, HeaderError> {
    let mut lines = file.take(LONGEST);
    let version = next(&mut lines)?;
    if !matches!(version.as_str(), "# v2 git bundle" | "# v3 git bundle") {
        return Err(HeaderError::Version);
    }
    let (mut prerequisites, mut refs) = (Vec::new(), Vec::new());
    loop {
        let line = next(&mut lines)?;
        if line.is_empty() {
            break;
        } else if let Some(capability) = line.strip_prefix('@') {
            // A filter would leave out objects, to be fetched from elsewhere later.
            if version != "# v3 git bundle" || !capability.starts_with("object-format=") {
                return Err(HeaderError::Capability(capability.to_owned()));
            }
        } else if let Some(commit) = line.strip_prefix('-') {
            let id = commit.split(' ').next().unwrap_or_default();
            prerequisites.push(object_id(id).ok_or_else(|| HeaderError::Line(line.clone()))?);
        } else {
            let (id, name) = line.split_once(' ').ok_or_else(|| HeaderError::Line(line.clone()))?;
            refs.push((object_id(id).ok_or_else(|| HeaderError::Line(line.clone()))?, name.to_owned()));
        }
    }
    let length = LONGEST - lines.limit();
    match refs.as_slice() {
        [(head, name)] if name == reference => Ok(Header { prerequisites, head: head.clone(), length }),
        _ => Err(HeaderError::Refs(refs.into_iter().map(|(_, name)| name).collect(), reference.to_owned())),
    }
}

/// A line without its end. What comes first must be text; the pack behind it is not read.
fn next(lines: &mut impl BufRead) -> Result<String, HeaderError> {
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    let text = line.strip_suffix(b"\n").and_then(|line| str::from_utf8(line).ok());
    text.map(str::to_owned).ok_or(HeaderError::Version)
}

fn object_id(text: &str) -> Option<String> {
    let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (hex && matches!(text.len(), 40 | 64)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REF: &str = "refs/heads/ckrv/job-x";

    fn parse(text: &str) -> Result<Header, HeaderError> {
        read(text.as_bytes(), REF)
    }

    fn id(digit: char) -> String {
        std::iter::repeat_n(digit, 40).collect()
    }

    #[test]
    fn a_bundle_of_ours_is_read() {
        let text = format!("# v2 git bundle\n-{} base\n{} {REF}\n\nPACK", id('a'), id('b'));
        let length = (text.len() - "PACK".len()) as u64;
        assert_eq!(parse(&text).unwrap(), Header { prerequisites: vec![id('a')], head: id('b'), length });
        let text = format!("# v3 git bundle\n@object-format=sha1\n{} {REF}\n\nPACK", id('b'));
        assert_eq!(parse(&text).unwrap().prerequisites, Vec::<String>::new());
    }

    #[test]
    fn other_refs_and_shapes_are_refused() {
        let b = id('b');
        for text in [
            String::new(),
            "#!/bin/sh\n".to_owned(),
            format!("# v2 git bundle\n{b} {REF}\n"),
            "# v2 git bundle\n\nPACK".to_owned(),
            format!("# v2 git bundle\n{b} refs/heads/main\n\n"),
            format!("# v2 git bundle\n{b} {REF}\n{b} refs/heads/main\n\n"),
            format!("# v2 git bundle\n{b} {REF}\n{b} {REF}\n\n"),
            format!("# v2 git bundle\n{b} {REF}/more\n\n"),
            format!("# v2 git bundle\n--upload-pack=x\n{b} {REF}\n\n"),
            format!("# v2 git bundle\nzz {REF}\n\n"),
            format!("# v3 git bundle\n@filter=blob:none\n{b} {REF}\n\n"),
            format!("# v2 git bundle\n@object-format=sha1\n{b} {REF}\n\n"),
            format!("# v2 git bundle\n{}", "x".repeat(2_000_000)),
        ] {
            assert!(parse(&text).is_err(), "{:?} was accepted", text.get(..80).unwrap_or(&text));
        }
    }
}
