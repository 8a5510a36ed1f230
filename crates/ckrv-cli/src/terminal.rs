//! Text that others wrote, made harmless for a terminal.
//!
//! A log line or a message may hold escape sequences that move the cursor, rewrite what was printed before, set the
//! clipboard or answer queries as if typed (ECMA-48; kubectl's CVE-2021-25743). Only colours may stay.

use std::borrow::Cow;

/// Longest colour sequence that is kept; real ones are shorter than 24 bytes.
const LONGEST_COLOUR: usize = 64;

/// `text` without control characters and escape sequences; colours (SGR) stay if `colours`, and are reset at the end.
/// A tab stays. `\r` and line ends go: one line is expected.
pub fn harmless(text: &str, colours: bool) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = text;
    while let Some(at) = rest.find(is_control) {
        out.push_str(&rest[..at]);
        let (sequence, tail) = split_control(&rest[at..]);
        if colours && is_colour(sequence) {
            out.push_str(sequence);
            coloured = true;
        }
        rest = tail;
    }
    out.push_str(rest);
    if coloured {
        out.push_str("\x1b[0m");
    }
    Cow::Owned(out)
}

/// `text` on one line of at most `width` characters, for a cell or a summary.
pub fn one_line(text: &str, width: usize) -> String {
    let spaced: String = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let clean = harmless(spaced.trim(), false);
    if clean.chars().count() <= width {
        return clean.into_owned();
    }
    clean.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}

/// Splits off the control character that `text` begins with, together with the sequence that it introduces.
fn split_control(text: &str) -> (&str, &str) {
    let mut chars = text.char_indices();
    let end = match chars.next().map(|(_, c)| c) {
        Some('\x1b') => match chars.next() {
            Some((_, '[')) => csi_end(text, 2),
            Some((_, ']' | 'P' | 'X' | '^' | '_')) => string_end(text, 2),
            // Two characters, or three where a set is designated; what is no part of a sequence stays text.
            Some((at, '\x20'..='\x2f')) => {
                text[at + 1..].chars().next().map_or(text.len(), |next| at + 1 + next.len_utf8())
            }
            Some((at, '\x30'..='\x7e')) => at + 1,
            _ => 1,
        },
        Some('\u{9b}') => csi_end(text, 2),
        Some('\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => string_end(text, 2),
        Some(c) => c.len_utf8(),
        None => 0,
    };
    text.split_at(end)
}

/// Behind a control sequence: parameters and intermediates, then one final byte. A broken one ends where it breaks.
fn csi_end(text: &str, from: usize) -> usize {
    let body = text[from..].find(|c| !matches!(c, '\x20'..='\x3f')).map_or(text.len(), |at| from + at);
    match text[body..].chars().next() {
        Some('\x40'..='\x7e') => body + 1,
        _ => body,
    }
}

/// Behind a control string: up to BEL, ST, or the end of the text (an unterminated one must not reach the terminal).
fn string_end(text: &str, from: usize) -> usize {
    let rest = &text[from..];
    let ends = [("\x07", 1), ("\x1b\\", 2), ("\u{9c}", 2)];
    let first = ends.iter().filter_map(|(mark, length)| rest.find(mark).map(|at| from + at + length)).min();
    first.unwrap_or(text.len())
}

fn is_colour(sequence: &str) -> bool {
    sequence.len() <= LONGEST_COLOUR
        && sequence
            .strip_prefix("\x1b[")
            .and_then(|rest| rest.strip_suffix('m'))
            .is_some_and(|parameters| parameters.bytes().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_not_copied() {
        assert!(matches!(harmless("grün\t\u{1f980}", true), Cow::Borrowed("grün\t\u{1f980}")));
    }

    #[test]
    fn colours_stay_and_are_reset() {
        assert_eq!(harmless("a\x1b[1;31mb\x1b[38:5:3mc", true), "a\x1b[1;31mb\x1b[38:5:3mc\x1b[0m");
        assert_eq!(harmless("a\x1b[1;31mb", false), "ab");
    }

    #[test]
    fn whatever_else_a_terminal_obeys_is_removed() {
        for (text, left) in [
            ("a\rb", "ab"),
            ("a\x08\x7f\0b\n", "ab"),
            ("a\x1b[2Jb\x1b[1;1Hc", "abc"),
            ("a\x1b[?1049hb", "ab"),
            ("a\x1b[>4;2mb", "ab"),
            ("a\x1b]0;title\x07b", "ab"),
            ("a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"),
            ("a\x1b]8;;http://evil\x1b\\b", "ab"),
            ("a\u{9d}0;title\u{9c}b", "ab"),
            ("a\u{9b}31mb", "ab"),
            ("a\u{85}\u{9f}unterminated", "a"),
            ("a\x1bPq#0\x1b\\b", "ab"),
            ("a\x1b]0;unterminated", "a"),
            ("a\x1bcb", "ab"),
            ("a\x1b(0b", "ab"),
            ("a\x1b(", "a"),
            ("a\x1b", "a"),
            ("a\x1b[", "a"),
            ("a\x1b[31", "a"),
            ("a\x1b[31\x1b[2Jb", "ab"),
            ("a\x1b\x1b[2Jb", "ab"),
            ("a\x1b\u{1f980}b", "a\u{1f980}b"),
        ] {
            assert_eq!(harmless(text, true), left, "{text:?}");
        }
    }

    #[test]
    fn nothing_that_controls_survives_whatever_it_is_made_of() {
        // Every string of up to four characters from an alphabet of trouble.
        let alphabet = ['\x1b', '[', ']', 'm', '1', ';', '\x07', '\\', '\u{9b}', '\u{9d}', '(', 'P', 'x'];
        let mut texts = vec![String::new()];
        for _ in 0..4 {
            texts = texts.iter().flat_map(|t| alphabet.iter().map(move |c| format!("{t}{c}"))).collect();
            for text in &texts {
                let clean = harmless(text, false);
                assert!(!clean.chars().any(is_control), "{text:?} became {clean:?}");
            }
        }
    }

    #[test]
    fn a_cell_is_one_line_of_its_width() {
        assert_eq!(one_line(" a\nb\x1b[2J ", 10), "a b");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }
}
