//! `ckrv profile`: which control plane to talk to, and about which organization and project there.

use clap::Subcommand;
use comfy_table::Cell;
use serde::Serialize;
use url::Url;

use ckrv_client::Client;
use ckrv_types::ProjectId;

use crate::commands::kept::{self, Before};
use crate::commands::named;
use crate::context::{Access, Context};
use crate::credentials::{Holds, Kept};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::format::{Show, View, short};
use crate::profile::{self, Profile};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "`ckrv dev` makes the profile `dev`, which is in use unless another is chosen; `ckrv cloud login` makes the others. \
CKRV_SERVER and CKRV_TOKEN go before any profile.\n\n\
Examples:\n  ckrv profile list\n  ckrv profile use work\n  ckrv profile org acme\n  ckrv profile set ci https://ckrv.example.com < key.txt"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the profiles, and how each is signed in
    List,
    /// Choose the profile to use from now on
    Use { name: String },
    /// Make or change a profile by an API key, which is read from stdin and kept like a login
    #[command(
        after_help = "Nothing is asked of the server; `ckrv cloud login --with-token` sees whether the key is good.\n\n\
Example:\n  ckrv profile set ci https://ckrv.example.com < key.txt"
    )]
    Set {
        name: String,
        /// URL of the control plane
        server: Url,
        /// Keep the key in plain text: whoever reads your files can act by it
        #[arg(long, env = env::PROFILE_INSECURE_STORAGE)]
        insecure_storage: bool,
    },
    /// Show or choose the organization that commands are about
    #[command(after_help = "Examples:\n  ckrv profile org\n  ckrv profile org acme\n  ckrv profile org --unset")]
    Org {
        /// Its name or id; without one, the profile's is shown
        org: Option<String>,
        /// Go back to the one that was chosen at the login
        #[arg(long, env = env::PROFILE_ORG_UNSET, conflicts_with = "org")]
        unset: bool,
    },
    /// Show or choose the project that jobs go into and are listed of
    #[command(
        after_help = "Examples:\n  ckrv profile project\n  ckrv profile project website\n  ckrv profile project --unset"
    )]
    Project {
        /// Its name or id; without one, the profile's is shown
        project: Option<String>,
        /// Go back to the organization's first, and to listing all
        #[arg(long, env = env::PROFILE_PROJECT_UNSET, conflicts_with = "project")]
        unset: bool,
    },
    /// Forget a profile, and what it is signed in with
    Remove { name: String },
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let home = &context.home;
    match args.command {
        Command::List => context.printer.show(&list(context)?, context.format())?,
        Command::Use { name } => {
            profile::choose(home, &name)?;
            context.printer.note(&format!("profile `{name}` is in use"));
        }
        Command::Set { name, server, insecure_storage } => set(&name, server, insecure_storage, context).await?,
        Command::Org { org, unset } => {
            let (name, profile) = in_use(context)?;
            match (org, unset) {
                (None, false) => context.printer.show(&Chosen(profile.org), context.format())?,
                (org, _) => {
                    // Refuses what cannot be one.
                    context.client_for(Access { org: org.clone(), ..context.access_of(&name, &profile)? })?;
                    // A project belongs to one organization.
                    let project = profile.project.filter(|_| org == profile.org);
                    profile::store(home, &name, &Profile { org: org.clone(), project, ..profile })?;
                    told(context, &name, "organization", org.as_deref());
                }
            }
        }
        Command::Project { project, unset } => {
            let (name, profile) = in_use(context)?;
            let project = match project {
                // Its id is kept: a name may change.
                Some(project) => {
                    let client = context.client_for(context.access_of(&name, &profile)?)?;
                    Some(named::project(&client, &project).await?)
                }
                None => None,
            };
            if project.is_none() && !unset {
                let shown = Chosen(profile.project.map(|project| project.to_string()));
                context.printer.show(&shown, context.format())?;
            } else {
                profile::store(home, &name, &Profile { project, ..profile })?;
                told(context, &name, "project", project.map(|project| project.to_string()).as_deref());
            }
        }
        Command::Remove { name } => remove(&name, context).await?,
    }
    Ok(ExitStatus::Done)
}

async fn set(name: &str, server: Url, insecure: bool, context: &Context) -> Result<(), Failure> {
    let before = profile::find(&context.home, name)?;
    let key = kept::api_key(context, format!("ckrv profile set {name} {server} < FILE, where FILE holds ck_live_…"))?;
    // Refuses an address that the key must not go to.
    Client::new(context.config(server.clone(), key.clone()))?;
    let store = context.store(name, &server);
    let locker = kept::locker(&store, insecure, context).await?;
    let lock = store.lock().await?;
    let ended = match before {
        Some(before) => {
            let old = context.store(name, &before.server);
            let ended = Before::of(&old).await;
            if before.server != server {
                // Its key in a keyring is of no more use.
                old.forget(&lock).await?;
            }
            Some((ended, before.server))
        }
        None => None,
    };
    store.write(&Kept::Key(key), &locker, &lock)?;
    drop(lock);
    profile::store(&context.home, name, &Profile { org: context.org().map(str::to_owned), ..Profile::of(server) })?;
    context.printer.note(&format!("profile `{name}` is written; `ckrv profile use {name}` chooses it"));
    if let Some((ended, server)) = ended {
        ended.end(&server, context).await;
    }
    Ok(())
}

async fn remove(name: &str, context: &Context) -> Result<(), Failure> {
    let before = profile::find(&context.home, name)?;
    let was_there = profile::remove(&context.home, name)?;
    if let Some(before) = before {
        forget(name, &before, context).await?;
    }
    context.printer.note(&format!("profile `{name}` {}", if was_there { "is removed" } else { "was not there" }));
    Ok(())
}

/// Forgets what a profile was signed in with, and says so if it is good still.
async fn forget(name: &str, profile: &Profile, context: &Context) -> Result<(), Failure> {
    let store = context.store(name, &profile.server);
    let Some((holds, _)) = store.look().unwrap_or(Some((Holds::Login, String::new()))) else { return Ok(()) };
    let lock = store.lock().await?;
    store.forget(&lock).await?;
    if holds == Holds::Login {
        context
            .printer
            .warning("its login is forgotten here, and not ended at the server; `ckrv cloud logout` does both");
    }
    Ok(())
}

/// The profile that is named, or in use.
fn in_use(context: &Context) -> Result<(String, Profile), Failure> {
    let name = context.profile_name()?;
    let profile = profile::load(&context.home, &name)?;
    Ok((name, profile))
}

fn told(context: &Context, name: &str, what: &str, chosen: Option<&str>) {
    context.printer.note(&match chosen {
        Some(chosen) => format!("profile `{name}` has the {what} {chosen}"),
        None => format!("profile `{name}` has no {what} of its own"),
    });
}

/// What a profile has chosen, if anything.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Chosen(Option<String>);

impl Show for Chosen {
    fn table(&self, _view: View) -> String {
        self.0.clone().unwrap_or_default()
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

/// The profiles, without their tokens.
#[derive(Debug, Serialize)]
struct Profiles {
    items: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    server: Url,
    in_use: bool,
    /// Absent: signed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_in: Option<Holds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<ProjectId>,
}

fn list(context: &Context) -> Result<Profiles, Failure> {
    let active = profile::active(&context.home)?;
    let items = profile::names(&context.home)?
        .into_iter()
        .map(|name| {
            let Profile { server, token, org, project } = profile::load(&context.home, &name)?;
            let signed_in = match token {
                Some(_) => Some(Holds::Key),
                None => context.store(&name, &server).look()?.map(|(holds, _)| holds),
            };
            Ok(Listed { in_use: active.as_ref() == Some(&name), name, server, signed_in, org, project })
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Profiles { items })
}

impl Show for Profiles {
    fn table(&self, view: View) -> String {
        let rows = self.items.iter().map(|profile| {
            [
                Cell::new(if profile.in_use { "*" } else { "" }),
                Cell::new(&profile.name),
                short(profile.server.as_str(), 200),
                Cell::new(match profile.signed_in {
                    Some(Holds::Login) => "login",
                    Some(Holds::Key) => "API key",
                    None => "signed out",
                }),
                short(profile.org.as_deref().unwrap_or_default(), 63),
                Cell::new(profile.project.map(|project| project.to_string()).unwrap_or_default()),
            ]
        });
        view.columns(["", "PROFILE", "SERVER", "BY", "ORGANIZATION", "PROJECT"], rows)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|profile| profile.name.clone()).collect()
    }
}
