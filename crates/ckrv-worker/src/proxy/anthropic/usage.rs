//! What an answer says of the tokens it used.
//!
//! A message in one piece has `usage`. A stream has the prompt's part in `message_start` and running totals, at the latest
//! when the answer is complete, in `message_delta`; numbers there replace the earlier ones. Where a request was answered in
//! several rounds (`iterations`: server-side compaction, other models asked for advice), what is billed is their sum, which
//! the numbers outside do not hold.

use serde::Deserialize;

use super::super::prices::Counts;
use super::super::provider::{Answer, Part, StreamReader};

/// Bytes of streamed text that are taken for one token as long as the provider has not counted.
const BYTES_PER_TOKEN: u64 = 4;

#[derive(Debug, Default, Deserialize)]
struct Message {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Usage {
    /// Within `iterations` only.
    model: Option<String>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    server_tool_use: Option<ServerToolUse>,
    speed: Option<String>,
    inference_geo: Option<String>,
    iterations: Option<Vec<Usage>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
struct CacheCreation {
    #[serde(default)]
    ephemeral_1h_input_tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
struct ServerToolUse {
    #[serde(default)]
    web_search_requests: u64,
}

impl Usage {
    /// Takes over what `later` says.
    fn update(&mut self, later: Self) {
        macro_rules! take {
            ($($field:ident)+) => { $(if later.$field.is_some() { self.$field = later.$field; })+ };
        }
        take!(input_tokens output_tokens cache_read_input_tokens cache_creation_input_tokens cache_creation
            server_tool_use speed inference_geo iterations);
    }

    fn counts(&self) -> Counts {
        let written = self.cache_creation_input_tokens.unwrap_or_default();
        let for_an_hour = self.cache_creation.unwrap_or_default().ephemeral_1h_input_tokens.min(written);
        Counts {
            input: self.input_tokens.unwrap_or_default(),
            cache_write_5m: written - for_an_hour,
            cache_write_1h: for_an_hour,
            cache_read: self.cache_read_input_tokens.unwrap_or_default(),
            output: self.output_tokens.unwrap_or_default(),
            web_searches: self.server_tool_use.unwrap_or_default().web_search_requests,
            fast: self.speed.as_deref() == Some("fast"),
            us_only: self.inference_geo.as_deref() == Some("us"),
        }
    }

    fn parts(&self) -> Vec<Part> {
        let whole = self.counts();
        let Some(rounds) = self.iterations.as_deref().filter(|rounds| !rounds.is_empty()) else {
            return vec![Part { model: None, counts: whole }];
        };
        let mut parts: Vec<Part> = rounds
            .iter()
            .map(|round| {
                // How and where it was served is said once, for all of them.
                let counts = Counts { fast: whole.fast, us_only: whole.us_only, web_searches: 0, ..round.counts() };
                Part { model: round.model.clone(), counts }
            })
            .collect();
        parts[0].counts.web_searches = whole.web_searches;
        parts
    }
}

/// Of an answer in one piece.
pub(super) fn of_message(body: &[u8]) -> Option<Answer> {
    let message: Message = serde_json::from_slice(body).ok()?;
    Some(Answer { model: message.model, parts: message.usage?.parts(), is_final: true })
}

/// Of an answer in events.
#[derive(Debug, Default)]
pub(super) struct Stream {
    model: Option<String>,
    usage: Usage,
    streamed_bytes: u64,
    is_final: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockDelta {
        delta: Delta,
    },
    MessageDelta {
        #[serde(default)]
        usage: Option<Usage>,
    },
    #[serde(other)]
    Other,
}

/// A piece of text, of thinking or of a tool's input; signatures are no output.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Delta {
    text: String,
    thinking: String,
    partial_json: String,
}

impl StreamReader for Stream {
    fn read(&mut self, data: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Event>(data) else { return };
        match event {
            Event::MessageStart { message } => {
                self.model = message.model;
                self.usage.update(message.usage.unwrap_or_default());
            }
            Event::ContentBlockDelta { delta } => {
                self.streamed_bytes += (delta.text.len() + delta.thinking.len() + delta.partial_json.len()) as u64;
            }
            Event::MessageDelta { usage } => {
                self.usage.update(usage.unwrap_or_default());
                self.is_final = true;
            }
            Event::Other => {}
        }
    }

    fn answer(&self) -> Answer {
        let mut usage = self.usage.clone();
        if !self.is_final {
            let estimate = self.streamed_bytes.div_ceil(BYTES_PER_TOKEN);
            usage.output_tokens = Some(usage.output_tokens.unwrap_or_default().max(estimate));
        }
        Answer { model: self.model.clone(), parts: usage.parts(), is_final: self.is_final }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(events: &[&str]) -> Answer {
        let mut stream = Stream::default();
        for event in events {
            stream.read(event.as_bytes());
        }
        stream.answer()
    }

    const START: &str = r#"{"type":"message_start","message":{"model":"claude-opus-4-8","usage":{"input_tokens":100,
        "output_tokens":1,"cache_read_input_tokens":5,"cache_creation_input_tokens":7,
        "cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}}}"#;

    #[test]
    fn the_prompt_is_counted_at_the_start_and_the_output_at_the_end() {
        let delta = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#;
        let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":20}}"#;
        let answer = stream(&[START, r#"{"type":"ping"}"#, delta, end, r#"{"type":"message_stop"}"#]);
        let counts =
            Counts { input: 100, cache_write_5m: 3, cache_write_1h: 4, cache_read: 5, output: 20, ..Counts::default() };
        assert_eq!(answer.model.as_deref(), Some("claude-opus-4-8"));
        assert_eq!(answer.parts, [Part { model: None, counts }]);
        assert!(answer.is_final);
    }

    #[test]
    fn output_is_estimated_until_the_provider_has_counted_it() {
        let text = "x".repeat(81);
        let delta =
            format!(r#"{{"type":"content_block_delta","delta":{{"type":"thinking_delta","thinking":"{text}"}}}}"#);
        let answer = stream(&[START, &delta]);
        assert_eq!(answer.parts[0].counts.output, 21);
        assert!(!answer.is_final);
        let counted = r#"{"type":"message_delta","usage":{"output_tokens":3,"input_tokens":90}}"#;
        let answer = stream(&[START, &delta, counted]);
        assert_eq!((answer.parts[0].counts.output, answer.parts[0].counts.input), (3, 90));
    }

    #[test]
    fn several_rounds_are_billed_by_their_sum_each_at_its_model() {
        let body = br#"{"model":"a","usage":{"input_tokens":23,"output_tokens":1,"speed":"fast","inference_geo":"us",
            "server_tool_use":{"web_search_requests":2},"iterations":[
            {"type":"compaction","input_tokens":180,"output_tokens":3},
            {"type":"message","model":"b","input_tokens":23,"output_tokens":1}]}}"#;
        let parts = of_message(body).unwrap().parts;
        let base = Counts { fast: true, us_only: true, ..Counts::default() };
        assert_eq!(
            parts,
            [
                Part { model: None, counts: Counts { input: 180, output: 3, web_searches: 2, ..base } },
                Part { model: Some("b".to_owned()), counts: Counts { input: 23, output: 1, ..base } },
            ]
        );
    }

    #[test]
    fn what_is_no_message_says_nothing() {
        assert_eq!(of_message(br#"{"type":"error"}"#), None);
        assert_eq!(of_message(b"<html>"), None);
        assert_eq!(
            stream(&["{", "[]", r#"{"type":"news"}"#, r#"{"type":"message_start"}"#]).parts[0].counts,
            Counts::default()
        );
    }
}
