//! The lines of some consecutive frames, unpacked as they are wanted: however large a frame, a slow reader holds little more
//! than what came from the store.

use std::io::{self, BufRead as _, BufReader, Cursor as Slice};

use bytes::Bytes;
use ckrv_types::log::Cursor;
use serde::Deserialize;
use time::OffsetDateTime;
use zstd::stream::read::Decoder;

use super::format::Format;
use crate::logs::batch::WINDOW_LOG_MAX;

/// So much is unpacked and sent at once.
const PIECE: usize = 64 * 1024;

/// Frames as they are stored, one behind the other.
pub struct Frames {
    pub first_seq: u64,
    pub count: u64,
    pub bytes: Bytes,
}

pub struct Lines {
    unpacked: BufReader<Decoder<'static, Slice<Bytes>>>,
    next_seq: u64,
    left: u64,
    line: Vec<u8>,
}

impl Lines {
    pub fn new(frames: Frames) -> io::Result<Self> {
        let mut decoder = Decoder::with_buffer(Slice::new(frames.bytes))?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        let unpacked = BufReader::with_capacity(PIECE, decoder);
        Ok(Self { unpacked, next_seq: frames.first_seq, left: frames.count, line: Vec::new() })
    }

    /// The next lines behind `at` in their form, about [`PIECE`] bytes; nothing: there are no more. Moves `at` on.
    ///
    /// `since`: lines are left out up to the first that is not older; then it is done with.
    pub fn piece(
        &mut self,
        format: Format,
        at: &mut Cursor,
        since: &mut Option<OffsetDateTime>,
    ) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < PIECE && self.advance()? {
            let seq = self.next_seq - 1;
            if seq <= at.seq {
                continue;
            }
            at.seq = seq;
            if let Some(wanted) = *since {
                if timestamp(&self.line)? < wanted {
                    continue;
                }
                *since = None;
            }
            format.line(*at, &self.line, &mut out)?;
        }
        Ok(out)
    }

    /// Reads the next line into `line`, without its line end; false: there is none.
    fn advance(&mut self) -> io::Result<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        self.line.clear();
        self.unpacked.read_until(b'\n', &mut self.line)?;
        if self.line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= 1;
        self.next_seq += 1;
        Ok(true)
    }
}

fn timestamp(line: &[u8]) -> serde_json::Result<OffsetDateTime> {
    #[derive(Deserialize)]
    struct Timestamp {
        #[serde(with = "time::serde::rfc3339")]
        ts: OffsetDateTime,
    }
    serde_json::from_slice::<Timestamp>(line).map(|line| line.ts)
}

#[cfg(test)]
mod tests {
    use ckrv_types::log::{Line, Stream};

    use super::*;

    fn at(second: u64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second.try_into().unwrap()).unwrap()
    }

    fn frame(seqs: std::ops::RangeInclusive<u64>) -> Vec<u8> {
        let line = |seq| Line { seq, ts: at(seq), stream: Stream::Stdout, text: format!("line {seq}") };
        let ndjson: String = seqs.map(|seq| serde_json::to_string(&line(seq)).unwrap() + "\n").collect();
        zstd::bulk::compress(ndjson.as_bytes(), 1).unwrap()
    }

    fn lines(count: u64) -> Lines {
        let half = count / 2;
        let bytes = [frame(1..=half), frame(half + 1..=count)].concat().into();
        Lines::new(Frames { first_seq: 1, count, bytes }).unwrap()
    }

    fn read(mut lines: Lines, mut cursor: Cursor, mut since: Option<OffsetDateTime>) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let piece = lines.piece(Format::Text, &mut cursor, &mut since).unwrap();
            if piece.is_empty() {
                return String::from_utf8(all).unwrap().lines().map(str::to_owned).collect();
            }
            assert!(piece.len() < 2 * PIECE, "{} bytes at once", piece.len());
            all.extend(piece);
        }
    }

    #[test]
    fn every_line_of_every_frame_comes_once_in_order() {
        let expected: Vec<String> = (1..=50_000).map(|seq| format!("line {seq}")).collect();
        assert_eq!(read(lines(50_000), Cursor { attempt: 1, seq: 0 }, None), expected);
    }

    #[test]
    fn lines_before_the_cursor_and_before_the_time_are_left_out() {
        assert_eq!(read(lines(6), Cursor { attempt: 1, seq: 4 }, None), ["line 5", "line 6"]);
        assert_eq!(read(lines(6), Cursor { attempt: 1, seq: 0 }, Some(at(5))), ["line 5", "line 6"]);
        assert!(read(lines(6), Cursor { attempt: 1, seq: 0 }, Some(at(7))).is_empty());
    }

    #[test]
    fn frames_with_fewer_lines_than_were_counted_are_an_error() {
        let frames = Frames { first_seq: 1, count: 3, bytes: frame(1..=2).into() };
        let mut lines = Lines::new(frames).unwrap();
        assert!(lines.piece(Format::Text, &mut Cursor { attempt: 1, seq: 0 }, &mut None).is_err());
    }
}
