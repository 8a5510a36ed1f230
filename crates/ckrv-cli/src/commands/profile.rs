//! `ckrv profile`: which control plane to talk to.

use clap::Subcommand;
use comfy_table::Cell;
use serde::Serialize;
use url::Url;

use ckrv_types::Secret;

use crate::context::{Context, read_stdin};
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::format::{Show, View, short};
use crate::profile::{self, Profile};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "`ckrv dev` makes the profile `dev`, which is in use unless another is chosen. CKRV_SERVER and CKRV_TOKEN go \
before any profile.\n\n\
Examples:\n  ckrv profile set work https://ckrv.example.com < key.txt\n  ckrv profile use work\n  ckrv profile list"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the profiles
    List,
    /// Choose the profile to use from now on
    Use { name: String },
    /// Make or change a profile; the token is read from stdin
    Set {
        name: String,
        /// URL of the control plane
        server: Url,
    },
    /// Forget a profile and its token
    Remove { name: String },
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let home = &context.home;
    match args.command {
        Command::List => context.printer.show(&list(context)?, context.format())?,
        Command::Use { name } => {
            profile::choose(home, &name)?;
            context.printer.note(&format!("profile `{name}` is in use"));
        }
        Command::Set { name, server } => {
            let token = Secret::new(read_stdin()?.trim());
            if ckrv_types::token::parse(token.expose()).is_err() {
                return Err(Failure::usage("what stands on stdin is not a ckrv token")
                    .hint(format!("ckrv profile set {name} {server} < FILE, where FILE holds ck_live_…")));
            }
            let new = Profile { server, token };
            // Refuses an address that the token must not go to.
            context.client_for(new.clone())?;
            profile::store(home, &name, &new)?;
            context.printer.note(&format!("profile `{name}` is written; `ckrv profile use {name}` chooses it"));
        }
        Command::Remove { name } => {
            let was_there = profile::remove(home, &name)?;
            context
                .printer
                .note(&format!("profile `{name}` {}", if was_there { "is removed" } else { "was not there" }));
        }
    }
    Ok(ExitStatus::Done)
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
}

fn list(context: &Context) -> Result<Profiles, Failure> {
    let active = profile::active(&context.home)?;
    let items = profile::names(&context.home)?
        .into_iter()
        .map(|name| {
            let Profile { server, .. } = profile::load(&context.home, &name)?;
            Ok(Listed { in_use: active.as_ref() == Some(&name), name, server })
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
            ]
        });
        view.columns(["", "PROFILE", "SERVER"], rows)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|profile| profile.name.clone()).collect()
    }
}
