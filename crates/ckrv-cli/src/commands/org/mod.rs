//! `ckrv org`: organizations, who belongs to them, and who is asked to.

mod invitations;
mod members;
mod own;

use clap::Subcommand;

use ckrv_types::identity::{CreateOrg, Role};

use crate::commands::choices;
use crate::context::Context;
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::Outcome;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A command is about the profile's organization, or the one that --org names. A MEMBER is named by name, e-mail or id.\n\n\
Roles: an owner may everything; an admin manages members, projects, keys, runners and credentials; an editor runs jobs; a viewer \
looks.\n\n\
Examples:\n  ckrv org create acme && ckrv profile org acme\n  ckrv org invite --role editor grace@example.com\n  \
ckrv org join https://ckrv.example.com/invitations/…\n  ckrv org role grace@example.com admin\n  ckrv org members -o json"
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the organizations that you belong to
    #[command(visible_alias = "ls")]
    List,
    /// Show the organization
    Show,
    /// Make an organization, of which you are the owner
    Create {
        /// Up to 63 of a-z 0-9 -
        name: String,
    },
    /// Give the organization another name
    Rename {
        /// Up to 63 of a-z 0-9 -
        name: String,
    },
    /// List the people in the organization
    Members,
    /// Invite somebody; the link to send them is printed, this one time
    #[command(
        after_help = "Nothing is sent: that is up to you. The link is good for one person and seven days.\n\nExamples:\n  \
ckrv org invite --role editor \"Grace, for the website\"\n  ckrv org invite --role viewer | xclip"
    )]
    Invite {
        /// For whom it is, for those who read the list
        #[arg(value_name = "WHO")]
        note: Option<String>,
        /// What they may do
        #[arg(long, env = env::ORG_INVITE_ROLE, value_parser = choices::role())]
        role: Role,
    },
    /// List the invitations that nobody has taken yet
    Invitations,
    /// Make an invitation's link useless
    Uninvite {
        /// The invitation's id, or for whom it is
        invitation: String,
    },
    /// Take an invitation
    Join {
        /// The link; without one, it is asked for, or read from stdin
        link: Option<String>,
    },
    /// Give a member another role
    Role {
        /// Name, e-mail or id
        member: String,
        /// What they may do from now on
        #[arg(value_parser = choices::role())]
        role: Role,
    },
    /// Shut a member out for a while: their logins and keys are refused within a minute
    Suspend {
        /// Name, e-mail or id
        member: String,
    },
    /// Let a suspended member in again
    Resume {
        /// Name, e-mail or id
        member: String,
    },
    /// Remove a member, and their keys with them
    Remove {
        /// Name, e-mail or id
        member: String,
    },
    /// Leave the organization
    Leave,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    match args.command {
        Command::List => own::list(context).await?,
        Command::Show => context.printer.show(&context.client()?.org().await?, context.format())?,
        Command::Create { name } => own::create(&CreateOrg { name }, context).await?,
        Command::Rename { name } => own::rename(name, context).await?,
        Command::Members => context.printer.show(&context.client()?.members().await?, context.format())?,
        Command::Invite { note, role } => invitations::invite(note, role, context).await?,
        Command::Invitations => context.printer.show(&context.client()?.invitations().await?, context.format())?,
        Command::Uninvite { invitation } => invitations::revoke(&invitation, context).await?,
        Command::Join { link } => invitations::join(link, context).await?,
        Command::Role { member, role } => members::role(&member, role, context).await?,
        Command::Suspend { member } => members::suspend(&member, true, context).await?,
        Command::Resume { member } => members::suspend(&member, false, context).await?,
        Command::Remove { member } => members::remove(&member, context).await?,
        Command::Leave => members::leave(context).await?,
    }
    Ok(ExitStatus::Done)
}
