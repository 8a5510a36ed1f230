//! How an agent's standard output becomes lines for people.

use ckrv_types::usage::Usage;
use serde::Deserialize;
use tokio::sync::watch;

use super::claude_stream::ClaudeStream;
use crate::log::lines::Lines;
use crate::log::redact::Redactor;
use crate::log::split::LineSplitter;

/// The formats that ckrv can read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// Line by line as it is.
    #[default]
    Text,
    /// Claude Code's `stream-json`.
    ClaudeStream,
}

/// What an agent is doing, as far as its output tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    WaitingForModel,
    /// At least one tool is at work; it may be silent for long.
    ToolInFlight,
    /// It has said its last word: all that is left for it to do is to exit. `ok`: it thinks that it succeeded.
    Finished {
        ok: bool,
    },
}

impl OutputFormat {
    /// A parser for one stream of one agent.
    pub fn parser(self, redactor: &Redactor) -> Box<dyn OutputParser> {
        match self {
            Self::Text => Box::new(LineSplitter::new(Lines::keep(redactor))),
            Self::ClaudeStream => Box::new(ClaudeStream::default()),
        }
    }
}

/// Makes lines of the bytes that come from an agent, in whatever chunks.
pub trait OutputParser: Send {
    /// Takes the next bytes; adds the lines that they complete to `lines`.
    fn push(&mut self, bytes: &[u8], lines: &mut Lines);

    /// Whether something unfinished waits that [`OutputParser::flush`] would show.
    fn is_partial(&self) -> bool;

    /// Nothing came for a while: shows what is there of an unfinished line.
    fn flush(&mut self, lines: &mut Lines);

    /// The stream is over.
    fn end(&mut self, lines: &mut Lines);

    /// What the agent itself has said so far of its model calls.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Where to see what the agent is doing; none: its output does not tell.
    fn progress(&self) -> Option<watch::Receiver<Progress>> {
        None
    }
}

impl OutputParser for LineSplitter {
    fn push(&mut self, bytes: &[u8], lines: &mut Lines) {
        self.push(bytes, |line| lines.push(line));
    }

    fn is_partial(&self) -> bool {
        self.is_partial()
    }

    fn flush(&mut self, lines: &mut Lines) {
        let redactor = lines.redactor();
        self.flush(|bytes| redactor.held(bytes), |line| lines.push(line));
    }

    fn end(&mut self, lines: &mut Lines) {
        self.end(|line| lines.push(line));
    }
}
