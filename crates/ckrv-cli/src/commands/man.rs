//! `ckrv man`: manual pages.

use std::path::PathBuf;

use crate::context::Context;
use crate::exit::ExitStatus;
use crate::failure::{OrFail as _, Outcome};
use crate::{cli, env};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  ckrv man | man -l -\n  ckrv man --dir ~/.local/share/man/man1")]
pub struct Args {
    /// Write a page for each command into this folder instead
    #[arg(long, env = env::MAN_DIR, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> Outcome {
    if let Some(dir) = &args.dir {
        let what = || format!("cannot write manual pages to {}", dir.display());
        std::fs::create_dir_all(dir).or_fail(what)?;
        clap_mangen::generate_to(cli::command(), dir).or_fail(what)?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(cli::command()).render(&mut page).or_fail(|| "cannot make the page".into())?;
        context.printer.bytes(&page)?;
    }
    Ok(ExitStatus::Done)
}
