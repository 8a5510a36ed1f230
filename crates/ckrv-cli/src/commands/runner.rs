//! `ckrv runner`: who executes the organization's jobs, and the tokens that let them.

use std::collections::BTreeMap;

use clap::Subcommand;
use comfy_table::Cell;

use ckrv_client::Client;
use ckrv_types::identity::{CreateRunner, RunnerInfo, UpdateRunner};
use ckrv_types::{Page, ProjectId};

use crate::commands::list::pair;
use crate::commands::named::{self, id_of};
use crate::commands::tokened::show_made;
use crate::context::Context;
use crate::duration::age;
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::format::{Show, View, short};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ckrv runner create build-1\n  \
    ckrv runner create cluster-1 --allow ckrv=website\n  ckrv runner list\n  ckrv runner revoke RUNNER")]
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
        /// Take AgentJobs that are made by hand in this namespace of its cluster, into this project (by name or id); `*`: in every other
        /// namespace; may be repeated
        #[arg(long, env = env::RUNNER_ALLOW, value_name = ALLOWED, value_parser = pair, value_delimiter = ',')]
        allow: Vec<(String, String)>,
    },
    /// Say anew which namespaces' AgentJobs a runner may hand in; without any, it may hand in none
    Allow {
        /// Name or id
        runner: String,
        /// A namespace of its cluster (`*`: every other one) and the project that its jobs go into
        #[arg(value_name = ALLOWED, value_parser = pair)]
        allow: Vec<(String, String)>,
    },
    /// Make a runner's token useless
    Revoke {
        /// Name or id
        runner: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.client()?;
    match args.command {
        Command::List => context.printer.show(&client.runners().await?, context.format())?,
        Command::Create { name, allow } => {
            let allow = allowed(&client, allow).await?;
            show_made(context, &client.create_runner(&CreateRunner { name, allow }).await?)?;
        }
        Command::Allow { runner, allow } => {
            let id = id_of(&runner, client.runners()).await?;
            let update = UpdateRunner { allow: allowed(&client, allow).await? };
            let updated = client.update_runner(id, &update).await?;
            context.printer.show(&Page { items: vec![updated], next: None }, context.format())?;
        }
        Command::Revoke { runner } => {
            let id = id_of(&runner, client.runners()).await?;
            context.confirm(&format!("Revoke the runner {runner} ({id})? What it runs is lost.")).await?;
            client.revoke_runner(id).await?;
            context.printer.note(&format!("{id} is revoked"));
        }
    }
    Ok(ExitStatus::Done)
}

const ALLOWED: &str = "NAMESPACE=PROJECT";

/// Namespaces with the projects that were named for them, by name or id.
async fn allowed(client: &Client, allow: Vec<(String, String)>) -> Result<BTreeMap<String, ProjectId>, Failure> {
    let (namespaces, projects): (Vec<String>, Vec<String>) = allow.into_iter().unzip();
    Ok(namespaces.into_iter().zip(named::projects(client, &projects).await?).collect())
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
            let allowed: Vec<String> =
                runner.allow.iter().map(|(namespace, project)| format!("{namespace}={project}")).collect();
            [
                Cell::new(runner.id),
                short(&runner.name, 63),
                Cell::new(state),
                Cell::new(format!("{}/{}", runner.busy, runner.capacity)),
                Cell::new(runner.last_seen_at.map(age).unwrap_or_default()),
                short(&runner.classes.join(","), 40),
                Cell::new(allowed.join("\n")),
            ]
        });
        view.columns(["RUNNER", "NAME", "STATE", "BUSY", "SEEN", "CLASSES", "ALLOWS"], rows)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|runner| runner.id.to_string()).collect()
    }
}
