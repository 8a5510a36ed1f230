//! Text that others send us, made fit to be kept.

use ckrv_types::limits;
use ckrv_types::usage::Usage;

/// At most `chars` characters, none of them NUL, which PostgreSQL's text cannot hold.
pub fn clean(text: &str, chars: usize) -> String {
    text.chars().take(chars).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// At most `chars` characters of one line, none of which hides, turns round or controls what people see of the others.
pub fn visible(text: &str, chars: usize) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().filter(|c| !hidden(*c)).take(chars).collect::<String>().trim().to_owned()
}

/// A message that goes with a cause or an observation; an empty one is none.
pub fn message(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty()).map(|text| clean(text, limits::MESSAGE_CHARS))
}

/// Usage with a model's name that can be kept.
pub fn usage(usage: Option<Usage>) -> Option<Usage> {
    usage.map(|usage| Usage { model: usage.model.map(|model| clean(&model, limits::MESSAGE_CHARS)), ..usage })
}

/// Whether `text` is a name of something outside, such as a machine: 1 to 255 characters of one line.
pub fn is_label(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= limits::LABEL_VALUE_CHARS && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_cannot_hold_is_replaced_and_what_is_too_long_is_cut() {
        assert_eq!(clean("a\0b", 10), "a\u{fffd}b");
        assert_eq!(clean("äöü", 2), "äö");
        assert_eq!(message(Some("  ")), None);
    }

    #[test]
    fn what_is_shown_to_people_has_nothing_in_it_that_they_cannot_see() {
        assert_eq!(visible(" my\0 lap\u{202e}top\r\n\u{1b}[31m ", 100), "my laptop[31m");
        assert_eq!(visible("\u{200b}äöü", 2), "äö");
    }
}
