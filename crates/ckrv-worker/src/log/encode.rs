//! Lines as they travel: NDJSON of [`ckrv_types::log::Line`], written by hand because it is the hot path.

use ckrv_types::log::Stream;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes that an encoded line has besides its text.
const FRAME: usize = 128;
/// The longest escape of JSON is six bytes for one (`\u0001`).
const ESCAPE: usize = 6;

/// The most bytes that a text of this length can take.
pub const fn bound(text_len: usize) -> usize {
    text_len * ESCAPE + FRAME
}

/// The time of arrival, formatted once for all lines that came together. Milliseconds: it is for reading.
pub fn stamp(now: OffsetDateTime) -> String {
    let millis = now.nanosecond() / 1_000_000 * 1_000_000;
    now.replace_nanosecond(millis)
        .ok()
        .and_then(|now| now.format(&Rfc3339).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

/// Appends one line with its `\n`.
pub fn encode(out: &mut Vec<u8>, seq: u64, stamp: &str, stream: Stream, text: &str) {
    const INFALLIBLE: &str = "writing to a Vec cannot fail";
    out.extend_from_slice(br#"{"seq":"#);
    serde_json::to_writer(&mut *out, &seq).expect(INFALLIBLE);
    out.extend_from_slice(br#","ts":""#);
    out.extend_from_slice(stamp.as_bytes());
    out.extend_from_slice(match stream {
        Stream::Stdout => br#"","stream":"stdout","text":"#,
        Stream::Stderr => br#"","stream":"stderr","text":"#,
        Stream::System => br#"","stream":"system","text":"#,
    });
    serde_json::to_writer(&mut *out, text).expect(INFALLIBLE);
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use ckrv_types::log::Line;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_a_line_and_keeps_to_its_bound(text in ".{0,40}", seq in any::<u64>()) {
            let now = OffsetDateTime::now_utc();
            let mut out = Vec::new();
            encode(&mut out, seq, &stamp(now), Stream::Stderr, &text);
            prop_assert!(out.len() <= bound(text.len()));
            prop_assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1);
            let line: Line = serde_json::from_slice(&out).unwrap();
            prop_assert!((now - line.ts).whole_milliseconds() == 0);
            prop_assert_eq!((line.seq, line.stream, line.text), (seq, Stream::Stderr, text));
        }
    }

    #[test]
    fn control_characters_stay_within_the_bound() {
        let text: String = "\u{1}".repeat(1000);
        let mut out = Vec::new();
        encode(&mut out, u64::MAX, &stamp(OffsetDateTime::now_utc()), Stream::System, &text);
        assert!(out.len() <= bound(text.len()));
    }
}
