//! What a reader asks for: from where, how far, in which form.

use axum::http::{HeaderMap, header};
use ckrv_types::log::Cursor;
use ckrv_types::{Problem, ProblemCode};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::IntoParams;

use super::format::Format;
use crate::error::ApiResult;

const LAST_EVENT_ID: &str = "last-event-id";

/// All of them combine: the log is read from the latest of the places that `after`, `tail` and `since` name.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadQuery {
    /// Begin behind this line, `<attempt>.<seq>`. The header `Last-Event-ID` says the same, and goes before all others.
    #[param(value_type = Option<String>, pattern = r"^[0-9]{1,9}\.[0-9]{1,18}$", example = "1.42")]
    pub after: Option<Cursor>,
    /// Begin so many lines before the present end. A resumed stream does not count them again.
    pub tail: Option<u64>,
    /// Begin with the first line that is not older than this (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-21T12:00:00Z")]
    pub since: Option<OffsetDateTime>,
    /// Only this attempt's log; the stream ends with it.
    #[param(minimum = 1)]
    pub attempt: Option<u32>,
    /// Wait for more until the job is over. By default so for `text/event-stream`, not so for the other forms.
    pub follow: Option<bool>,
}

/// What is asked for, with the headers' part.
#[derive(Debug, Clone)]
pub struct Request {
    /// A line that the reader has, and everything before it.
    pub resume: Option<Cursor>,
    pub tail: Option<u64>,
    pub since: Option<OffsetDateTime>,
    pub only: Option<u32>,
    pub follow: bool,
    pub format: Format,
}

impl Request {
    pub fn new(query: &ReadQuery, headers: &HeaderMap) -> ApiResult<Self> {
        let format = Format::accepted(headers)?;
        let follow = query.follow.unwrap_or(format == Format::Events);
        let base =
            Self { resume: query.after, tail: query.tail, since: query.since, only: query.attempt, follow, format };
        match last_event_id(headers)? {
            // `tail` and `since` said where the stream began; this says how far it came.
            Some(cursor) => Ok(Self { resume: Some(cursor), tail: None, since: None, ..base }),
            None => Ok(base),
        }
    }
}

fn last_event_id(headers: &HeaderMap) -> ApiResult<Option<Cursor>> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let cursor = value.to_str().ok().and_then(|text| text.parse().ok());
    cursor.map(Some).ok_or_else(|| {
        let problem = Problem::new(ProblemCode::BadRequest);
        problem.detail("`Last-Event-ID` is not a log position (expected <attempt>.<line>).").into()
    })
}

impl Format {
    /// The form that the reader likes best; events where it does not say.
    fn accepted(headers: &HeaderMap) -> ApiResult<Self> {
        let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let ranges: Vec<&str> =
            lines.flat_map(|line| line.split(',')).map(str::trim).filter(|r| !r.is_empty()).collect();
        if ranges.is_empty() {
            return Ok(Self::Events);
        }
        let mut best: Option<(f32, Self)> = None;
        for range in ranges {
            let (quality, format) = (quality(range), Self::of_range(range));
            if let Some(format) = format.filter(|_| quality > best.map_or(0.0, |(best, _)| best)) {
                best = Some((quality, format));
            }
        }
        best.map(|(_, format)| format).ok_or_else(|| {
            let detail = "This route answers `text/event-stream`, `application/x-ndjson` and `text/plain`.";
            Problem::new(ProblemCode::NotAcceptable).detail(detail).into()
        })
    }

    fn of_range(range: &str) -> Option<Self> {
        match range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "text/event-stream" | "*/*" | "text/*" => Some(Self::Events),
            "application/x-ndjson" | "application/*" => Some(Self::Ndjson),
            "text/plain" => Some(Self::Text),
            _ => None,
        }
    }
}

/// The weight of a media range (RFC 9110, section 12.4.2); 0 where it makes no sense.
fn quality(range: &str) -> f32 {
    let weight = range.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix("q="));
    weight.map_or(1.0, |weight| weight.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn the_form_is_negotiated() {
        for (accept, format) in [
            ("text/event-stream", Format::Events),
            ("*/*", Format::Events),
            ("application/x-ndjson", Format::Ndjson),
            ("text/plain; charset=utf-8", Format::Text),
            ("text/plain;q=0.5, application/x-ndjson;q=0.9", Format::Ndjson),
            ("application/json, text/plain", Format::Text),
        ] {
            assert_eq!(Format::accepted(&headers("accept", accept)).unwrap(), format, "{accept}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()).unwrap(), Format::Events);
        for accept in ["application/json", "text/plain;q=0", "image/*"] {
            assert!(Format::accepted(&headers("accept", accept)).is_err(), "{accept} was accepted");
        }
    }

    #[test]
    fn only_events_are_followed_unless_asked() {
        let follows = |accept: &str, follow| {
            let query = ReadQuery { follow, ..ReadQuery::default() };
            Request::new(&query, &headers("accept", accept)).unwrap().follow
        };
        assert!(follows("text/event-stream", None) && !follows("text/event-stream", Some(false)));
        assert!(!follows("text/plain", None) && follows("text/plain", Some(true)));
    }

    #[test]
    fn a_resumed_stream_goes_on_where_it_was_and_forgets_where_it_began() {
        let query = ReadQuery { after: "1.1".parse().ok(), tail: Some(5), ..ReadQuery::default() };
        let request = Request::new(&query, &headers(LAST_EVENT_ID, "2.7")).unwrap();
        assert_eq!((request.resume, request.tail), (Some(Cursor { attempt: 2, seq: 7 }), None));
        assert!(Request::new(&ReadQuery::default(), &headers(LAST_EVENT_ID, "nonsense")).is_err());
    }
}
