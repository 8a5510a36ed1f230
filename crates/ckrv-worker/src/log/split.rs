//! Bytes of a pipe → lines, whatever the chunks they come in. Knows nothing of text, secrets or numbers.

use memchr::memchr;

/// One line without its line end (`\n` or `\r\n`), as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLine<'a> {
    pub bytes: &'a [u8],
    /// Bytes of the line behind `bytes` that were not kept.
    pub dropped: u64,
}

/// Splits one stream into lines. Memory: at most `keep` bytes, however long a line gets.
#[derive(Debug)]
pub struct LineSplitter {
    keep: usize,
    partial: Vec<u8>,
    dropped: u64,
    /// The last dropped byte is `\r`, which may be half of a line end.
    dropped_cr: bool,
    /// Part of this line was shown already: a line end that follows at once is not a line of its own.
    shown: bool,
    /// Bytes came since the partial line was last looked at.
    fresh: bool,
}

impl LineSplitter {
    /// Keeps the first `keep` bytes of each line.
    pub fn new(keep: usize) -> Self {
        Self { keep, partial: Vec::new(), dropped: 0, dropped_cr: false, shown: false, fresh: false }
    }

    /// Takes the next bytes and emits every line that they end.
    pub fn push(&mut self, mut chunk: &[u8], mut emit: impl FnMut(RawLine<'_>)) {
        while let Some(at) = memchr(b'\n', chunk) {
            self.end_line(&chunk[..at], &mut emit);
            chunk = &chunk[at + 1..];
        }
        if !chunk.is_empty() {
            self.store(chunk);
            self.fresh = true;
        }
    }

    /// Whether an unfinished line waits that [`Self::flush`] has not seen yet.
    pub const fn is_partial(&self) -> bool {
        self.fresh
    }

    /// Emits the unfinished line after a silence. `hold` says how many of its last bytes to keep back for later; an
    /// incomplete character and a `\r` (half of a line end, perhaps) are kept back too.
    pub fn flush(&mut self, hold: impl FnOnce(&[u8]) -> usize, mut emit: impl FnMut(RawLine<'_>)) {
        self.fresh = false;
        let whole = if self.dropped > 0 { self.partial.len() } else { complete_len(&self.partial) };
        let ready = whole - hold(&self.partial[..whole]).min(whole);
        if ready == 0 {
            return;
        }
        emit(RawLine { bytes: &self.partial[..ready], dropped: self.dropped });
        self.partial.drain(..ready);
        self.dropped = 0;
        self.dropped_cr = false;
        self.shown = true;
    }

    /// The stream is over: emits what is left.
    pub fn end(&mut self, mut emit: impl FnMut(RawLine<'_>)) {
        if !self.partial.is_empty() || self.dropped > 0 {
            self.end_line(&[], &mut emit);
        }
        self.fresh = false;
    }

    fn end_line(&mut self, tail: &[u8], emit: &mut impl FnMut(RawLine<'_>)) {
        let shown = std::mem::take(&mut self.shown);
        self.fresh = false;
        if self.partial.is_empty() && self.dropped == 0 && tail.len() <= self.keep {
            // The usual case: the line lies whole in the chunk, nothing is copied.
            let bytes = tail.strip_suffix(b"\r").unwrap_or(tail);
            if !(shown && bytes.is_empty()) {
                emit(RawLine { bytes, dropped: 0 });
            }
            return;
        }
        self.store(tail);
        if self.dropped > 0 {
            self.dropped -= u64::from(self.dropped_cr);
        } else if self.partial.last() == Some(&b'\r') {
            self.partial.pop();
        }
        if !(shown && self.partial.is_empty()) {
            emit(RawLine { bytes: &self.partial, dropped: self.dropped });
        }
        self.partial.clear();
        self.dropped = 0;
        self.dropped_cr = false;
    }

    fn store(&mut self, bytes: &[u8]) {
        let room = self.keep.saturating_sub(self.partial.len()).min(bytes.len());
        let (kept, dropped) = bytes.split_at(room);
        self.partial.extend_from_slice(kept);
        if let Some(last) = dropped.last() {
            self.dropped += dropped.len() as u64;
            self.dropped_cr = *last == b'\r';
        }
    }
}

/// The length of `bytes` without an incomplete UTF-8 sequence or a `\r` at its end.
fn complete_len(bytes: &[u8]) -> usize {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    // A sequence has at most four bytes: an incomplete one begins within the last three.
    let tail = bytes.len().saturating_sub(3);
    let Some(lead) = bytes[tail..].iter().rposition(|byte| byte & 0b1100_0000 == 0b1100_0000) else {
        return bytes.len();
    };
    let (sequence, wanted) = (bytes.len() - tail - lead, bytes[tail + lead].leading_ones() as usize);
    if (2..=4).contains(&wanted) && sequence < wanted { tail + lead } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(keep: usize, chunks: &[&[u8]]) -> Vec<(Vec<u8>, u64)> {
        let mut splitter = LineSplitter::new(keep);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push((line.bytes.to_vec(), line.dropped)));
        }
        splitter.end(|line| lines.push((line.bytes.to_vec(), line.dropped)));
        lines
    }

    #[test]
    fn both_line_ends_and_a_missing_last_one_are_understood() {
        let lines = split(100, &[b"a\r\n\nb\rc\n\r\nd"]);
        let texts: Vec<&[u8]> = lines.iter().map(|(bytes, _)| bytes.as_slice()).collect();
        assert_eq!(texts, [b"a".as_slice(), b"", b"b\rc", b"", b"d"]);
    }

    #[test]
    fn a_long_line_is_counted_behind_what_is_kept() {
        assert_eq!(split(4, &[b"abcdef", b"gh\r", b"\nx\n"]), [(b"abcd".to_vec(), 4), (b"x".to_vec(), 0)]);
    }

    #[test]
    fn a_line_shown_after_silence_is_not_followed_by_an_empty_one() {
        let mut splitter = LineSplitter::new(100);
        let mut lines = Vec::new();
        splitter.push(b"name? ", |_| panic!("not a line yet"));
        assert!(splitter.is_partial());
        splitter.flush(|_| 0, |line| lines.push(line.bytes.to_vec()));
        assert!(!splitter.is_partial());
        splitter.push(b"\nnext\n\n", |line| lines.push(line.bytes.to_vec()));
        assert_eq!(lines, [b"name? ".to_vec(), b"next".to_vec(), b"".to_vec()]);
    }

    #[test]
    fn half_a_character_and_half_a_line_end_wait_for_their_other_half() {
        for (partial, shown) in [("aü".as_bytes(), "aü"), (b"a\xc3", "a"), (b"a\xf0\x9f\x98", "a"), (b"a\r", "a")] {
            let mut splitter = LineSplitter::new(100);
            splitter.push(partial, |_| ());
            let mut lines = Vec::new();
            splitter.flush(|_| 0, |line| lines.push(line.bytes.to_vec()));
            assert_eq!(lines, [shown.as_bytes()], "{partial:?}");
        }
    }

    #[test]
    fn what_is_held_back_comes_with_the_next_bytes() {
        let mut splitter = LineSplitter::new(100);
        let mut lines = Vec::new();
        splitter.push(b"key=sec", |_| ());
        splitter.flush(|_| 3, |line| lines.push(line.bytes.to_vec()));
        splitter.push(b"ret\n", |line| lines.push(line.bytes.to_vec()));
        assert_eq!(lines, [b"key=".to_vec(), b"secret".to_vec()]);
    }

    proptest! {
        #[test]
        fn any_chunking_of_any_bytes_gives_the_same_lines(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..300),
            cuts in proptest::collection::vec(0_usize..300, 0..12),
            keep in 1_usize..40,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.insert(0, 0);
            cuts.push(bytes.len());
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(keep, &chunks), split(keep, &[&bytes]));
        }
    }
}
