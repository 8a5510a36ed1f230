//! `ckrv project`: projects, and what holds for their jobs.

mod settings;
mod view;

use clap::Subcommand;

use ckrv_client::Client;
use ckrv_types::identity::{CreateProject, Project, ProjectSettings, UpdateProject};

use crate::commands::named::{self, find};
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = "A PROJECT is named by name or id.\n\n\
Examples:\n  ckrv project create website\n  ckrv project set website --concurrency 4 --max-run 1h\n  \
ckrv project set website --repository 'https://github.com/acme/*'\n  ckrv project set website --unset repository\n  \
ckrv profile project website\n  ckrv project archive website")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the organization's projects
    #[command(visible_alias = "ls")]
    List,
    /// Show a project and its settings
    Show {
        /// Name or id
        project: String,
    },
    /// Make a project
    Create {
        /// Up to 63 of a-z 0-9 -
        name: String,
    },
    /// Give a project another name
    Rename {
        /// Name or id
        project: String,
        /// Up to 63 of a-z 0-9 -
        name: String,
    },
    /// Change settings of a project; what is not named stays
    #[command(
        override_usage = "ckrv project set [OPTIONS] <PROJECT>",
        after_help = "They hold for jobs that are handed in from now on.\n\nExamples:\n  \
ckrv project set website --concurrency 4\n  ckrv project set website --class small --allow-class small,large\n  \
ckrv project set website --unset class,allow-class"
    )]
    Set {
        /// Name or id
        project: String,
        #[command(flatten)]
        settings: settings::SettingsArgs,
    },
    /// Take no more jobs into a project; what it has can still be read
    Archive {
        /// Name or id
        project: String,
    },
    /// Take jobs into an archived project again
    Restore {
        /// Name or id
        project: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.client()?;
    let project = match args.command {
        Command::List => {
            context.printer.show(&client.projects().await?, context.format())?;
            return Ok(ExitStatus::Done);
        }
        Command::Show { project } => match project.parse() {
            Ok(id) => client.project(id).await?,
            Err(_) => find(client.projects().await?.items, &project)?,
        },
        Command::Create { name } => {
            client.create_project(&CreateProject { name, settings: ProjectSettings::default() }).await?
        }
        Command::Rename { project, name } => {
            update(&client, &project, &UpdateProject { name: Some(name), ..UpdateProject::default() }).await?
        }
        Command::Set { project, settings } => {
            let before = find(client.projects().await?.items, &project)?;
            let settings = Some(settings.over(before.settings)?);
            client.update_project(before.id, &UpdateProject { settings, ..UpdateProject::default() }).await?
        }
        Command::Archive { project } => archive(&client, &project, true).await?,
        Command::Restore { project } => archive(&client, &project, false).await?,
    };
    context.printer.show(&project, context.format())?;
    Ok(ExitStatus::Done)
}

async fn archive(client: &Client, project: &str, archived: bool) -> Result<Project, Failure> {
    update(client, project, &UpdateProject { archived: Some(archived), ..UpdateProject::default() }).await
}

async fn update(client: &Client, project: &str, update: &UpdateProject) -> Result<Project, Failure> {
    let id = named::project(client, project).await?;
    Ok(client.update_project(id, update).await?)
}
