//! Agents as data: how each is started and how its output is read. An agent more is an entry in `agents.yaml` and, where
//! its output is not plain text, one [`OutputParser`].
//!
//! Knows nothing of how an agent is run or supervised.

mod catalog;
mod claude_stream;
mod output;

pub use catalog::{Agent, Catalog, CatalogError, UnknownAgent};
pub use output::{OutputFormat, OutputParser, Progress};
