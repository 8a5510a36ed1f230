//! The commands, one file each, and what Ctrl-C does to them.

pub mod audit;
pub mod cancel;
pub mod cloud;
pub mod completions;
pub mod dev;
pub mod explain;
pub mod key;
pub mod list;
pub mod logs;
pub mod man;
pub mod org;
pub mod profile;
pub mod project;
pub mod pull;
pub mod retry;
pub mod run;
pub mod runner;
pub mod service_account;
pub mod status;
pub mod usage;

mod choices;
mod directory;
mod ending;
#[cfg(test)]
mod forms;
mod job_view;
mod kept;
mod named;
mod tokened;

use crate::cli::Command;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::failure::Outcome;

/// Runs one command. Ctrl-C ends it, but for `dev`, which hands signals on.
pub async fn run(command: Command, context: &Context) -> Outcome {
    if let Command::Dev(args) = command {
        return dev::run(args, context).await;
    }
    tokio::select! {
        outcome = dispatch(command, context) => outcome,
        Ok(()) = tokio::signal::ctrl_c() => {
            if let Some(job) = context.watched() {
                context.printer.note(&format!("interrupted; {job} goes on"));
                context.printer.hint(&format!("`ckrv logs --follow {job}` goes on reading, `ckrv cancel {job}` stops it"));
            }
            Ok(ExitStatus::Interrupted)
        }
    }
}

async fn dispatch(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Dev(args) => dev::run(args, context).await,
        Command::Cloud(args) => cloud::run(args, context).await,
        Command::Run(args) => Box::pin(run::run(*args, context)).await,
        Command::List(args) => list::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Logs(args) => logs::run(args, context).await,
        Command::Pull(args) => pull::run(args, context).await,
        Command::Cancel(args) => cancel::run(args, context).await,
        Command::Retry(args) => retry::run(args, context).await,
        Command::Explain(args) => explain::run(args, context).await,
        Command::Org(args) => org::run(args, context).await,
        Command::Project(args) => project::run(args, context).await,
        Command::Key(args) => key::run(args, context).await,
        Command::Runner(args) => runner::run(args, context).await,
        Command::ServiceAccount(args) => service_account::run(args, context).await,
        Command::Usage(args) => usage::run(args, context).await,
        Command::Audit(args) => audit::run(args, context).await,
        Command::Profile(args) => profile::run(args, context).await,
        Command::Completions(args) => completions::run(&args, context),
        Command::Man(args) => man::run(&args, context),
    }
}
