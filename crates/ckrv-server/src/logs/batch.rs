//! One append's body: a zstd frame of NDJSON lines, read and checked before anything is locked.
//!
//! What is stored is what was sent, byte for byte, unless a line had to change: a token of ours is masked, and a line
//! that is not written the way ckrv writes it is written anew. So readers may rely on the form of every stored line.
//!
//! Pure computing, up to some ten milliseconds for the largest batch: off the async threads where it is big.

use std::borrow::Cow;
use std::io::Read as _;

use bytes::Bytes;
use ckrv_types::log::Stream;
use ckrv_types::problem::FieldError;
use ckrv_types::{Problem, ProblemCode, limits, token};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::error::{ApiError, ApiResult};

/// 8 MiB: a frame that asks its readers for more memory is refused.
pub const WINDOW_LOG_MAX: u32 = 23;
const LEVEL: i32 = 3;

/// A line as it is stored: the fields of [`ckrv_types::log::Line`] in their order, its text borrowed where it can be.
#[derive(Deserialize, Serialize)]
struct StoredLine<'a> {
    seq: u64,
    #[serde(with = "time::serde::rfc3339")]
    ts: OffsetDateTime,
    stream: Stream,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Consecutive lines, checked.
#[derive(Debug)]
pub struct Batch {
    pub first_seq: u64,
    lines: Vec<LineEnd>,
    /// The lines in stored form, each with its line end.
    ndjson: Vec<u8>,
    /// What was sent, where it is just these lines.
    frame: Option<Bytes>,
}

#[derive(Debug, Clone, Copy)]
struct LineEnd {
    /// Offset behind the line's end in `ndjson`.
    end: usize,
    ts: OffsetDateTime,
}

/// Lines to store: one row of `log_chunks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub first_seq: u64,
    pub count: u32,
    /// Uncompressed.
    pub bytes: u32,
    /// The latest of the lines' times.
    pub last_ts: OffsetDateTime,
    pub frame: Bytes,
}

impl Batch {
    /// Reads a body whose first line has the number `first_seq`.
    pub fn read(first_seq: u64, body: Bytes) -> ApiResult<Self> {
        let sent = decompress(&body)?;
        let mut batch = Self { first_seq, lines: Vec::new(), ndjson: Vec::with_capacity(sent.len()), frame: None };
        for line in sent.split_inclusive(|byte| *byte == b'\n') {
            batch.push(line)?;
        }
        if batch.lines.is_empty() {
            return Err(Problem::new(ProblemCode::BadRequest).detail("The batch has no line.").into());
        }
        if batch.ndjson == sent {
            batch.frame = Some(body);
        }
        Ok(batch)
    }

    /// Whether it can be stored as it came.
    pub fn is_as_sent(&self) -> bool {
        self.frame.is_some()
    }

    /// Number of lines.
    #[expect(clippy::len_without_is_empty, reason = "an empty batch is refused")]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Uncompressed size of line `index`, with its line end.
    pub fn line_bytes(&self, index: usize) -> u64 {
        (self.lines[index].end - self.start(index)) as u64
    }

    /// The time of line `index`.
    pub fn ts(&self, index: usize) -> OffsetDateTime {
        self.lines[index].ts
    }

    /// Lines `from..to`, which must not be empty, and then `last`, where there is one.
    pub fn chunk(&self, from: usize, to: usize, last: Option<&ckrv_types::log::Line>) -> Chunk {
        let first_seq = self.first_seq + from as u64;
        let latest = self.lines[from..to].iter().map(|line| line.ts).chain(last.map(|line| line.ts)).max();
        let mut ndjson = Cow::Borrowed(&self.ndjson[self.start(from)..self.start(to)]);
        if let Some(line) = last {
            serde_json::to_writer(ndjson.to_mut(), line).expect("a line has only string keys");
            ndjson.to_mut().push(b'\n');
        }
        let whole = from == 0 && to == self.len() && last.is_none();
        let frame = self.frame.clone().filter(|_| whole).unwrap_or_else(|| compress(&ndjson));
        Chunk {
            first_seq,
            count: small(to - from + usize::from(last.is_some())),
            bytes: small(ndjson.len()),
            last_ts: latest.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            frame,
        }
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.lines[before].end)
    }

    fn push(&mut self, line: &[u8]) -> ApiResult<()> {
        let number = self.lines.len();
        if number == limits::BATCH_LINES {
            let detail = format!("A batch has at most {} lines.", limits::BATCH_LINES);
            return Err(Problem::new(ProblemCode::TooLarge).detail(detail).into());
        }
        let mut parsed: StoredLine = serde_json::from_slice(line)
            .map_err(|error| Problem::new(ProblemCode::BadRequest).detail(format!("Line {number}: {error}.")))?;
        self.check(&parsed)?;
        if let Some(masked) = token::mask(&parsed.text) {
            parsed.text = masked.into();
        }
        serde_json::to_writer(&mut self.ndjson, &parsed).expect("a line has only string keys");
        self.ndjson.push(b'\n');
        self.lines.push(LineEnd { end: self.ndjson.len(), ts: parsed.ts });
        Ok(())
    }

    fn check(&self, line: &StoredLine<'_>) -> ApiResult<()> {
        let (number, expected) = (self.lines.len(), self.first_seq + self.lines.len() as u64);
        if line.seq != expected {
            return Err(invalid(format!("{number}.seq"), format!("must be {expected}, is {}", line.seq)));
        }
        if line.text.len() > limits::LINE_BYTES {
            return Err(invalid(format!("{number}.text"), format!("has more than {} bytes", limits::LINE_BYTES)));
        }
        if line.text.contains('\n') {
            return Err(invalid(format!("{number}.text"), "has a line end in it".to_owned()));
        }
        Ok(())
    }
}

fn decompress(body: &[u8]) -> ApiResult<Vec<u8>> {
    let unreadable = |error: std::io::Error| {
        Problem::new(ProblemCode::BadRequest).detail(format!("The body is not a zstd frame: {error}."))
    };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(unreadable)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(unreadable)?;
    let mut out = Vec::new();
    decoder.take(limits::BATCH_BYTES as u64 + 1).read_to_end(&mut out).map_err(unreadable)?;
    if out.len() > limits::BATCH_BYTES {
        let detail = format!("A batch has at most {} bytes when decompressed.", limits::BATCH_BYTES);
        return Err(Problem::new(ProblemCode::TooLarge).detail(detail).into());
    }
    Ok(out)
}

fn compress(ndjson: &[u8]) -> Bytes {
    zstd::bulk::compress(ndjson, LEVEL).expect("compressing memory to memory cannot fail").into()
}

fn invalid(field: String, message: String) -> ApiError {
    Problem { errors: vec![FieldError { field, message }], ..Problem::new(ProblemCode::Invalid) }
        .detail("A line of the batch breaks a rule.")
        .into()
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("a batch is bounded far below")
}

#[cfg(test)]
mod tests {
    use ckrv_types::log::Line;

    use super::*;

    fn line(seq: u64, text: &str) -> Line {
        let ts = OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(i64::try_from(seq).unwrap());
        Line { seq, ts, stream: Stream::Stdout, text: text.to_owned() }
    }

    fn ndjson(lines: &[Line]) -> String {
        lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
    }

    fn body(ndjson: &str) -> Bytes {
        compress(ndjson.as_bytes())
    }

    fn unpacked(chunk: &Chunk) -> String {
        String::from_utf8(zstd::stream::decode_all(&*chunk.frame).unwrap()).unwrap()
    }

    #[test]
    fn a_good_batch_is_stored_as_the_very_frame_that_came() {
        let text = ndjson(&[line(5, "a"), line(6, "täb\t\"quoted\" \u{1b}[0m")]);
        let sent = body(&text);
        let chunk = Batch::read(5, sent.clone()).unwrap().chunk(0, 2, None);
        assert_eq!(chunk.frame, sent);
        assert_eq!((chunk.first_seq, chunk.count, chunk.bytes as usize), (5, 2, text.len()));
        assert_eq!(chunk.last_ts, line(6, "").ts);
    }

    #[test]
    fn a_part_of_a_batch_has_the_same_lines_and_may_end_with_one_of_ours() {
        let lines: Vec<Line> = (1..=4).map(|seq| line(seq, "x")).collect();
        let batch = Batch::read(1, body(&ndjson(&lines))).unwrap();
        let chunk = batch.chunk(1, 3, None);
        assert_eq!((chunk.first_seq, chunk.count), (2, 2));
        assert_eq!(unpacked(&chunk), ndjson(&lines[1..3]));

        let ours = Line { stream: Stream::System, ..line(3, "enough") };
        let chunk = batch.chunk(1, 2, Some(&ours));
        assert_eq!((chunk.first_seq, chunk.count), (2, 2));
        assert_eq!(unpacked(&chunk), ndjson(&[lines[1].clone(), ours]));
    }

    #[test]
    fn a_token_of_ours_is_masked() {
        let secret = token::compose(token::TokenKind::Attempt, "x", &[1; token::SECRET_BYTES]);
        let batch = Batch::read(1, body(&ndjson(&[line(1, &format!("key {secret}!"))]))).unwrap();
        assert_eq!(unpacked(&batch.chunk(0, 1, None)), ndjson(&[line(1, "key ck_attempt_[redacted]!")]));
    }

    #[test]
    fn lines_are_stored_in_one_form_however_they_were_written() {
        let odd = r#" { "text":"\u0041", "attempt":9, "stream":"stdout","ts":"1970-01-01T00:00:00.0010Z","seq":1 }"#;
        let batch = Batch::read(1, body(odd)).unwrap();
        assert_eq!(unpacked(&batch.chunk(0, 1, None)), ndjson(&[line(1, "A")]));
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        let long = "x".repeat(limits::LINE_BYTES + 1);
        let many: Vec<Line> = (1..=limits::BATCH_LINES as u64 + 1).map(|seq| line(seq, "")).collect();
        let huge: Vec<Line> = (1..=200).map(|seq| line(seq, &long[1..])).collect();
        for (text, code) in [
            (String::new(), ProblemCode::BadRequest),
            ("{}\n".to_owned(), ProblemCode::BadRequest),
            (format!("{}\n", ndjson(&[line(1, "a")])), ProblemCode::BadRequest),
            (ndjson(&[line(2, "a")]), ProblemCode::Invalid),
            (ndjson(&[line(1, "a"), line(3, "b")]), ProblemCode::Invalid),
            (ndjson(&[line(1, "a\nb")]), ProblemCode::Invalid),
            (ndjson(&[line(1, &long)]), ProblemCode::Invalid),
            (ndjson(&many), ProblemCode::TooLarge),
            (ndjson(&huge), ProblemCode::TooLarge),
        ] {
            let refused = Batch::read(1, body(&text)).unwrap_err().problem();
            assert_eq!(refused.code, code, "{text:.80}: {refused:?}");
        }
        for broken in [&b"not zstd"[..], &body(&ndjson(&[line(1, "a")]))[..12]] {
            assert_eq!(
                Batch::read(1, Bytes::copy_from_slice(broken)).unwrap_err().problem().code,
                ProblemCode::BadRequest
            );
        }
    }

    #[test]
    fn a_small_body_that_unpacks_to_gigabytes_is_refused_within_bounds() {
        let zeros = std::io::repeat(0).take(256 * 1024 * 1024);
        let bomb = zstd::stream::encode_all(zeros, 3).unwrap();
        assert!(bomb.len() < limits::BATCH_WIRE_BYTES);
        assert_eq!(Batch::read(1, bomb.into()).unwrap_err().problem().code, ProblemCode::TooLarge);
    }

    #[test]
    fn a_frame_that_asks_for_a_huge_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, ndjson(&[line(1, "a")]).as_bytes()).unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(Batch::read(1, frame.into()).unwrap_err().problem().code, ProblemCode::BadRequest);
    }
}
