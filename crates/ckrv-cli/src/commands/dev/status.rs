//! `ckrv dev status`.

use comfy_table::Cell;
use serde::Serialize;

use crate::context::Context;
use crate::embedded::{self, State};
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::{Show, View, short};

/// Whether it runs; where, and as which process.
#[derive(Debug, Serialize)]
pub struct DevStatus {
    pub running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

pub fn run(context: &Context) -> Outcome {
    let status = match embedded::look(&context.home)? {
        State::Running(server) => DevStatus { running: true, server: Some(server.server), pid: Some(server.pid) },
        State::Starting => {
            context.printer.note("it is starting");
            DevStatus { running: false, server: None, pid: None }
        }
        State::Stopped => DevStatus { running: false, server: None, pid: None },
    };
    context.printer.show(&status, context.format())?;
    Ok(ExitStatus::Done)
}

impl Show for DevStatus {
    fn table(&self, view: View) -> String {
        view.fields([
            ("running", Some(Cell::new(if self.running { "yes" } else { "no" }))),
            ("server", self.server.as_deref().map(|server| short(server, 200))),
            ("pid", self.pid.map(Cell::new)),
        ])
    }

    fn names(&self) -> Vec<String> {
        self.server.iter().cloned().collect()
    }
}
