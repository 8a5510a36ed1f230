//! Log lines, cursors into a job's log, and the events that a reader is sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;

use crate::{Cause, State};

/// Which pipe a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
    /// Said by ckrv itself, about the job.
    System,
}

/// One line of an attempt's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Line {
    /// From 1, without gaps, within the attempt.
    pub seq: u64,
    /// The worker's clock, for reading; order is by `seq`.
    #[serde(with = "time::serde::rfc3339")]
    pub ts: OffsetDateTime,
    pub stream: Stream,
    /// Without its line end; ill-formed UTF-8 replaced; at most [`crate::limits::LINE_BYTES`].
    pub text: String,
}

/// A line with its place in the job's whole log: what NDJSON readers and the `log` event get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobLine {
    pub attempt: u32,
    #[serde(flatten)]
    pub line: Line,
}

/// A place in a job's log: behind line `seq` of attempt `attempt`. Text form `<attempt>.<seq>`, the SSE event id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    pub attempt: u32,
    pub seq: u64,
}

/// A text that is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a log position (expected <attempt>.<line>)")]
pub struct InvalidCursor(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.attempt, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        text.split_once('.')
            .filter(|(attempt, seq)| digits(attempt) && digits(seq))
            .and_then(|(attempt, seq)| Some(Self { attempt: attempt.parse().ok()?, seq: seq.parse().ok()? }))
            .ok_or_else(|| InvalidCursor(text.chars().take(64).collect()))
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The events of a log stream, in the form that a reader matches on. On the wire the variant is the SSE event's name
/// (`log`, `status`, `gap`, `end`) and the rest its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// Data: [`JobLine`]; id: its cursor.
    Log(JobLine),
    /// Data: [`Status`]; no id, so that a resume repeats no line and skips none.
    Status(Status),
    /// Data: [`Gap`].
    Gap(Gap),
    /// Data: [`End`]; id: the log's last position. Nothing follows; a reconnect from here is answered 204.
    End(End),
}

/// The attempt's state changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    pub attempt: u32,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// Lines that were counted and not kept, because the job's log was over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gap {
    pub attempt: u32,
    /// First and last line that are missing.
    pub first_seq: u64,
    pub last_seq: u64,
}

/// The job is over and its log has been read to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct End {
    /// The job's final state.
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// False when some attempt's log is known to be cut off.
    pub complete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        let cursor = Cursor { attempt: 2, seq: 1_000_000 };
        assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
    }

    #[test]
    fn a_text_that_is_no_cursor_is_refused() {
        for text in ["", "1", "1.", ".1", "1.2.3", "-1.2", "+1.2", "1. 2", "99999999999.1"] {
            assert!(text.parse::<Cursor>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_job_line_is_flat_on_the_wire() {
        let line = JobLine {
            attempt: 1,
            line: Line { seq: 7, ts: OffsetDateTime::UNIX_EPOCH, stream: Stream::Stdout, text: "hi".into() },
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"attempt":1,"seq":7,"ts":"1970-01-01T00:00:00Z","stream":"stdout","text":"hi"}"#
        );
    }
}
