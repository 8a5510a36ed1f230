//! `ckrv retry`: the same specification as a new job.

use crate::commands::ending::of_job;
use crate::context::{Context, job_id};
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::Format;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The new job's id is printed; the old job stays as it is.\n\nExample:\n  ckrv logs -f $(ckrv retry JOB)"
)]
pub struct Args {
    /// The job to repeat
    job: String,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let id = job_id(&args.job)?;
    let job = context.client()?.retry(id).await.map_err(of_job(id))?;
    match context.format() {
        Format::Table => context.printer.data(&job.id.to_string())?,
        other => context.printer.show(&job, other)?,
    }
    Ok(ExitStatus::Done)
}
