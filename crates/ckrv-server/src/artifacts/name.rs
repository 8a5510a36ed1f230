//! Which names artifacts may have. They become paths on users' machines, so only what is harmless everywhere.

use ckrv_types::limits;

/// Why a text is no artifact's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("must not be empty")]
    Empty,
    #[error("has more than {} characters", limits::ARTIFACT_NAME_CHARS)]
    TooLong,
    #[error("has a control character or a backslash in it")]
    Character,
    #[error("must be a relative path without `.`, `..` or empty parts")]
    Path,
}

/// A relative path with `/`, every part of which is a plain file name.
pub fn check(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.chars().count() > limits::ARTIFACT_NAME_CHARS {
        return Err(InvalidName::TooLong);
    }
    if name.chars().any(is_refused) {
        return Err(InvalidName::Character);
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(InvalidName::Path);
    }
    Ok(())
}

/// The name of something that was not stored, such as a glob without a match, made fit to be shown.
pub fn shown(name: &str) -> String {
    let fit = |c| if is_refused(c) { char::REPLACEMENT_CHARACTER } else { c };
    name.chars().map(fit).take(limits::ARTIFACT_NAME_CHARS).collect()
}

/// Control characters, those that reverse the text's direction (which make a name look like another), and `\`, which
/// separates paths on Windows.
fn is_refused(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c == '\\' || c.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_relative_paths_are_names() {
        for name in
            ["result.bundle", "files/a/b.txt", "files/.hidden", "files/…/ü n.txt", "files/a..b", "files/-rf", "a:b"]
        {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "a".repeat(limits::ARTIFACT_NAME_CHARS + 1);
        for (name, why) in [
            ("", InvalidName::Empty),
            (long.as_str(), InvalidName::TooLong),
            ("/etc/passwd", InvalidName::Path),
            ("../x", InvalidName::Path),
            ("a/../../x", InvalidName::Path),
            ("a/..", InvalidName::Path),
            ("..", InvalidName::Path),
            (".", InvalidName::Path),
            ("./a", InvalidName::Path),
            ("a//b", InvalidName::Path),
            ("a/", InvalidName::Path),
            ("..\\x", InvalidName::Character),
            ("C:\\x", InvalidName::Character),
            ("a\0b", InvalidName::Character),
            ("a\nb", InvalidName::Character),
            ("a\u{1b}[2Jb", InvalidName::Character),
            ("a\u{7f}", InvalidName::Character),
            ("a\u{85}", InvalidName::Character),
            ("exe.\u{202e}txt", InvalidName::Character),
        ] {
            assert_eq!(check(name), Err(why), "{name:?}");
        }
    }

    #[test]
    fn what_was_not_stored_is_shown_without_harm() {
        assert_eq!(shown("files/*.log"), "files/*.log");
        assert_eq!(shown("a\u{1b}[2J"), "a\u{fffd}[2J");
    }
}
