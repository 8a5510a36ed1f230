//! What the user is told about things that could not be taken over; a hostile tree must not make it long.

const KEPT: usize = 50;
const CHARS: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Warnings {
    kept: Vec<String>,
    more: usize,
}

impl Warnings {
    pub fn add(&mut self, text: impl Into<String>) {
        if self.kept.len() < KEPT {
            self.kept.push(printable(&text.into()));
        } else {
            self.more += 1;
        }
    }

    pub fn extend(&mut self, other: Self) {
        self.more += other.more;
        other.kept.into_iter().for_each(|text| self.add(text));
    }

    pub fn into_texts(mut self) -> Vec<String> {
        if self.more > 0 {
            self.kept.push(format!("… and {} more", self.more));
        }
        self.kept
    }
}

/// A text with pieces of the agent's in it, for a terminal: not long, and nothing that moves its cursor.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_warnings_are_told_as_fifty_and_a_count() {
        let mut warnings = Warnings::default();
        (0..1000).for_each(|i| warnings.add(format!("\x1b[2J{i}")));
        let texts = warnings.into_texts();
        assert_eq!((texts.len(), texts[50].as_str()), (51, "… and 950 more"));
        assert!(!texts[0].contains('\x1b'));
    }
}
