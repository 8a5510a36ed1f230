//! `ckrv key`: API keys.

use clap::Subcommand;
use comfy_table::Cell;
use serde::Serialize;

use ckrv_types::identity::{ApiKey, CreateKey, WithToken};
use ckrv_types::{KeyId, Page, ProjectId};

use crate::context::Context;
use crate::duration::{age, moment};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::format::{Format, Show, View, short};

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
            let created = client.create_key(&CreateKey { name, project, expires_in_days }).await?;
            show_token(context, &created, &created.item.id.to_string())?;
        }
        Command::Revoke { key } => {
            let id: KeyId = key.parse().map_err(|error: ckrv_types::id::InvalidId| no_such(&error, "ckrv key list"))?;
            client.revoke_key(id).await?;
            context.printer.note(&format!("{id} is revoked"));
        }
    }
    Ok(ExitStatus::Done)
}

/// An id that cannot exist.
pub fn no_such(error: &ckrv_types::id::InvalidId, list: &str) -> Failure {
    Failure::new(ExitStatus::NotFound, error.to_string()).hint(format!("`{list}` shows them"))
}

/// The token alone on stdout, so that it can be piped to where it is kept; or the whole as JSON or YAML.
pub fn show_token<T: Serialize>(context: &Context, created: &WithToken<T>, id: &str) -> Result<(), Failure>
where
    WithToken<T>: Show,
{
    match context.format() {
        Format::Table => {
            context.printer.note(&format!("{id}: the token is shown this one time"));
            context.printer.data(&created.token)
        }
        other => context.printer.show(created, other),
    }
}

impl Show for WithToken<ApiKey> {
    fn table(&self, _view: View) -> String {
        self.token.clone()
    }

    fn names(&self) -> Vec<String> {
        vec![self.item.id.to_string()]
    }
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
