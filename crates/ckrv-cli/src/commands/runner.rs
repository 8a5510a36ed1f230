//! `ckrv runner`: who executes the organization's jobs, and the tokens that let them.

use clap::Subcommand;
use comfy_table::Cell;

use ckrv_types::identity::{CreateRunner, RunnerInfo};
use ckrv_types::{Page, RunnerId};

use crate::commands::tokened::show_made;
use crate::context::{self, Context};
use crate::duration::age;
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::{Show, View, short};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ckrv runner create build-1\n  ckrv runner list\n  ckrv runner revoke RUNNER")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the runners that the organization's jobs may run on
    List,
    /// Register a runner; its token is printed, this one time
    Create {
        /// Up to 63 of a-z 0-9 -
        name: String,
    },
    /// Make a runner's token useless
    Revoke {
        /// The runner's id
        runner: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.client()?;
    match args.command {
        Command::List => context.printer.show(&client.runners().await?, context.format())?,
        Command::Create { name } => {
            show_made(context, &client.create_runner(&CreateRunner { name }).await?)?;
        }
        Command::Revoke { runner } => {
            let id: RunnerId = context::id(&runner, "`ckrv runner list` shows them")?;
            client.revoke_runner(id).await?;
            context.printer.note(&format!("{id} is revoked"));
        }
    }
    Ok(ExitStatus::Done)
}

impl Show for Page<RunnerInfo> {
    fn table(&self, view: View) -> String {
        let rows = self.items.iter().map(|runner| {
            let state = match (runner.revoked_at, runner.alive, runner.last_seen_at) {
                (Some(_), _, _) => "revoked",
                (None, true, _) => "alive",
                (None, false, Some(_)) => "lost",
                (None, false, None) => "never seen",
            };
            [
                Cell::new(runner.id),
                short(&runner.name, 63),
                Cell::new(state),
                Cell::new(format!("{}/{}", runner.busy, runner.capacity)),
                Cell::new(runner.last_seen_at.map(age).unwrap_or_default()),
                short(&runner.classes.join(","), 40),
            ]
        });
        view.columns(["RUNNER", "NAME", "STATE", "BUSY", "SEEN", "CLASSES"], rows)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|runner| runner.id.to_string()).collect()
    }
}
