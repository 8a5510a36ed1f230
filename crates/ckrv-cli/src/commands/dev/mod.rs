//! `ckrv dev`: the embedded control plane on this machine, by the program `ckrv-dev`.

mod programs;
mod start;
mod status;
mod stop;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Starts a private PostgreSQL, an object store, the control plane and a runner; needs nothing installed, and keeps \
everything below CKRV_HOME. The CLI is logged in to it by the profile `dev`. The runner is not a sandbox: jobs run as you, \
on this machine.\n\n\
CKRV_DEV_POSTGRES_URL has it use a PostgreSQL that is there.\n\n\
Examples:\n  ckrv dev                 in the foreground; Ctrl-C stops it\n  ckrv dev --detach        in the background\n  ckrv dev status -o json  whether it runs, and where\n  ckrv dev stop"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    start: start::StartArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stop the control plane; jobs that run are stopped with it
    Stop,
    /// Whether it runs, and where
    Status,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        None => start::run(args.start, context).await,
        Some(Command::Stop) => stop::run(context).await,
        Some(Command::Status) => status::run(context),
    }
}
