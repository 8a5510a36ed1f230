//! A job's log, each line once and in order, over as many connections as it takes.

use std::time::Duration;

use ckrv_types::log::{Cursor, End, Gap, JobLine, LogEvent, Status};
use ckrv_types::{JobId, State};
use futures::Stream;
use reqwest::RequestBuilder;
use serde::Deserialize;
use sse_stream::Sse;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::sse::{Reader, Step, follow};
use crate::transport::Transport;
use crate::{Client, ClientError};

/// Which part of a log to read, and how patiently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// Only what stands behind this place.
    pub after: Option<Cursor>,
    /// Go on to the job's end; otherwise stop at what there is.
    pub follow: bool,
    /// Only the last so many lines of what there is.
    pub tail: Option<u64>,
    /// Only lines from this time on, by the worker's clock.
    pub since: Option<OffsetDateTime>,
    /// Only this attempt.
    pub attempt: Option<u32>,
    /// How long to go without any answer before the stream ends with an error.
    pub give_up: Duration,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { after: None, follow: false, tail: None, since: None, attempt: None, give_up: Duration::from_mins(2) }
    }
}

impl Client {
    /// The log from where the query says. Reconnects by itself from the last line seen: no line is lost or told twice.
    ///
    /// The last item is [`LogEvent::End`], but not when `follow` is off and the job goes on, and not when the query begins
    /// at the end (the server answers 204): then the stream just ends.
    pub fn logs(
        &self,
        job: JobId,
        query: LogQuery,
    ) -> impl Stream<Item = Result<LogEvent, ClientError>> + Send + use<> {
        let give_up = query.give_up;
        follow(self.transport.clone(), Log { job, seen: query.after, told: None, query }, give_up)
    }
}

struct Log {
    job: JobId,
    query: LogQuery,
    /// Behind the last line (or gap) that was handed on.
    seen: Option<Cursor>,
    /// The last status that was handed on. Statuses carry no id, so a resume tells them again.
    told: Option<(u32, State)>,
}

impl Log {
    /// Whether `cursor` is new; then it is where the next connection begins.
    fn advance(&mut self, cursor: Cursor) -> bool {
        let new = self.seen.is_none_or(|seen| cursor > seen);
        if new {
            self.seen = Some(cursor);
        }
        new
    }

    fn tell(&mut self, status: &Status) -> bool {
        let new =
            self.told.is_none_or(|(attempt, state)| (status.attempt, status.state.rank()) > (attempt, state.rank()));
        if new {
            self.told = Some((status.attempt, status.state));
        }
        new
    }
}

impl Reader for Log {
    type Item = LogEvent;

    fn request(&self, transport: &Transport) -> RequestBuilder {
        let query = &self.query;
        let mut pairs = vec![("follow", query.follow.to_string())];
        pairs.extend(query.attempt.iter().map(|attempt| ("attempt", attempt.to_string())));
        pairs.extend(query.since.iter().filter_map(|since| Some(("since", since.format(&Rfc3339).ok()?))));
        if self.seen == query.after {
            // Once a line was seen, everything behind it is wanted, however much that is by now.
            pairs.extend(query.tail.iter().map(|tail| ("tail", tail.to_string())));
        }
        pairs.extend(self.seen.iter().map(|seen| ("after", seen.to_string())));
        let request = transport.get(["v1", "jobs", &self.job.to_string(), "logs"]).query(&pairs);
        match self.seen {
            Some(seen) => request.header("last-event-id", seen.to_string()),
            None => request,
        }
    }

    fn read(&mut self, event: Sse) -> Result<Step<LogEvent>, serde_json::Error> {
        let data = event.data.as_deref().unwrap_or_default();
        Ok(match event.event.as_deref() {
            Some("log") => {
                let line: JobLine = parse(data)?;
                let place = Cursor { attempt: line.attempt, seq: line.line.seq };
                if self.advance(place) { Step::New(LogEvent::Log(line)) } else { Step::Skip }
            }
            Some("gap") => {
                let gap: Gap = parse(data)?;
                let place = Cursor { attempt: gap.attempt, seq: gap.last_seq };
                if self.advance(place) { Step::New(LogEvent::Gap(gap)) } else { Step::Skip }
            }
            Some("status") => {
                let status: Status = parse(data)?;
                if self.tell(&status) { Step::New(LogEvent::Status(status)) } else { Step::Skip }
            }
            Some("end") => Step::Last(LogEvent::End(parse::<End>(data)?)),
            _ => Step::Skip,
        })
    }

    fn ends_with_what_there_is(&self) -> bool {
        !self.query.follow
    }
}

fn parse<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, serde_json::Error> {
    serde_json::from_str(data)
}
