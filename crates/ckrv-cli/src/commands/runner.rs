//! `ckrv runner`: who executes the organization's jobs, and the tokens that let them.

use clap::Subcommand;
use comfy_table::Cell;

use ckrv_types::identity::{CreateRunner, RunnerInfo, UpdateRunner};
use ckrv_types::{Page, ProjectId, RunnerId};

use crate::commands::tokened::show_made;
use crate::context::{self, Context};
use crate::duration::age;
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::{Show, View, short};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ckrv runner create build-1\n  \
    ckrv runner create cluster-1 --allow ckrv=prj-01k9zj3m5r8w2t6y4x0v7q1n5d\n  ckrv runner list\n  ckrv runner revoke RUNNER")]
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
        /// Take AgentJobs that are made by hand in this namespace of its cluster, into this project; `*`: in every other
        /// namespace; may be repeated
        #[arg(long, env = env::RUNNER_ALLOW, value_name = ALLOWED, value_parser = allowed, value_delimiter = ',')]
        allow: Vec<(String, ProjectId)>,
    },
    /// Say anew which namespaces' AgentJobs a runner may hand in; without any, it may hand in none
    Allow {
        /// The runner's id
        runner: String,
        /// A namespace of its cluster (`*`: every other one) and the project that its jobs go into
        #[arg(value_name = ALLOWED, value_parser = allowed)]
        allow: Vec<(String, ProjectId)>,
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
        Command::Create { name, allow } => {
            let allow = allow.into_iter().collect();
            show_made(context, &client.create_runner(&CreateRunner { name, allow }).await?)?;
        }
        Command::Allow { runner, allow } => {
            let id: RunnerId = context::id(&runner, "`ckrv runner list` shows them")?;
            let update = UpdateRunner { allow: allow.into_iter().collect() };
            let updated = client.update_runner(id, &update).await?;
            context.printer.show(&Page { items: vec![updated], next: None }, context.format())?;
        }
        Command::Revoke { runner } => {
            let id: RunnerId = context::id(&runner, "`ckrv runner list` shows them")?;
            client.revoke_runner(id).await?;
            context.printer.note(&format!("{id} is revoked"));
        }
    }
    Ok(ExitStatus::Done)
}

const ALLOWED: &str = "NAMESPACE=PROJECT";

fn allowed(text: &str) -> Result<(String, ProjectId), String> {
    let (namespace, project) = text.split_once('=').ok_or_else(|| format!("{ALLOWED} is expected"))?;
    let project: ProjectId = project.parse().map_err(|error| format!("{error}"))?;
    Ok((namespace.to_owned(), project))
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
