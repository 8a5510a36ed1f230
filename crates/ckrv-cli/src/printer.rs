//! The only place that writes to stdout and stderr: data on the one, everything else on the other.
//!
//! What goes to a terminal is made harmless first, whoever wrote it.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};

use crate::failure::{Failure, Report};
use crate::terminal::harmless;

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set; `CLICOLOR_FORCE` forces them.
    #[default]
    Auto,
    Always,
    Never,
}

/// What the two streams can show.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    stdout: Output,
    stderr: Output,
}

/// What one stream can show.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub terminal: bool,
    pub colour: bool,
}

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const BOLD: Style = Style::new().bold();

impl Printer {
    pub fn new(color: Color) -> Self {
        Self {
            stdout: output(color, io::stdout().is_terminal(), AutoStream::choice(&io::stdout())),
            stderr: output(color, io::stderr().is_terminal(), AutoStream::choice(&io::stderr())),
        }
    }

    pub fn stdout(self) -> Output {
        self.stdout
    }

    pub fn stderr(self) -> Output {
        self.stderr
    }

    /// Data: one or more lines of text on stdout.
    pub fn data(self, text: &str) -> Result<(), Failure> {
        let mut out = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            out.push_str(&self.stdout.shown(line));
            out.push('\n');
        }
        self.bytes(out.as_bytes())
    }

    /// Bytes on stdout as they are, at once.
    #[expect(clippy::unused_self, reason = "who may print has a printer")]
    pub fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    /// A remark on stderr.
    pub fn note(self, text: &str) {
        self.say(text);
    }

    pub fn warning(self, text: &str) {
        self.say(&format!("{} {text}", self.stderr.paint("warning:", YELLOW)));
    }

    pub fn hint(self, text: &str) {
        self.say(&format!("{} {text}", self.stderr.paint("hint:", BOLD)));
    }

    /// A question on stderr, whose answer is typed on the same line.
    pub fn ask(self, text: &str) {
        let _ = io::stderr().lock().write_all(self.stderr.shown(text).as_bytes());
    }

    /// What went wrong, why, and what to do.
    pub fn report(self, report: &Report) {
        self.say(&format!("{} {}", self.stderr.paint("error:", RED), report.what));
        for cause in &report.causes {
            self.say(&format!("{} {cause}", self.stderr.paint("cause:", BOLD)));
        }
        if let Some(hint) = &report.hint {
            self.hint(hint);
        }
        if let Some(id) = &report.request_id {
            self.say(&format!("{} {id}", self.stderr.paint("request-id:", BOLD)));
        }
    }

    /// Nobody can be told that stderr cannot be written.
    fn say(self, text: &str) {
        let mut out = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            out.push_str(&self.stderr.shown(line));
            out.push('\n');
        }
        let _ = io::stderr().lock().write_all(out.as_bytes());
    }
}

impl Output {
    /// `line` as this stream may show it.
    pub fn shown(self, line: &str) -> Cow<'_, str> {
        if self.terminal { harmless(line, self.colour) } else { Cow::Borrowed(line) }
    }

    pub fn paint(self, text: &str, style: Style) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn output(color: Color, terminal: bool, auto: anstream::ColorChoice) -> Output {
    let colour = match color {
        Color::Auto => auto != anstream::ColorChoice::Never,
        Color::Always => true,
        Color::Never => false,
    };
    Output { terminal, colour }
}
