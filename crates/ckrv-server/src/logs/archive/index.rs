//! Where which lines lie in an archived log, so that a reader of few lines fetches little.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Uncompressed size from which on a span is not extended.
const SPAN_BYTES: u64 = 512 * 1024;

/// An archived log: one object of zstd frames in the order of their lines. The whole of it is a zstd file of NDJSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    pub key: String,
    pub size: u64,
    /// Of the object, lower-case hex.
    pub sha256: String,
    pub spans: Vec<Span>,
}

/// Some consecutive frames. In the database a list: `[offset, length, first_seq, count, last_micros]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64, u64, i64)", into = "(u64, u64, u64, u64, i64)")]
pub struct Span {
    pub offset: u64,
    pub length: u64,
    pub first_seq: u64,
    pub count: u64,
    /// The latest of its lines' times, in microseconds since 1970.
    pub last_micros: i64,
}

impl From<(u64, u64, u64, u64, i64)> for Span {
    fn from((offset, length, first_seq, count, last_micros): (u64, u64, u64, u64, i64)) -> Self {
        Self { offset, length, first_seq, count, last_micros }
    }
}

impl From<Span> for (u64, u64, u64, u64, i64) {
    fn from(span: Span) -> Self {
        (span.offset, span.length, span.first_seq, span.count, span.last_micros)
    }
}

/// A frame as the index counts it.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// In the object.
    pub length: u64,
    /// Uncompressed.
    pub bytes: u64,
    pub first_seq: u64,
    pub count: u64,
    pub last_ts: OffsetDateTime,
}

/// Makes the index while the frames go by in order.
#[derive(Debug, Default)]
pub struct Indexer {
    spans: Vec<Span>,
    size: u64,
    /// Uncompressed size of the last span.
    bytes: u64,
    last_seq: u64,
}

/// A frame that does not follow the one before.
#[derive(Debug, thiserror::Error)]
#[error("line {found} is stored where line {expected} must be")]
pub struct OutOfOrder {
    expected: u64,
    found: u64,
}

impl Indexer {
    pub fn push(&mut self, frame: Frame) -> Result<(), OutOfOrder> {
        if frame.first_seq != self.last_seq + 1 {
            return Err(OutOfOrder { expected: self.last_seq + 1, found: frame.first_seq });
        }
        let micros = micros(frame.last_ts);
        if let Some(span) = self.spans.last_mut().filter(|_| self.bytes < SPAN_BYTES) {
            span.length += frame.length;
            span.count += frame.count;
            span.last_micros = span.last_micros.max(micros);
            self.bytes += frame.bytes;
        } else {
            let Frame { length, first_seq, count, .. } = frame;
            self.spans.push(Span { offset: self.size, length, first_seq, count, last_micros: micros });
            self.bytes = frame.bytes;
        }
        self.size += frame.length;
        self.last_seq += frame.count;
        Ok(())
    }

    /// The number of the last line.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub fn finish(self, key: String, sha256: String) -> Archive {
        Archive { key, size: self.size, sha256, spans: self.spans }
    }
}

/// A part of the object to fetch, and the lines that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub range: Range<u64>,
    pub first_seq: u64,
    pub count: u64,
}

impl Archive {
    /// The spans from the one that holds line `from` on, as many as have `budget` bytes in the object together (at least
    /// one). `since`: starts at the first span that has a line as young. `None`: there is no such line.
    pub fn part(&self, from: u64, since: Option<OffsetDateTime>, budget: u64) -> Option<Part> {
        let behind = |span: &Span| span.first_seq + span.count <= from;
        let rest = &self.spans[self.spans.partition_point(behind)..];
        let young = |span: &Span| since.is_none_or(|since| span.last_micros >= micros(since));
        let rest = &rest[rest.iter().position(young)?..];
        let first = rest.first()?;
        let mut part =
            Part { range: first.offset..first.offset + first.length, first_seq: first.first_seq, count: first.count };
        for span in &rest[1..] {
            if span.offset + span.length - part.range.start > budget {
                break;
            }
            part.range.end = span.offset + span.length;
            part.count += span.count;
        }
        Some(part)
    }
}

fn micros(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(second).unwrap()
    }

    /// Ten frames of ten lines and 100 bytes, one second apart, of which two make a span.
    fn archive() -> Archive {
        let mut indexer = Indexer::default();
        for number in 0..10 {
            let last_ts = at(number.try_into().unwrap());
            let frame = Frame { length: 100, bytes: SPAN_BYTES / 2, first_seq: number * 10 + 1, count: 10, last_ts };
            indexer.push(frame).unwrap();
        }
        assert_eq!(indexer.last_seq(), 100);
        indexer.finish("logs/x".to_owned(), "00".to_owned())
    }

    #[test]
    fn small_frames_share_a_span() {
        let archive = archive();
        assert_eq!((archive.spans.len(), archive.size), (5, 1000));
        let span = Span { offset: 200, length: 200, first_seq: 21, count: 20, last_micros: 3_000_000 };
        assert_eq!(archive.spans[1], span);
    }

    #[test]
    fn a_part_begins_at_the_line_and_is_as_long_as_the_budget() {
        let archive = archive();
        assert_eq!(archive.part(1, None, 450), Some(Part { range: 0..400, first_seq: 1, count: 40 }));
        assert_eq!(archive.part(41, None, 1), Some(Part { range: 400..600, first_seq: 41, count: 20 }));
        assert_eq!(archive.part(60, None, 1), Some(Part { range: 400..600, first_seq: 41, count: 20 }));
        assert_eq!(archive.part(100, None, u64::MAX).unwrap().range, 800..1000);
        assert_eq!(archive.part(101, None, u64::MAX), None);
    }

    #[test]
    fn a_time_skips_the_spans_before_it() {
        let archive = archive();
        assert_eq!(archive.part(1, Some(at(4)), 1).unwrap().first_seq, 41);
        assert_eq!(archive.part(61, Some(at(4)), 1).unwrap().first_seq, 61);
        assert_eq!(archive.part(1, Some(at(10)), 1), None);
    }

    #[test]
    fn frames_that_do_not_follow_each_other_are_refused() {
        let mut indexer = Indexer::default();
        let frame = Frame { length: 1, bytes: 1, first_seq: 2, count: 1, last_ts: at(0) };
        assert!(indexer.push(frame).is_err());
    }

    #[test]
    fn the_index_survives_the_database() {
        let archive = archive();
        let json = serde_json::to_value(&archive).unwrap();
        assert_eq!(json["spans"][1], serde_json::json!([200, 200, 21, 20, 3_000_000]));
        assert_eq!(serde_json::from_value::<Archive>(json).unwrap(), archive);
    }
}
