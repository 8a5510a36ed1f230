//! The names by which requests call things: those of real things, and as many of nothing.

use std::collections::BTreeMap;

/// What things are called, by what they are to a test.
#[derive(Debug, Clone, Default)]
pub struct Names(BTreeMap<&'static str, String>);

impl Names {
    #[expect(clippy::needless_pass_by_value, reason = "an id or a literal")]
    pub fn add(&mut self, what: &'static str, name: impl ToString) {
        let before = self.0.insert(what, name.to_string());
        assert!(before.is_none(), "there are two of `{what}`");
    }

    pub fn get(&self, what: &str) -> &str {
        self.0.get(what).unwrap_or_else(|| panic!("tests/it/matrix/world.rs makes no `{what}`"))
    }

    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(what, name)| (*what, name.as_str()))
    }

    /// A text in which each `<what>` is the name of that.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        while let Some((before, rest)) = filled.split_once('<') {
            let (what, after) = rest.split_once('>').unwrap_or_else(|| panic!("`{text}` has a < without its >"));
            filled = format!("{before}{}{after}", self.get(what));
        }
        filled
    }

    /// A text in which each of the names is what it stands for.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (what, name)| text.replace(name, &format!("[{what}]")))
    }
}
