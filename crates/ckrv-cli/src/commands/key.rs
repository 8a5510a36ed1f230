//! `ckrv key`: API keys.

use clap::Subcommand;
use comfy_table::Cell;

use ckrv_types::identity::{ApiKey, CreateKey};
use ckrv_types::{KeyId, Page, ProjectId};

use crate::commands::tokened::show_made;
use crate::context::{self, Context};
use crate::duration::{age, moment};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::{Show, View, short};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ckrv key create ci --expires-in-days 90\n  ckrv key list\n  ckrv key revoke KEY")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the organization's keys
    List,
    /// Make a key; its token is printed, this one time
    Create {
        /// Up to 63 of a-z 0-9 -
        name: String,
        /// Limit it to one project
        #[arg(long, env = env::KEY_PROJECT, value_name = "ID")]
        project: Option<ProjectId>,
        /// Days until it expires [default: never]
        #[arg(long, env = env::KEY_EXPIRES_IN_DAYS, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// Make a key useless
    Revoke {
        /// The key's id
        key: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let client = context.client()?;
    match args.command {
        Command::List => context.printer.show(&client.keys().await?, context.format())?,
        Command::Create { name, project, expires_in_days } => {
            let projects = project.into_iter().collect();
            let wanted = CreateKey { name, projects, expires_in_days, ..CreateKey::default() };
            show_made(context, &client.create_key(&wanted).await?)?;
        }
        Command::Revoke { key } => {
            let id: KeyId = context::id(&key, "`ckrv key list` shows them")?;
            client.revoke_key(id).await?;
            context.printer.note(&format!("{id} is revoked"));
        }
    }
    Ok(ExitStatus::Done)
}

impl Show for Page<ApiKey> {
    fn table(&self, view: View) -> String {
        let rows = self.items.iter().map(|key| {
            let expiry = key.revoked_at.map(|at| format!("revoked {}", moment(at)));
            [
                Cell::new(key.id),
                short(&key.name, 63),
                Cell::new(age(key.created_at)),
                Cell::new(key.last_used_at.map(age).unwrap_or_default()),
                Cell::new(expiry.or(key.expires_at.map(moment)).unwrap_or_default()),
            ]
        });
        view.columns(["KEY", "NAME", "AGE", "USED", "ENDS"], rows)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|key| key.id.to_string()).collect()
    }
}
