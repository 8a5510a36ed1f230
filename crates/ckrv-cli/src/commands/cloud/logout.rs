//! `ckrv cloud logout`: the server ends the login, and this machine forgets it, whatever the server says.

use crate::commands::kept;
use crate::context::Context;
use crate::credentials::{Holds, Kept, Store};
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::profile::{self, Profile};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The login is forgotten even when the server cannot be reached; the exit code then is not 0, and the login ends at the \
server when it expires, or when you revoke it on your account's page. An API key stays good: `ckrv key revoke` ends it. The \
profile stays, signed out.\n\nExamples:\n  ckrv cloud logout\n  ckrv cloud logout --profile work"
)]
pub struct LogoutArgs {}

pub async fn run(context: &Context) -> Outcome {
    let name = context.profile_name()?;
    let profile = profile::load(&context.home, &name)?;
    if profile.token.is_some() {
        return Err(Failure::usage(format!("the profile `{name}` has an API key, and no login"))
            .hint(format!("`ckrv profile remove {name}` forgets it")));
    }
    let store = context.store(&name, &profile.server);
    let Some((holds, _)) = store.look().unwrap_or(Some((Holds::Login, String::new()))) else {
        context.printer.note(&format!("profile `{name}` is signed out already"));
        return Ok(ExitStatus::Done);
    };
    let lock = store.lock().await?;
    let ended = match holds {
        Holds::Login => end(context, &profile, &store).await,
        Holds::Key => Ok(()),
    };
    store.forget(&lock).await?;
    context.printer.note(&format!("profile `{name}` is signed out"));
    match (ended, holds) {
        (Ok(()), Holds::Login) => {}
        (Ok(()), Holds::Key) => context.printer.hint("the API key itself is still good; `ckrv key revoke` ends one"),
        (Err(failure), _) => return Err(still_good(failure)),
    }
    Ok(ExitStatus::Done)
}

async fn end(context: &Context, profile: &Profile, store: &Store) -> Result<(), Failure> {
    let Kept::Login(login) = store.read().await?.kept else { return Ok(()) };
    kept::end(&login, &profile.server, context).await
}

/// Forgotten here, and perhaps not there.
fn still_good(failure: Failure) -> Failure {
    let status = failure.status();
    let what = "the login is forgotten on this machine, but the server has not been told to end it";
    let mut told = Failure::new(status, what);
    if let Failure::Told(report) = failure {
        told = told.cause(report.what);
        for cause in report.causes {
            told = told.cause(cause);
        }
    }
    told.hint("revoke it on your account's page, or leave it to expire")
}
