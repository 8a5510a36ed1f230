//! Raw lines → the texts that leave the worker: UTF-8 made well-formed, secrets out, long ones cut and marked.

use std::sync::Arc;

use ckrv_types::limits::LINE_BYTES;

use super::redact::Redactor;
use super::split::RawLine;

/// Room for the mark at the end of a cut line.
const MARK_ROOM: usize = 64;

/// Texts on their way to the spool, in one buffer that is used again and again.
pub struct Lines {
    redactor: Arc<Redactor>,
    text: String,
    /// Where each line ends in `text`.
    ends: Vec<usize>,
}

impl Lines {
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, text: String::new(), ends: Vec::new() }
    }

    /// Bytes of a raw line that must be kept so that no secret is cut in half before it is seen.
    pub fn keep(redactor: &Redactor) -> usize {
        LINE_BYTES + redactor.longest()
    }

    /// Adds one line from a pipe.
    pub fn push(&mut self, line: RawLine<'_>) {
        let text = String::from_utf8_lossy(line.bytes);
        let start = self.text.len();
        let limit = if line.dropped == 0 && text.len() <= LINE_BYTES { text.len() } else { cut_at(&text) };
        self.redactor.append(&text, limit, &mut self.text);
        let mut missing = (text.len() - limit) as u64 + line.dropped;
        // Short secrets grow when they are replaced.
        if self.text.len() - start > LINE_BYTES {
            let cut = start + cut_at(&self.text[start..]);
            missing += (self.text.len() - cut) as u64;
            self.text.truncate(cut);
        }
        if missing > 0 {
            use std::fmt::Write as _;
            write!(self.text, " … [cut: {missing} more bytes]").expect("writing to a String cannot fail");
        }
        self.ends.push(self.text.len());
    }

    /// Adds a text that may have several lines.
    pub fn push_text(&mut self, text: &str) {
        for line in text.trim_end_matches('\n').split('\n') {
            self.push(RawLine { bytes: line.strip_suffix('\r').unwrap_or(line).as_bytes(), dropped: 0 });
        }
    }

    pub fn redactor(&self) -> Arc<Redactor> {
        Arc::clone(&self.redactor)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.ends.len()).map(|at| {
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.text[start..self.ends[at]]
        })
    }

    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

/// The character's edge that leaves room for the mark.
fn cut_at(text: &str) -> usize {
    text.floor_char_boundary(LINE_BYTES - MARK_ROOM)
}

#[cfg(test)]
mod tests {
    use ckrv_types::Secret;

    use super::super::split::LineSplitter;
    use super::*;

    fn lines(secrets: &[&str]) -> Lines {
        let secrets: Vec<Secret> = secrets.iter().map(|value| Secret::new(*value)).collect();
        Lines::new(Arc::new(Redactor::new(&secrets)))
    }

    #[test]
    fn ill_formed_bytes_become_replacement_characters() {
        let mut lines = lines(&[]);
        lines.push(RawLine { bytes: b"a\xff\xfe\xc3", dropped: 0 });
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["a\u{fffd}\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn a_line_of_ten_megabytes_is_cut_marked_and_within_the_limit() {
        let mut lines = lines(&[]);
        let keep = Lines::keep(&Redactor::default());
        let mut splitter = LineSplitter::new(keep);
        for _ in 0..160 {
            splitter.push(&vec![b'x'; LINE_BYTES], |_| panic!("the line has not ended"));
        }
        splitter.push(b"\n", |line| lines.push(line));
        let text = lines.iter().next().unwrap();
        assert!(text.len() <= LINE_BYTES);
        let kept = LINE_BYTES - MARK_ROOM;
        assert!(text.ends_with(&format!("x … [cut: {} more bytes]", 160 * LINE_BYTES - kept)), "{}", &text[kept - 5..]);
    }

    #[test]
    fn a_secret_across_the_cut_leaves_no_part_of_itself() {
        let secret = "0123456789abcdefghijklmnopqrstuvwxyz";
        for before in LINE_BYTES - MARK_ROOM - secret.len()..LINE_BYTES + 2 {
            let mut lines = lines(&[secret]);
            let mut bytes = vec![b'-'; before];
            bytes.extend_from_slice(secret.as_bytes());
            bytes.extend_from_slice(&[b'+'; 200]);
            let mut splitter = LineSplitter::new(Lines::keep(&lines.redactor));
            splitter.push(&bytes, |_| ());
            splitter.end(|line| lines.push(line));
            let text = lines.iter().next().unwrap();
            assert!(!text.contains("012345"), "{before}");
            assert!(text.len() <= LINE_BYTES);
        }
    }

    #[test]
    fn a_line_that_grows_over_the_limit_by_redaction_is_cut_again() {
        let mut lines = lines(&["secret"]);
        lines.push(RawLine { bytes: "secret".repeat(LINE_BYTES / 6).as_bytes(), dropped: 0 });
        assert!(lines.iter().all(|text| text.len() <= LINE_BYTES && text.contains("more bytes]")));
    }

    #[test]
    fn a_text_of_several_lines_is_several_lines() {
        let mut lines = lines(&[]);
        lines.push_text("one\r\ntwo\n\nfour\n");
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["one", "two", "", "four"]);
    }
}
