//! `ckrv completions`: scripts for shells.

use clap_complete::Shell;

use crate::cli;
use crate::context::Context;
use crate::exit::ExitStatus;
use crate::failure::Outcome;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ckrv completions bash > ~/.local/share/bash-completion/completions/ckrv\n  ckrv completions zsh > ~/.zfunc/_ckrv"
)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args, context: &Context) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "ckrv", &mut script);
    context.printer.bytes(&script)?;
    Ok(ExitStatus::Done)
}
