//! `ckrv cloud login`: by a code that is confirmed at any browser, by this machine's browser, or by an API key.

use url::Url;

use ckrv_client::oauth::{AuthorizationServer, OAuthError, Tokens};
use ckrv_client::{Client, ClientConfig, Credential};
use ckrv_types::Secret;
use ckrv_types::identity::{Scope, WhoAmI};

use super::{device, web};
use crate::commands::kept::{self, Before};
use crate::context::Context;
use crate::credentials::{Kept, Locker, Store};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::profile::{self, DEV, Profile};
use crate::sys;

/// The profile of whoever needs only one.
const DEFAULT: &str = "default";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints a code and an address. Open the address in any browser, on any machine, compare the code and confirm it; \
the command goes on as soon as you have. --web does without the code, in this machine's browser.\n\n\
Without --server, it is the server of the profile that is named or in use. The profile is in use from then on.\n\n\
Examples:\n  ckrv cloud login --server https://ckrv.example.com\n  ckrv cloud login --server https://ckrv.example.com --name work --web\n  \
ckrv cloud login --server https://ckrv.example.com --with-token < key.txt"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct LoginArgs {
    /// Sign in with the browser of this machine, without a code
    #[arg(long, env = env::LOGIN_WEB, conflicts_with = "with_token")]
    web: bool,
    /// Read an API key from stdin instead
    #[arg(long, env = env::LOGIN_WITH_TOKEN)]
    with_token: bool,
    /// Name of the profile to sign in [default: the one in use, or `default`]
    #[arg(long, env = env::LOGIN_NAME, value_name = "PROFILE")]
    name: Option<String>,
    /// Print the address only; by itself, a browser is opened on a terminal that is not remote
    #[arg(long, env = env::LOGIN_NO_BROWSER)]
    no_browser: bool,
    /// Keep the login in plain text: whoever reads your files can act as you
    #[arg(long, env = env::LOGIN_INSECURE_STORAGE)]
    insecure_storage: bool,
}

pub async fn run(args: LoginArgs, context: &Context) -> Outcome {
    let (name, profile) = target(&args, context)?;
    let store = context.store(&name, &profile.server);
    let kept = if args.with_token {
        let key = kept::api_key(context, "ckrv cloud login --with-token < FILE, where FILE holds ck_live_…")?;
        // Refuses one that is not good, before anything is kept.
        whoami(context, &profile, &key).await?;
        let locker = kept::locker(&store, args.insecure_storage, context).await?;
        (Kept::Key(key), locker)
    } else {
        let config = context.config(profile.server.clone(), Credential::None);
        let server = AuthorizationServer::discover(&config).await.map_err(not_there)?;
        let locker = kept::locker(&store, args.insecure_storage, context).await?;
        let tokens = let_in(&server, &args, context).await?;
        (Kept::Login(tokens.into()), locker)
    };
    let before = keep(context, &name, &profile, &store, &kept).await?;
    tell(context, &name, &profile, &kept.0).await;
    before.end(&profile.server, context).await;
    Ok(ExitStatus::Done)
}

/// The profile to sign in: what it is called, and its server.
fn target(args: &LoginArgs, context: &Context) -> Result<(String, Profile), Failure> {
    let (named, server) = context.named();
    let name = match args.name.as_deref().or(named) {
        Some(name) => name.to_owned(),
        // A server without a name is that of the profile in use, or a new one.
        None => profile::active(&context.home)?.filter(|name| name != DEV).unwrap_or_else(|| DEFAULT.to_owned()),
    };
    if name == DEV {
        return Err(Failure::usage("the profile `dev` is the embedded control plane's, and signed in by itself")
            .hint("choose another --name"));
    }
    let mut profile = match (profile::find(&context.home, &name)?, server) {
        (Some(profile), None) => profile,
        (Some(profile), Some(server)) if profile.server == *server => profile,
        (Some(profile), Some(_)) => {
            return Err(Failure::usage(format!("the profile `{name}` is for {}", profile.server))
                .hint(format!("choose another --name, or remove it: `ckrv profile remove {name}`")));
        }
        (None, Some(server)) => Profile::of(server.clone()),
        (None, None) => {
            return Err(Failure::usage("no control plane to sign in to").hint("say --server URL"));
        }
    };
    if let Some(org) = context.org() {
        profile.project = profile.project.filter(|_| profile.org.as_deref() == Some(org));
        profile.org = Some(org.to_owned());
    }
    Ok((name, profile))
}

async fn let_in(server: &AuthorizationServer, args: &LoginArgs, context: &Context) -> Result<Tokens, Failure> {
    let browse = !args.no_browser && context.is_interactive() && sys::can_browse();
    let scope = Scope::ALL.map(Scope::as_str).join(" ");
    let host = gethostname::gethostname();
    let host = host.to_string_lossy();
    if args.web {
        web::login(server, &scope, &host, browse, context.printer).await
    } else {
        device::login(server, &scope, &host, browse, context.printer).await
    }
}

/// Writes the login, and then the profile, which is in use from now on; what it was signed in with before.
async fn keep(
    context: &Context,
    name: &str,
    profile: &Profile,
    store: &Store,
    (kept, locker): &(Kept, Locker),
) -> Result<Before, Failure> {
    let lock = store.lock().await?;
    let before = Before::of(store).await;
    store.write(kept, locker, &lock)?;
    profile::store(&context.home, name, &Profile { token: None, ..profile.clone() })?;
    profile::choose(&context.home, name)?;
    Ok(before)
}

async fn whoami(context: &Context, profile: &Profile, token: &Secret) -> Result<WhoAmI, Failure> {
    let config = context.config(profile.server.clone(), token.clone());
    Ok(Client::new(ClientConfig { org: profile.org.clone(), ..config })?.whoami().await?)
}

/// The login stands, whatever the answer to this is.
async fn tell(context: &Context, name: &str, profile: &Profile, kept: &Kept) {
    let token = match kept {
        Kept::Login(login) => &login.access,
        Kept::Key(key) => key,
    };
    let server = without_slash(&profile.server);
    let who = match whoami(context, profile, token).await {
        Ok(me) => {
            let account = me.user.map(|user| format!("{}, {}", user.name, user.role));
            let account = account.or(me.key.map(|key| format!("API key {}", key.name))).unwrap_or_default();
            format!(" as {account} in {}", me.org_name)
        }
        Err(Failure::Told(report)) => {
            context.printer.warning(&format!("the login is kept, but could not be used just now: {}", report.what));
            String::new()
        }
        Err(Failure::Unread) => String::new(),
    };
    context.printer.note(&format!("signed in to {server}{who}; the profile `{name}` is in use"));
    if context.has_token() {
        context.printer.warning("CKRV_TOKEN (or CKRV_TOKEN_FILE) is set, and goes before this login");
    }
}

fn without_slash(server: &Url) -> &str {
    server.as_str().trim_end_matches('/')
}

/// A server without the well-known address is none that people can sign in to.
fn not_there(error: OAuthError) -> Failure {
    let failure = Failure::from(error);
    match failure.status() {
        ExitStatus::NotFound => {
            failure.hint("is this a ckrv control plane, and does it know logins? An API key may do: --with-token")
        }
        _ => failure,
    }
}
