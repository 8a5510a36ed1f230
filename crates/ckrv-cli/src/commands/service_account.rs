//! `ckrv service-account`: members that are no people.

use clap::Subcommand;
use comfy_table::Cell;

use ckrv_types::identity::{CreateServiceAccount, Role, ServiceAccount, UpdateServiceAccount};

use crate::commands::choices;
use crate::commands::named::id_of;
use crate::context::Context;
use crate::duration::age;
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::format::{One, Row, short, since};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A service account acts by API keys of its own, which outlive whoever made them. An ACCOUNT is named by name or id.\n\n\
Examples:\n  ckrv service-account create ci --role editor\n  ckrv key create ci --service-account ci\n  ckrv sa list\n  \
ckrv sa suspend ci"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the organization's service accounts
    #[command(visible_alias = "ls")]
    List,
    /// Make a service account
    Create {
        /// Up to 63 of a-z 0-9 -
        name: String,
        /// What it may do; not above your own
        #[arg(long, env = env::SERVICE_ACCOUNT_ROLE, value_parser = choices::role())]
        role: Role,
    },
    /// Give a service account another role
    Role {
        /// Name or id
        account: String,
        /// What it may do from now on
        #[arg(value_parser = choices::role())]
        role: Role,
    },
    /// Have its keys refused for a while
    Suspend {
        /// Name or id
        account: String,
    },
    /// Let its keys in again
    Resume {
        /// Name or id
        account: String,
    },
    /// Remove a service account, and its keys with it
    Remove {
        /// Name or id
        account: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        Command::List => context.printer.show(&context.client()?.service_accounts().await?, context.format())?,
        Command::Create { name, role } => {
            let account = context.client()?.create_service_account(&CreateServiceAccount { name, role }).await?;
            context.printer.show(&One(account.clone()), context.format())?;
            let name = &account.name;
            context.printer.hint(&format!("`ckrv key create KEY_NAME --service-account {name}` makes a key for it"));
        }
        Command::Role { account, role } => {
            update(&account, &UpdateServiceAccount { role: Some(role), suspended: None }, context).await?;
        }
        Command::Suspend { account } => suspend(&account, true, context).await?,
        Command::Resume { account } => suspend(&account, false, context).await?,
        Command::Remove { account } => {
            let client = context.client()?;
            let id = id_of(&account, client.service_accounts()).await?;
            context.confirm(&format!("Remove the service account {account} ({id}), with its keys?")).await?;
            client.remove_service_account(id).await?;
            context.printer.note(&format!("{account} ({id}) is removed"));
        }
    }
    Ok(ExitStatus::Done)
}

async fn suspend(account: &str, suspended: bool, context: &Context) -> Result<(), Failure> {
    update(account, &UpdateServiceAccount { role: None, suspended: Some(suspended) }, context).await
}

async fn update(account: &str, update: &UpdateServiceAccount, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let id = id_of(account, client.service_accounts()).await?;
    context.printer.show(&One(client.update_service_account(id, update).await?), context.format())
}

impl Row for ServiceAccount {
    const HEADER: &'static [&'static str] = &["ACCOUNT", "NAME", "ROLE", "KEYS", "AGE", "STATE"];

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.id),
            short(&self.name, 63),
            Cell::new(self.role),
            Cell::new(self.keys),
            Cell::new(age(self.created_at)),
            since("suspended", self.suspended_at),
        ]
    }
}
