//! What can be typed: the commands, and the options that all of them have.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{
    Arg, ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueHint, parser::ValueSource,
};
use url::Url;

use ckrv_types::Secret;

use crate::commands;
use crate::format::Format;
use crate::printer::Color;
use crate::{duration, env};

#[derive(Debug, Parser)]
#[command(
    name = "ckrv",
    version,
    about = "Run coding agents away from your machine, and pull their work back",
    long_about = "Run coding agents away from your machine, and pull their work back.\n\n\
        A job is a repository, a branch and an instruction. The control plane has it run in a fresh clone; its log streams \
        back live, and what it made comes back as a local branch.",
    after_help = "Examples:\n  \
        ckrv dev --detach                        start a control plane on this machine\n  \
        ckrv cloud login --server URL            or sign in to one that is there\n  \
        ckrv run --follow \"fix the flaky test\"   run an agent on the checkout you stand in\n  \
        ckrv run -- make test                    run a command instead\n  \
        ckrv pull JOB                            get its work as branch ckrv/JOB\n\n\
        Exit codes: 0 done, 1 failed, 2 usage, 3 cancelled, 4 not logged in, 5 forbidden or quota, 6 not found,\n\
        7 server unreachable, 8 still pending, 124 timed out, 130 interrupted (the job goes on).",
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// URL of the control plane (with CKRV_TOKEN, instead of a profile)
    #[arg(long, env = env::SERVER, global = true, value_name = "URL")]
    pub server: Option<Url>,
    /// Only here for its variable: see [`parse`].
    #[arg(long, env = env::TOKEN, global = true, hide = true, value_parser = secret)]
    pub token: Option<Secret>,
    /// File with the API key
    #[arg(long, env = env::TOKEN_FILE, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// Profile to use (see `ckrv profile`)
    #[arg(long, env = env::PROFILE, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Organization that the command is about, by name or id [default: the profile's]
    #[arg(long, env = env::ORG, global = true, value_name = "ORG")]
    pub org: Option<String>,
    /// File with the key that logins are encrypted with, where there is no keyring: 64 hex digits, mode 0600
    #[arg(long, env = env::KEY_FILE, global = true, hide_short_help = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
    /// File with the passphrase that logins are encrypted with, where there is no keyring; mode 0600
    #[arg(long, env = env::PASSPHRASE_FILE, global = true, hide_short_help = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
    /// Form of the output
    #[arg(short = 'o', long, env = env::FORMAT, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// When to use colours
    #[arg(long, env = env::COLOR, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Folder of all files of ckrv [default: ckrv in the user's data folder]
    #[arg(long, env = env::HOME, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub home: Option<PathBuf>,
    /// Ask nothing before doing what cannot be undone
    #[arg(short = 'y', long, env = env::YES, global = true)]
    pub yes: bool,
    /// Allow http:// to other machines: the token travels in clear text
    #[arg(long, env = env::ALLOW_PLAIN_HTTP, global = true)]
    pub allow_plain_http: bool,
    /// How long to repeat requests while the server cannot be reached
    #[arg(long, env = env::RETRY_LIMIT, global = true, value_name = "TIME", value_parser = duration::parse, default_value = "10s")]
    pub retry_limit: Duration,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a control plane on this machine
    Dev(commands::dev::Args),
    /// Sign in to a control plane, and out; credentials that jobs may use
    Cloud(commands::cloud::Args),
    /// Hand in a job
    Run(Box<commands::run::Args>),
    /// List jobs, newest first
    #[command(visible_alias = "ls")]
    List(commands::list::Args),
    /// Show a job: state, cause, attempts and their times
    Status(commands::status::Args),
    /// Print a job's log
    Logs(commands::logs::Args),
    /// Get a job's work: its branch, and what else it left
    Pull(commands::pull::Args),
    /// Stop a job
    Cancel(commands::cancel::Args),
    /// Run a job again, as a new job
    Retry(commands::retry::Args),
    /// Say why a job does not run, or why it ended
    Explain(commands::explain::Args),
    /// Organizations: who belongs to them, and who is asked to
    Org(commands::org::Args),
    /// Projects, and what holds for their jobs
    Project(commands::project::Args),
    /// API keys
    Key(commands::key::Args),
    /// Members that are no people: pipelines, bots
    #[command(visible_alias = "sa")]
    ServiceAccount(commands::service_account::Args),
    /// Runners and their tokens
    Runner(commands::runner::Args),
    /// What the organization may use, and what it has used
    Usage(commands::usage::Args),
    /// Who did what
    Audit(commands::audit::Args),
    /// Profiles: which control plane to talk to
    Profile(commands::profile::Args),
    /// Print a completion script for a shell
    Completions(commands::completions::Args),
    /// Print the manual page
    Man(commands::man::Args),
}

/// Infallible, and the type that clap wants.
#[expect(clippy::unnecessary_wraps, reason = "a value parser returns a result")]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// The command with what holds for all of its options.
pub fn command() -> clap::Command {
    finish(Cli::command())
}

/// Reads the command line and the environment.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    if arguments.len() == 1 {
        // The name alone asks what there is.
        arguments.push("-h".into());
    }
    let matches = command.try_get_matches_from_mut(arguments)?;
    if deepest(&matches).value_source("token") == Some(ValueSource::CommandLine) {
        let text = "a token on the command line can be read by every program on this machine: set CKRV_TOKEN or use --token-file";
        return Err(command.error(clap::error::ErrorKind::ArgumentConflict, text));
    }
    Cli::from_arg_matches(&matches)
}

fn deepest(matches: &clap::ArgMatches) -> &clap::ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| deepest(inner))
}

fn finish(command: clap::Command) -> clap::Command {
    command.mut_args(finish_arg).mut_subcommands(finish)
}

/// The value of a variable is nobody's business in a help text, and a switch may be said in words.
fn finish_arg(arg: Arg) -> Arg {
    let arg = arg.hide_env_values(true);
    if matches!(arg.get_action(), ArgAction::SetTrue) { arg.value_parser(BoolishValueParser::new()) } else { arg }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn flags(command: &clap::Command, into: &mut Vec<(String, Option<String>)>) {
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            into.push((format!("{} --{}", command.get_name(), arg.get_id()), variable));
        }
        for inner in command.get_subcommands() {
            flags(inner, into);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_documented_variable_and_every_variable_a_flag() {
        let mut all = Vec::new();
        flags(&command(), &mut all);
        let used: BTreeSet<&str> = all
            .iter()
            .map(|(flag, variable)| variable.as_deref().unwrap_or_else(|| panic!("{flag} has no variable")))
            .collect();
        assert_eq!(used, env::ALL.iter().copied().collect());
        assert_eq!(used.len(), all.len(), "two flags share a variable");
    }

    #[test]
    fn every_command_has_an_example() {
        for inner in command().get_subcommands() {
            let help = inner.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "ckrv {} has none", inner.get_name());
        }
    }

    #[test]
    fn a_token_is_taken_from_the_environment_only() {
        let words = ["ckrv", "list", "--token", "ck_live_x"].map(Into::into);
        assert!(parse(words).unwrap_err().to_string().contains("CKRV_TOKEN"));
    }
}
