//! Known secret values, out of every line before it leaves the worker.
//!
//! Found are the value itself, its base64 forms at all three alignments (standard and URL alphabet, and wrapped at 76
//! columns as base64(1) prints it), and its URL-encoded forms. A value of several lines, such as a key file, is looked for
//! line by line, because that is how it is printed.
//!
//! Not covered: what the agent transforms on purpose, and values shorter than [`MIN_CHARS`], which would take innocent
//! words out of every line and are not secrets to anyone who can guess.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ckrv_types::Secret;

/// What stands in a line where a secret was.
pub const REDACTED: &str = "[redacted]";
/// Shorter values are left alone.
pub const MIN_CHARS: usize = 6;
/// A line that waits for its end is not shown with this much or more of a secret's beginning as its last characters.
const HOLD_CHARS: usize = 4;
/// Where base64(1) and MIME (RFC 2045, section 6.8) wrap.
const WRAP: usize = 76;

/// Finds and replaces known values. Cheap where there is none.
#[derive(Default)]
pub struct Redactor {
    searcher: Option<AhoCorasick>,
    patterns: Vec<String>,
}

impl Redactor {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut patterns = BTreeSet::new();
        for secret in secrets {
            add_value(secret.expose(), &mut patterns);
        }
        let patterns: Vec<String> = patterns.into_iter().filter(|text| text.chars().count() >= MIN_CHARS).collect();
        let searcher = (!patterns.is_empty())
            .then(|| AhoCorasick::new(&patterns).expect("some hundreds of short patterns fit an automaton"));
        Self { searcher, patterns }
    }

    /// Bytes of the longest form of any value: who cuts a text must look this far behind the cut.
    pub fn longest(&self) -> usize {
        self.patterns.iter().map(String::len).max().unwrap_or(0)
    }

    /// Appends the first `limit` bytes of `text` (a character's edge) to `out`, without the secrets. A secret that begins
    /// before the limit is replaced as a whole.
    pub fn append(&self, text: &str, limit: usize, out: &mut String) {
        let Some(searcher) = self.searcher.as_ref().filter(|searcher| searcher.is_match(text)) else {
            out.push_str(&text[..limit]);
            return;
        };
        let mut copied = 0;
        for (start, end) in merged(searcher, text) {
            if start >= limit {
                break;
            }
            out.push_str(&text[copied..start]);
            out.push_str(REDACTED);
            copied = end;
        }
        if copied < limit {
            out.push_str(&text[copied..limit]);
        }
    }

    /// How many of the last bytes may be the beginning of a secret whose rest has not come yet.
    pub fn held(&self, bytes: &[u8]) -> usize {
        let begun = |pattern: &String| {
            let pattern = pattern.as_bytes();
            (HOLD_CHARS..pattern.len()).rev().find(|length| bytes.ends_with(&pattern[..*length]))
        };
        self.patterns.iter().filter_map(begun).max().unwrap_or(0)
    }
}

/// All finds in order, overlapping ones made one.
fn merged(searcher: &AhoCorasick, text: &str) -> Vec<(usize, usize)> {
    let mut finds: Vec<(usize, usize)> = searcher.find_overlapping_iter(text).map(|m| (m.start(), m.end())).collect();
    finds.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::with_capacity(finds.len());
    for (start, end) in finds {
        match merged.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

fn add_value(value: &str, patterns: &mut BTreeSet<String>) {
    let value = value.trim();
    if value.chars().count() < MIN_CHARS {
        return;
    }
    add_base64(value.as_bytes(), patterns);
    // The armour of a PEM file is no secret.
    for line in value.lines().map(str::trim).filter(|line| !line.starts_with("-----")) {
        if line.chars().count() >= MIN_CHARS {
            patterns.insert(line.to_owned());
            add_url_encoded(line, patterns);
            add_base64(line.as_bytes(), patterns);
        }
    }
}

/// The characters of base64 (RFC 4648) that depend on `bytes` alone, with 0, 1 or 2 bytes before them.
fn add_base64(bytes: &[u8], patterns: &mut BTreeSet<String>) {
    for offset in 0..3_usize {
        let mut shifted = vec![0; offset];
        shifted.extend_from_slice(bytes);
        // Six bits a character: the first of `bytes` begins in character ceil(offset * 8 / 6).
        let (first, last) = ((offset * 8).div_ceil(6), shifted.len() * 8 / 6);
        for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            patterns.insert(encoded[first..last].to_owned());
            if offset == 0 && encoded.len() > WRAP {
                let wrapped = encoded.as_bytes()[..last].chunks(WRAP);
                patterns.extend(wrapped.map(|line| String::from_utf8_lossy(line).into_owned()));
            }
        }
    }
}

/// Percent-encoding as RFC 3986 does it, as encodeURIComponent does it, and as forms do it.
fn add_url_encoded(text: &str, patterns: &mut BTreeSet<String>) {
    for kept in ["-._~", "-._~!'()*", "-._*"] {
        let upper: String = text.bytes().map(|byte| percent(byte, kept)).collect();
        patterns.insert(upper.replace("%20", "+"));
        patterns.insert(lower_hex(&upper));
        patterns.insert(upper);
    }
}

fn percent(byte: u8, kept: &str) -> String {
    if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        lower.push('%');
        lower.push_str(&hex.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const TOKEN: &str = "gh/p_s3cr+t valué";

    fn redact(values: &[&str], text: &str) -> String {
        let secrets: Vec<Secret> = values.iter().map(|value| Secret::new(*value)).collect();
        let mut out = String::new();
        Redactor::new(&secrets).append(text, text.len(), &mut out);
        out
    }

    #[test]
    fn the_value_itself_goes_wherever_it_stands() {
        assert_eq!(redact(&[TOKEN], &format!("a{TOKEN}{TOKEN} b")), "a[redacted][redacted] b");
        assert_eq!(redact(&[TOKEN], "nothing here"), "nothing here");
        assert_eq!(redact(&[], TOKEN), TOKEN);
    }

    #[test]
    fn base64_is_found_at_every_alignment() {
        for before in ["", "x", "xy", "xyz", "user:"] {
            for after in ["", "z", "zz"] {
                let encoded = STANDARD.encode(format!("{before}{TOKEN}{after}"));
                let out = redact(&[TOKEN], &encoded);
                assert!(out.contains(REDACTED), "{before}: {out}");
                // What is left around it holds at most the edges' neighbours.
                assert!(out.len() - REDACTED.len() <= before.len() * 2 + after.len() * 2 + 6, "{encoded} -> {out}");
            }
        }
    }

    #[test]
    fn wrapped_base64_is_found_on_each_of_its_lines() {
        let long = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(5);
        let encoded = STANDARD.encode(&long);
        for line in encoded.as_bytes().chunks(WRAP) {
            let line = String::from_utf8_lossy(line);
            assert!(redact(&[&long], &line).starts_with(REDACTED), "{line}");
        }
    }

    #[test]
    fn url_encoded_forms_are_found() {
        for encoded in ["gh%2Fp_s3cr%2Bt%20valu%C3%A9", "gh%2fp_s3cr%2bt%20valu%c3%a9", "gh%2Fp_s3cr%2Bt+valu%C3%A9"] {
            assert_eq!(redact(&[TOKEN], &format!("?k={encoded}&x")), "?k=[redacted]&x");
        }
    }

    #[test]
    fn a_key_file_is_redacted_line_by_line_but_not_its_armour() {
        let key = "-----BEGIN KEY-----\nb3BlbnNzaC1rZXk\nAAAAB3NzaC1yc2E\n-----END KEY-----\n";
        assert_eq!(redact(&[key], "  b3BlbnNzaC1rZXk"), "  [redacted]");
        assert_eq!(redact(&[key], r"x\nb3BlbnNzaC1rZXk\nAAAAB3NzaC1yc2E\n"), r"x\n[redacted]\n[redacted]\n");
        assert_eq!(redact(&[key], "-----BEGIN KEY-----"), "-----BEGIN KEY-----");
    }

    #[test]
    fn overlapping_values_leave_nothing_of_either() {
        assert_eq!(redact(&["abcdefgh", "efghijkl"], "-abcdefghijkl-"), "-[redacted]-");
    }

    #[test]
    fn short_values_are_left_alone() {
        assert_eq!(redact(&["true", "12345"], "true 12345"), "true 12345");
    }

    #[test]
    fn a_secret_that_a_cut_goes_through_is_replaced_whole() {
        let secret = Secret::new("topsecret");
        let mut out = String::new();
        Redactor::new([&secret]).append("0123topsecret and more", 8, &mut out);
        assert_eq!(out, "0123[redacted]");
    }

    #[test]
    fn the_beginning_of_a_secret_is_held_back() {
        let secret = Secret::new("topsecret");
        let redactor = Redactor::new([&secret]);
        assert_eq!(redactor.held(b"key: tops"), 4);
        assert_eq!(redactor.held(b"key: topsecre"), 8);
        assert_eq!(redactor.held(b"key: top"), 0);
        assert_eq!(redactor.held(b"key: topsecret"), 0);
    }
}
