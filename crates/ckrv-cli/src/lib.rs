//! The command line of ckrv.
//!
//! [`cli`] says what can be typed, [`commands`] has one file for each command, and each works with what [`context`] gives
//! it. Everything printed goes through [`printer`]; every failure is a [`failure::Failure`] with its exit code. Nothing here
//! knows SQL, Kubernetes or how jobs are run: it talks to the control plane by `ckrv-client`, and to `git`.

mod cli;
mod commands;
mod context;
mod credentials;
mod duration;
mod embedded;
mod env;
mod exit;
mod failure;
mod format;
mod git;
mod home;
mod printer;
mod profile;
mod quotas;
mod sys;
mod terminal;

use std::ffi::OsString;

use clap::error::ErrorKind;

use crate::context::Context;
pub use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _};
use crate::printer::Printer;

/// Runs the command that `arguments` (the program's name first) and the environment ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitStatus {
    let cli = match cli::parse(arguments) {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error),
    };
    let printer = Printer::new(cli.global.color);
    let outcome = run(cli, printer);
    if let Err(Failure::Told(report)) = &outcome {
        printer.report(report);
    }
    outcome.unwrap_or_else(|failure| failure.status())
}

fn run(cli: cli::Cli, printer: Printer) -> failure::Outcome {
    ckrv_client::install_crypto_provider();
    let context = Context::new(cli.global, printer)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.or_fail(|| "cannot start".into())?;
    let outcome = runtime.block_on(commands::run(cli.command, &context));
    // A blocked read of stdin must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Prints a usage error, or the help or version that was asked for. Nobody can be told that printing failed.
fn explain_usage(error: &clap::Error) -> ExitStatus {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitStatus::Done,
        _ => ExitStatus::Usage,
    }
}
