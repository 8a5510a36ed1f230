//! `ckrv dev status`.

use std::path::PathBuf;

use comfy_table::Cell;
use serde::Serialize;

use crate::context::Context;
use crate::embedded::{self, Server, State};
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::{Show, View, short};

/// Whether it runs; where, as which process, and how to sign in at its pages.
#[derive(Debug, Default, Serialize)]
pub struct DevStatus {
    pub running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The file that holds the login's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

impl DevStatus {
    pub fn of(server: Server) -> Self {
        let (login, password_file) = server.account.map(|account| (account.login, account.password_file)).unzip();
        Self {
            running: true,
            login_page: login.is_some().then(|| format!("{}/login", server.url)),
            server: Some(server.url),
            pid: Some(server.pid),
            login,
            password_file,
        }
    }
}

pub fn run(context: &Context) -> Outcome {
    let status = match embedded::look(&context.home)? {
        State::Running(server) => DevStatus::of(server),
        State::Starting => {
            context.printer.note("it is starting");
            DevStatus::default()
        }
        State::Stopped => DevStatus::default(),
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
            ("login page", self.login_page.as_deref().map(|page| short(page, 200))),
            ("login", self.login.as_deref().map(|login| short(login, 200))),
            ("password in", self.password_file.as_ref().map(|file| Cell::new(file.display()))),
        ])
    }

    fn names(&self) -> Vec<String> {
        self.server.iter().cloned().collect()
    }
}
