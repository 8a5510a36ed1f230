//! Claude Code's `--output-format stream-json` → lines for people, a record of what it used, and what it is doing.
//!
//! A line that is not one of its messages is shown as it is.

mod event;
mod show;

use std::collections::BTreeSet;

use ckrv_types::usage::{Usage, UsageSource};
use tokio::sync::watch;

use super::output::{OutputParser, Progress};
use crate::human;
use crate::log::lines::Lines;
use crate::log::split::{LineSplitter, RawLine};
use event::{Block, Content, Event, Outcome, System, Turn};

/// Longest message that is read; tools may give back whole files.
const MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Tools at work at a time that are told apart.
const TOOLS: usize = 1000;

/// The parser of one agent's standard output.
pub struct ClaudeStream {
    splitter: LineSplitter,
    reader: Reader,
}

struct Reader {
    cwd: String,
    model: String,
    /// Ids of the tools that have not answered yet.
    tools: BTreeSet<String>,
    usage: Option<Usage>,
    progress: watch::Sender<Progress>,
}

impl Default for ClaudeStream {
    fn default() -> Self {
        Self {
            splitter: LineSplitter::new(MESSAGE_BYTES),
            reader: Reader {
                cwd: String::new(),
                model: String::new(),
                tools: BTreeSet::new(),
                usage: None,
                progress: watch::Sender::new(Progress::WaitingForModel),
            },
        }
    }
}

impl OutputParser for ClaudeStream {
    fn push(&mut self, bytes: &[u8], lines: &mut Lines) {
        self.splitter.push(bytes, |line| self.reader.line(line, lines));
    }

    /// Half a message is of no use to anybody.
    fn is_partial(&self) -> bool {
        false
    }

    fn flush(&mut self, _lines: &mut Lines) {}

    fn end(&mut self, lines: &mut Lines) {
        self.splitter.end(|line| self.reader.line(line, lines));
    }

    fn usage(&self) -> Option<Usage> {
        self.reader.usage.clone()
    }

    fn progress(&self) -> Option<watch::Receiver<Progress>> {
        Some(self.reader.progress.subscribe())
    }
}

impl Reader {
    fn line(&mut self, line: RawLine<'_>, lines: &mut Lines) {
        if line.dropped > 0 {
            let size = human::bytes(line.bytes.len() as u64 + line.dropped);
            lines.push_text(&format!("[a message of {size} is not shown]"));
            return;
        }
        match serde_json::from_slice(line.bytes) {
            Ok(Event::System(system)) => self.system(&system, lines),
            Ok(Event::Assistant(turn)) => self.turn(&turn, true, lines),
            Ok(Event::User(turn)) => self.turn(&turn, false, lines),
            Ok(Event::Result(outcome)) => self.outcome(&outcome, lines),
            Err(_) => lines.push(line),
        }
    }

    fn system(&mut self, system: &System, lines: &mut Lines) {
        if system.subtype == "init" {
            self.cwd.clone_from(&system.cwd);
            self.model.clone_from(&system.model);
        }
        if let Some(text) = show::system(system) {
            lines.push_text(&text);
        }
    }

    fn turn(&mut self, turn: &Turn, is_model: bool, lines: &mut Lines) {
        for line in show::turn(turn, &self.cwd, is_model) {
            lines.push_text(&line);
        }
        let Content::Blocks(blocks) = &turn.message.content else { return };
        for block in blocks {
            match block {
                Block::ToolUse { id, .. } if self.tools.len() < TOOLS => drop(self.tools.insert(id.clone())),
                Block::ToolResult { tool_use_id, .. } => drop(self.tools.remove(tool_use_id)),
                _ => {}
            }
        }
        self.tell(if self.tools.is_empty() { Progress::WaitingForModel } else { Progress::ToolInFlight });
    }

    fn outcome(&mut self, outcome: &Outcome, lines: &mut Lines) {
        lines.push_text(&show::outcome(outcome));
        self.usage = Some(self.usage_of(outcome));
        self.tell(Progress::Finished { ok: !outcome.is_error });
    }

    fn usage_of(&self, outcome: &Outcome) -> Usage {
        let mut usage = Usage {
            source: UsageSource::Agent,
            turns: Some(outcome.num_turns),
            cost_usd: outcome.total_cost_usd,
            ..Usage::default()
        };
        for used in outcome.model_usage.values() {
            usage.input_tokens = usage.input_tokens.saturating_add(used.input_tokens);
            usage.output_tokens = usage.output_tokens.saturating_add(used.output_tokens);
            usage.cache_read_tokens = usage.cache_read_tokens.saturating_add(used.cache_read_input_tokens);
            usage.cache_write_tokens = usage.cache_write_tokens.saturating_add(used.cache_creation_input_tokens);
        }
        let dearest = outcome.model_usage.iter().max_by(|(_, a), (_, b)| a.cost_usd.total_cmp(&b.cost_usd));
        let model = dearest.map_or(self.model.as_str(), |(model, _)| model);
        usage.model = Some(model.to_owned()).filter(|model| !model.is_empty());
        usage
    }

    fn tell(&self, progress: Progress) {
        self.progress.send_if_modified(|now| std::mem::replace(now, progress) != progress);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::log::redact::Redactor;

    /// What Claude Code 2.1.197 printed on a scripted model's answers: an overloaded provider, thinking, texts, tools
    /// that succeed and fail, a subagent.
    const RECORDED: &str = include_str!("testdata/run.jsonl");
    const SHOWN: &str = include_str!("testdata/run.txt");

    fn show(parser: &mut ClaudeStream, bytes: &[u8]) -> String {
        let mut lines = Lines::new(Arc::new(Redactor::default()));
        parser.push(bytes, &mut lines);
        lines.iter().fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").unwrap();
            text
        })
    }

    #[test]
    fn a_recorded_run_becomes_readable_lines() {
        let shown = show(&mut ClaudeStream::default(), RECORDED.as_bytes());
        assert_eq!(shown, SHOWN, "now shown as:\n{shown}");
    }

    #[test]
    fn the_agents_own_count_includes_its_subagents() {
        let mut parser = ClaudeStream::default();
        show(&mut parser, RECORDED.as_bytes());
        let expected = Usage {
            source: UsageSource::Agent,
            model: Some("claude-opus-4-8[1m]".to_owned()),
            input_tokens: 600,
            output_tokens: 120,
            cache_read_tokens: 30,
            cache_write_tokens: 42,
            requests: 0,
            turns: Some(8),
            cost_usd: Some(0.006_277_5),
        };
        assert_eq!(parser.usage(), Some(expected));
    }

    #[test]
    fn what_the_agent_is_doing_follows_from_its_messages() {
        let mut parser = ClaudeStream::default();
        let progress = parser.progress().unwrap();
        assert_eq!(*progress.borrow(), Progress::WaitingForModel);
        let mut seen = Vec::new();
        for line in RECORDED.lines() {
            show(&mut parser, format!("{line}\n").as_bytes());
            let now = *progress.borrow();
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        let [waiting, tool] = [Progress::WaitingForModel, Progress::ToolInFlight];
        // Two tools side by side, four, the subagent with its own tool.
        assert_eq!(seen, [waiting, tool, waiting, tool, waiting, tool, waiting, Progress::Finished { ok: true }]);
    }

    #[test]
    fn a_failed_run_says_why() {
        let line = br#"{"type":"result","subtype":"success","is_error":true,"num_turns":1,"duration_ms":215,
            "result":"API Error: 402 the budget is used up","total_cost_usd":0}"#;
        let mut parser = ClaudeStream::default();
        let line: Vec<u8> = line.iter().copied().filter(|byte| *byte != b'\n').chain(*b"\n").collect();
        assert_eq!(
            show(&mut parser, &line),
            "✗ Failed: API Error: 402 the budget is used up (1 turn, $0.0000, 0.2 s)\n"
        );
        assert_eq!(*parser.progress().unwrap().borrow(), Progress::Finished { ok: false });
        let line = b"{\"type\":\"result\",\"subtype\":\"error_max_turns\",\"is_error\":true,\"duration_ms\":61000}\n";
        assert_eq!(show(&mut parser, line), "✗ Failed: error_max_turns (0 turns, 1 min 1 s)\n");
    }

    #[test]
    fn what_is_no_message_is_shown_as_it_is() {
        for line in ["plain text", "{\"type\":\"news\",\"x\":1}", "{\"type\":\"assistant\"}", "{", "[1]", ""] {
            assert_eq!(show(&mut ClaudeStream::default(), format!("{line}\n").as_bytes()), format!("{line}\n"));
        }
    }

    #[test]
    fn a_message_without_end_is_told_by_its_size_and_the_next_is_read() {
        let mut parser = ClaudeStream::default();
        assert_eq!(show(&mut parser, &vec![b'{'; MESSAGE_BYTES + 1024 * 1024]), "");
        let shown = show(&mut parser, b"\nnext\n");
        assert_eq!(shown, "[a message of 17 MiB is not shown]\nnext\n");
    }

    #[test]
    fn tool_calls_are_one_bounded_line() {
        let call = |input: &str| {
            let line = format!(
                r#"{{"type":"assistant","message":{{"content":[{{"type":"tool_use","id":"1","name":"T","input":{input}}}]}}}}"#
            );
            show(&mut ClaudeStream::default(), format!("{line}\n").as_bytes())
        };
        assert_eq!(call(r#"{"command":"make\nmake test"}"#), "● T: make …\n");
        assert_eq!(call(r#"{"todos":[1,2]}"#), "● T: {\"todos\":[1,2]}\n");
        assert_eq!(call("{}"), "● T\n");
        assert_eq!(call(&format!(r#"{{"url":"{}"}}"#, "ü".repeat(500))), format!("● T: {} …\n", "ü".repeat(200)));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in ".*", kind in "system|assistant|user|result", junk in json()) {
            let mut parser = ClaudeStream::default();
            show(&mut parser, format!("{line}\n").as_bytes());
            for value in [
                format!(r#"{{"type":"{kind}","message":{junk}}}"#),
                format!(r#"{{"type":"{kind}","message":{{"content":{junk}}}}}"#),
                format!(r#"{{"type":"{kind}","message":{{"content":[{junk}]}}}}"#),
                format!(r#"{{"type":"{kind}","message":{{"content":[{{"type":"tool_use","id":"1","name":"x","input":{junk}}}]}}}}"#),
                format!(r#"{{"type":"{kind}","subtype":"init","modelUsage":{{"m":{junk}}},"num_turns":{junk}}}"#),
            ] {
                show(&mut parser, format!("{value}\n").as_bytes());
            }
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("-1".to_owned()),
            Just("1e308".to_owned()),
            Just("18446744073709551615".to_owned()),
            Just(r#""text""#.to_owned()),
            Just(r#""\u001b[31m\r\n\u0000ü""#.to_owned()),
            Just("true".to_owned()),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let key =
                prop_oneof![Just("type"), Just("text"), Just("content"), Just("tool_use_id"), Just("inputTokens")];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                proptest::collection::vec((key, inner), 0..4).prop_map(|fields| {
                    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                    format!("{{{}}}", fields.join(","))
                }),
            ]
        })
    }
}
