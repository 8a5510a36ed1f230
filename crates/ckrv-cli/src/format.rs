//! The forms in which a result is shown: `-o table|json|yaml|name`. The JSON is the API's own type.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Color, Table};
use serde::Serialize;

use ckrv_types::State;

use crate::failure::{Failure, OrFail as _};
use crate::printer::Printer;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people; may change.
    #[default]
    Table,
    /// The API's type; streams are NDJSON.
    Json,
    Yaml,
    /// Ids alone, one a line.
    Name,
}

/// A value that can be shown in every form.
pub trait Show: Serialize {
    /// For people.
    fn table(&self, view: View) -> String;

    /// Ids, one a line.
    fn names(&self) -> Vec<String>;
}

/// What a table may look like.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub colour: bool,
}

impl Printer {
    /// Shows `value` on stdout.
    pub fn show(self, value: &impl Show, format: Format) -> Result<(), Failure> {
        match format {
            Format::Table => self.data(&value.table(View { colour: self.stdout().colour })),
            Format::Json => self.json(value),
            Format::Yaml => {
                self.data(&serde_saphyr::to_string(value).or_fail(|| "cannot write this as YAML".to_owned())?)
            }
            Format::Name => self.data(&value.names().join("\n")),
        }
    }

    /// One line of JSON on stdout.
    pub fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        self.data(&serde_json::to_string(value).or_fail(|| "cannot write this as JSON".to_owned())?)
    }
}

impl View {
    /// Without colours.
    pub const PLAIN: Self = Self { colour: false };

    /// Columns without lines.
    pub fn columns<const N: usize>(self, header: [&str; N], rows: impl IntoIterator<Item = [Cell; N]>) -> String {
        let mut table = self.empty();
        table.set_header(header);
        table.add_rows(rows);
        trimmed(&table)
    }

    /// A name and a value a line; what has no value is left out.
    pub fn fields(self, fields: impl IntoIterator<Item = (&'static str, Option<Cell>)>) -> String {
        let mut table = self.empty();
        table.add_rows(fields.into_iter().filter_map(|(name, value)| Some([Cell::new(name), value?])));
        trimmed(&table)
    }

    fn empty(self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }
}

/// A cell's text in one line, short enough for a table.
pub fn short(text: &str, width: usize) -> Cell {
    Cell::new(crate::terminal::one_line(text, width))
}

/// A state in its colour.
pub fn state(state: State) -> Cell {
    let cell = Cell::new(state);
    match state {
        State::Succeeded => cell.fg(Color::Green),
        State::Failed | State::TimedOut => cell.fg(Color::Red),
        State::Cancelled => cell.fg(Color::Yellow),
        State::Running | State::Starting | State::Finishing => cell.fg(Color::Blue),
        State::Queued | State::Assigned => cell,
    }
}

/// Without the blanks that pad the first and last column.
fn trimmed(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}
