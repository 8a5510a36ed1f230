//! The three forms of a log: server-sent events (WHATWG HTML, section 9.2), NDJSON, and bare text.
//!
//! A stored line is `{"seq":…` by construction, so that putting the attempt before it makes a
//! [`ckrv_types::log::JobLine`] without reading it. JSON has no line end inside, so one `data:` line holds it.

use std::borrow::Cow;
use std::fmt::Write as _;

use ckrv_types::log::{Cursor, End, Gap, Status};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Events,
    Ndjson,
    Text,
}

/// A comment, which readers ignore: something is sent, so the connection stays.
pub const HEARTBEAT: &str = ":\n\n";
/// Readers that lose the connection come back after a second.
pub const PREAMBLE: &str = "retry: 1000\n\n";

impl Format {
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Ndjson => "application/x-ndjson",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// Adds a stored line, which stands without its line end.
    pub fn line(self, at: Cursor, stored: &[u8], out: &mut Vec<u8>) -> serde_json::Result<()> {
        let Cursor { attempt, seq } = at;
        let fields = stored.get(1..).unwrap_or_default();
        match self {
            Self::Events => {
                let head = format!("event: log\nid: {attempt}.{seq}\ndata: {{\"attempt\":{attempt},");
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(fields);
                out.extend_from_slice(b"\n\n");
            }
            Self::Ndjson => {
                out.extend_from_slice(format!("{{\"attempt\":{attempt},").as_bytes());
                out.extend_from_slice(fields);
                out.push(b'\n');
            }
            Self::Text => {
                out.extend_from_slice(text(stored)?.as_bytes());
                out.push(b'\n');
            }
        }
        Ok(())
    }

    pub fn status(self, status: &Status, out: &mut Vec<u8>) {
        self.event("status", None, status, out);
    }

    pub fn gap(self, gap: &Gap, out: &mut Vec<u8>) {
        self.event("gap", Some(Cursor { attempt: gap.attempt, seq: gap.last_seq }), gap, out);
    }

    /// With the log's last position, so that a reader that comes back from here is told that it has everything.
    pub fn end(self, at: Cursor, end: &End, out: &mut Vec<u8>) {
        self.event("end", Some(at), end, out);
    }

    /// Only events can say more than lines.
    fn event(self, name: &str, id: Option<Cursor>, data: &impl Serialize, out: &mut Vec<u8>) {
        if self != Self::Events {
            return;
        }
        let mut event = format!("event: {name}\n");
        if let Some(id) = id {
            let _ = writeln!(event, "id: {id}");
        }
        event.push_str("data: ");
        event.push_str(&serde_json::to_string(data).expect("an event has only string keys"));
        event.push_str("\n\n");
        out.extend_from_slice(event.as_bytes());
    }
}

/// The text of a stored line.
fn text(stored: &[u8]) -> serde_json::Result<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a> {
        #[serde(borrow)]
        text: Cow<'a, str>,
    }
    serde_json::from_slice::<Text<'_>>(stored).map(|line| line.text)
}

#[cfg(test)]
mod tests {
    use ckrv_types::log::{JobLine, Line, Stream};
    use time::OffsetDateTime;

    use super::*;

    const AT: Cursor = Cursor { attempt: 2, seq: 7 };

    fn sample() -> Line {
        let text = "say \"hi\"\u{1b}[0m\r".to_owned();
        Line { seq: 7, ts: OffsetDateTime::UNIX_EPOCH, stream: Stream::Stderr, text }
    }

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        format.line(AT, serde_json::to_string(&sample()).unwrap().as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_becomes_the_job_line_of_the_api() {
        let expected = serde_json::to_string(&JobLine { attempt: 2, line: sample() }).unwrap();
        assert_eq!(written(Format::Ndjson), format!("{expected}\n"));
        assert_eq!(written(Format::Events), format!("event: log\nid: 2.7\ndata: {expected}\n\n"));
        assert_eq!(written(Format::Text), sample().text + "\n");
    }

    #[test]
    fn gaps_and_the_end_are_events_alone() {
        let gap = Gap { attempt: 2, first_seq: 8, last_seq: 9 };
        let mut out = Vec::new();
        Format::Ndjson.gap(&gap, &mut out);
        Format::Text.gap(&gap, &mut out);
        assert!(out.is_empty());
        Format::Events.gap(&gap, &mut out);
        let expected = "event: gap\nid: 2.9\ndata: {\"attempt\":2,\"first_seq\":8,\"last_seq\":9}\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
