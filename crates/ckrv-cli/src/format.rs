//! The forms in which a result is shown: `-o table|json|yaml|name`. The JSON is the API's own type.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Color, Table};
use serde::Serialize;
use time::OffsetDateTime;

use ckrv_types::{Page, State};

use crate::duration::moment;
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

/// A thing that is one line of a table.
pub trait Row: Serialize {
    const HEADER: &'static [&'static str];

    fn id(&self) -> String;

    /// As many as there are words in the header.
    fn cells(&self) -> Vec<Cell>;
}

impl<T: Row> Show for Page<T> {
    fn table(&self, view: View) -> String {
        view.rows(T::HEADER, self.items.iter().map(Row::cells))
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(Row::id).collect()
    }
}

/// One of them by itself.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct One<T>(pub T);

impl<T: Row> Show for One<T> {
    fn table(&self, view: View) -> String {
        view.rows(T::HEADER, [self.0.cells()])
    }

    fn names(&self) -> Vec<String> {
        vec![self.0.id()]
    }
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
        self.rows(&header, rows.into_iter().map(Vec::from))
    }

    /// The same, with as many columns as there are.
    pub fn rows(self, header: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
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

/// Several texts of others, each on one line.
pub fn lines(texts: &[String], glue: &str) -> String {
    texts.iter().map(|text| crate::terminal::one_line(text, 400)).collect::<Vec<_>>().join(glue)
}

/// A name and how it is written in full where something else has to be meant: `acme (org-…)`.
pub fn named(name: &str, id: impl std::fmt::Display) -> Cell {
    short(&format!("{name} ({id})"), 200)
}

/// What is shut out or laid aside, since when.
pub fn since(word: &str, time: Option<OffsetDateTime>) -> Cell {
    match time {
        Some(time) => Cell::new(format!("{word} {}", moment(time))).fg(Color::Yellow),
        None => Cell::new(""),
    }
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
