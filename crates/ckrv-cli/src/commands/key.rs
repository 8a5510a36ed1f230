//! `ckrv key`: API keys.

use clap::Subcommand;
use comfy_table::Cell;
use serde::Serialize;

use ckrv_types::identity::{ApiKey, CreateKey, RotateKey, Scope};
use ckrv_types::{KeyId, Page};

use crate::commands::choices;
use crate::commands::directory::Directory;
use crate::commands::named::{self, id_of};
use crate::commands::tokened::show_made;
use crate::context::Context;
use crate::duration::{self, age, moment};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::format::{Show, View, short};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A key stands for you, or for a service account, and never may more than they. A KEY is named by name or id.\n\n\
Examples:\n  ckrv key create laptop --scope read --expires-in-days 90\n  ckrv key create ci --service-account ci --project website\n  \
ckrv key list\n  ckrv key rotate ci --overlap 1h > key.txt\n  ckrv key revoke ci"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the organization's keys
    #[command(visible_alias = "ls")]
    List,
    /// Make a key; its token is printed, this one time
    #[command(after_help = "Examples:\n  ckrv key create laptop --scope read,run\n  \
ckrv key create ci --service-account ci --project website --expires-in-days 90 > key.txt")]
    Create {
        /// Up to 63 of a-z 0-9 -
        name: String,
        /// What it may be used for [default: all that its owner may]; may be repeated
        #[arg(long, env = env::KEY_SCOPE, value_parser = choices::scope(), value_delimiter = ',')]
        scope: Vec<Scope>,
        /// Limit it to a project, by name or id [default: all that you may use]; may be repeated
        #[arg(long, env = env::KEY_PROJECT, value_name = "PROJECT", value_delimiter = ',')]
        project: Vec<String>,
        /// Have it stand for a service account, by name or id, instead of you
        #[arg(long, env = env::KEY_SERVICE_ACCOUNT, value_name = "ACCOUNT")]
        service_account: Option<String>,
        /// Days until it expires [default: never]
        #[arg(long, env = env::KEY_EXPIRES_IN_DAYS, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// Make a new key in the place of one, which goes on for a while; the new token is printed, this one time
    Rotate {
        /// Name or id
        key: String,
        /// How long the old one is still good [default: 1d]
        #[arg(long, env = env::KEY_ROTATE_OVERLAP, value_name = "TIME", value_parser = duration::parse_seconds)]
        overlap: Option<u64>,
        /// Days until the new one expires [default: as many as the old one was made for]
        #[arg(long, env = env::KEY_ROTATE_EXPIRES_IN_DAYS, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// Make a key useless
    Revoke {
        /// Name or id
        key: String,
    },
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        Command::List => list(context).await?,
        Command::Create { name, scope, project, service_account, expires_in_days } => {
            let client = context.client()?;
            let service_account = match service_account {
                Some(account) => Some(id_of(&account, client.service_accounts()).await?),
                None => None,
            };
            let projects = named::projects(&client, &project).await?;
            let scopes = (!scope.is_empty()).then_some(scope);
            let wanted = CreateKey { name, service_account, scopes, projects, expires_in_days };
            show_made(context, &client.create_key(&wanted).await?)?;
        }
        Command::Rotate { key, overlap, expires_in_days } => {
            let overlap = overlap.map(u32::try_from).transpose();
            let overlap_seconds = overlap.map_err(|_| Failure::usage("the overlap is too long"))?;
            rotate(&key, &RotateKey { overlap_seconds, expires_in_days }, context).await?;
        }
        Command::Revoke { key } => {
            let client = context.client()?;
            let id: KeyId = id_of(&key, client.keys()).await?;
            context.confirm(&format!("Revoke the key {key} ({id})? Whatever uses it is refused from then on.")).await?;
            client.revoke_key(id).await?;
            context.printer.note(&format!("{id} is revoked"));
        }
    }
    Ok(ExitStatus::Done)
}

async fn list(context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let (keys, directory) = tokio::join!(client.keys(), Directory::load(&client, context.format()));
    context.printer.show(&Keys { page: keys?, directory }, context.format())
}

async fn rotate(key: &str, how: &RotateKey, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let id = match key.parse() {
        Ok(id) => id,
        Err(_) => named::one(not_rotated(client.keys().await?.items), key)?.id,
    };
    let made = client.rotate_key(id, how).await?;
    show_made(context, &made)?;
    let ends = how.overlap_seconds.map_or_else(
        || "ends in a day".to_owned(),
        |seconds| format!("ends in {}", duration::show(time::Duration::seconds(seconds.into()))),
    );
    context.printer.note(&format!("{} takes the place of {id}, which {ends}", made.item.id));
    Ok(())
}

/// A key that has been rotated has the name of the one in its place until it ends.
fn not_rotated(keys: Vec<ApiKey>) -> Vec<ApiKey> {
    let rotated: Vec<KeyId> = keys.iter().filter_map(|key| key.rotated_from).collect();
    keys.into_iter().filter(|key| !rotated.contains(&key.id)).collect()
}

/// As JSON, the API's answer alone.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Keys {
    page: Page<ApiKey>,
    #[serde(skip)]
    directory: Directory,
}

impl Show for Keys {
    fn table(&self, view: View) -> String {
        let name = |id: String| self.directory.name(id);
        let rows = self.page.items.iter().map(|key| {
            let owner =
                key.user.map(|user| user.to_string()).or(key.service_account.map(|account| account.to_string()));
            let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
            let projects: Vec<String> = key.projects.iter().map(|project| name(project.to_string())).collect();
            let expiry = key.revoked_at.map(|at| format!("revoked {}", moment(at)));
            [
                Cell::new(key.id),
                short(&key.name, 63),
                short(&owner.map(name).unwrap_or_default(), 40),
                Cell::new(scopes.join(",")),
                short(if projects.is_empty() { "all".to_owned() } else { projects.join(",") }.as_str(), 60),
                Cell::new(age(key.created_at)),
                Cell::new(key.last_used_at.map(age).unwrap_or_default()),
                Cell::new(expiry.or(key.expires_at.map(moment)).unwrap_or_default()),
            ]
        });
        view.columns(["KEY", "NAME", "OF", "MAY", "PROJECTS", "AGE", "USED", "ENDS"], rows)
    }

    fn names(&self) -> Vec<String> {
        self.page.items.iter().map(|key| key.id.to_string()).collect()
    }
}
