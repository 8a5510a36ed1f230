//! Messages as lines for people: texts as they are, a tool call in one line, the beginning of what it gave back.

use std::time::Duration;

use serde_json::Value;

use super::event::{Block, Content, Outcome, System, Turn};
use crate::human;

/// Longest line that stands for something longer.
const SHORT_CHARS: usize = 200;
/// Lines shown of a tool's result.
const RESULT_LINES: usize = 5;
/// What a tool works on is in the first of these that its input has.
const SUBJECTS: [&str; 12] = [
    "command",
    "file_path",
    "notebook_path",
    "pattern",
    "query",
    "url",
    "skill",
    "description",
    "subject",
    "path",
    "prompt",
    "task_id",
];

/// What begins, or why the model is asked again; other system messages are for programs with a screen.
pub(super) fn system(system: &System) -> Option<String> {
    match system.subtype.as_str() {
        "init" => Some(format!("Claude Code {} with {}", system.claude_code_version, system.model)),
        "api_retry" => {
            let status = system.error_status.map(|status| format!(" {status}")).unwrap_or_default();
            let System { attempt, max_retries, retry_delay_ms, .. } = system;
            let error = system.error.as_deref().unwrap_or("error");
            let pause = retry_delay_ms / 1000.0;
            Some(short(&format!(
                "The model's provider answers{status} {error}: try {attempt} of {max_retries} in {pause:.1} s"
            )))
        }
        "compact_boundary" => Some("The conversation was compacted.".to_owned()),
        _ => None,
    }
}

/// A message of the model or, with the results of its tools, to it.
pub(super) fn turn(turn: &Turn, cwd: &str, is_model: bool) -> Vec<String> {
    let is_nested = turn.parent_tool_use_id.is_some();
    let lines: Vec<String> = match &turn.message.content {
        Content::Text(text) => shown_text(text, is_model, is_nested),
        Content::Blocks(blocks) => {
            let show = |block: &Block| match block {
                Block::Text { text } => shown_text(text, is_model, is_nested),
                other => shown_block(other, cwd),
            };
            blocks.iter().flat_map(show).collect()
        }
    };
    if is_nested { lines.into_iter().map(|line| format!("  {line}")).collect() } else { lines }
}

fn shown_text(text: &str, is_model: bool, is_nested: bool) -> Vec<String> {
    // What a subagent is told stands in the call of its tool.
    if text.is_empty() || (is_nested && !is_model) { Vec::new() } else { text.lines().map(str::to_owned).collect() }
}

fn shown_block(block: &Block, cwd: &str) -> Vec<String> {
    match block {
        Block::Thinking { thinking } if !thinking.trim().is_empty() => vec![format!("✻ {}", short(thinking.trim()))],
        Block::ToolUse { name, input, .. } => vec![call(name, input, cwd)],
        Block::ToolResult { content, is_error, .. } => result(content, *is_error),
        Block::Thinking { .. } | Block::Text { .. } | Block::Other => Vec::new(),
    }
}

/// `● Write src/lib.rs`, `● Bash: cargo test`.
fn call(name: &str, input: &Value, cwd: &str) -> String {
    let subject = SUBJECTS.into_iter().find_map(|key| Some((key, input.get(key)?.as_str()?)));
    let name = short(name);
    match subject {
        Some(("file_path" | "notebook_path", path)) => {
            let below = path.strip_prefix(cwd).and_then(|path| path.strip_prefix('/'));
            format!("● {name} {}", short(below.filter(|_| !cwd.is_empty()).unwrap_or(path)))
        }
        Some((_, subject)) => format!("● {name}: {}", short(subject.trim())),
        None if input.as_object().is_none_or(serde_json::Map::is_empty) => format!("● {name}"),
        None => format!("● {name}: {}", short(&input.to_string())),
    }
}

fn result(content: &Content, is_error: bool) -> Vec<String> {
    let text = match content {
        Content::Text(text) => text.clone(),
        Content::Blocks(blocks) => {
            let texts = blocks.iter().filter_map(|block| match block {
                Block::Text { text } => Some(text.as_str()),
                _ => None,
            });
            texts.collect::<Vec<_>>().join("\n")
        }
    };
    let mut all = text.trim_end().lines();
    let mut lines: Vec<String> = all.by_ref().take(RESULT_LINES).map(short).collect();
    match all.count() {
        0 => {}
        1 => lines.push("… 1 more line".to_owned()),
        more => lines.push(format!("… {more} more lines")),
    }
    let mark = if is_error { "✗" } else { "⎿" };
    let indented =
        |(at, line): (usize, String)| if at == 0 { format!("  {mark} {line}") } else { format!("    {line}") };
    lines.into_iter().enumerate().map(indented).collect()
}

/// `✓ Done: 2 turns, $0.0021, 1.2 s`
pub(super) fn outcome(outcome: &Outcome) -> String {
    let turns = if outcome.num_turns == 1 { "1 turn".to_owned() } else { format!("{} turns", outcome.num_turns) };
    let cost = outcome.total_cost_usd.map(|usd| format!(", {}", human::dollars(usd))).unwrap_or_default();
    let figures = format!("{turns}{cost}, {}", time(outcome.duration_ms));
    if !outcome.is_error {
        return format!("✓ Done: {figures}");
    }
    let kind = Some(outcome.subtype.as_str()).filter(|subtype| !matches!(*subtype, "" | "success"));
    let reasons = kind.into_iter().chain(outcome.result.as_deref()).chain(outcome.errors.iter().map(String::as_str));
    format!("✗ Failed: {} ({figures})", short(&reasons.collect::<Vec<_>>().join(": ")))
}

fn time(millis: u64) -> String {
    if millis < 60_000 {
        format!("{}.{} s", millis / 1000, millis % 1000 / 100)
    } else {
        human::duration(Duration::from_millis(millis))
    }
}

/// The first line, not longer than fits.
fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHORT_CHARS) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None if line.len() < text.trim_end().len() => format!("{line} …"),
        None => line.to_owned(),
    }
}
