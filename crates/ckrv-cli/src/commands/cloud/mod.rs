//! `ckrv cloud`: who this machine is to a control plane.

mod credentials;
mod device;
mod login;
mod logout;
mod web;
mod whoami;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A login is kept in the profile that it was made for, encrypted with a key in the system's keyring. Where there is \
none: CKRV_KEY_FILE, CKRV_PASSPHRASE_FILE.\n\n\
Examples:\n  ckrv cloud login --server https://ckrv.example.com\n  ckrv cloud whoami\n  ckrv cloud logout"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign in
    Login(login::LoginArgs),
    /// Sign out: end the login at the server, then forget it
    Logout(logout::LogoutArgs),
    /// Say who the login is, and what it is good for
    Whoami(whoami::WhoamiArgs),
    /// Credentials that jobs may use: git tokens, deploy keys, model keys
    #[command(visible_alias = "creds")]
    Credentials(credentials::CredentialsArgs),
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        Command::Login(args) => login::run(args, context).await,
        Command::Logout(_) => logout::run(context).await,
        Command::Whoami(_) => whoami::run(context).await,
        Command::Credentials(args) => credentials::run(args, context).await,
    }
}
