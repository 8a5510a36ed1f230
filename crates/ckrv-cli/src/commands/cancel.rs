//! `ckrv cancel`: asks to stop a job, and says what became of it.

use ckrv_types::job::{CancelOutcome, Cancelled};

use crate::commands::ending::of_job;
use crate::context::{Context, job_id};
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::{Show, View};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Cancelling a job that is over, or twice, is not an error; what is said tells them apart.\n\nExample:\n  ckrv cancel JOB"
)]
pub struct Args {
    /// The job
    job: String,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let id = job_id(&args.job)?;
    let cancelled = context.client()?.cancel(id).await.map_err(of_job(id))?;
    context.printer.show(&cancelled, context.format())?;
    Ok(ExitStatus::Done)
}

impl Show for Cancelled {
    fn table(&self, _view: View) -> String {
        let Self { outcome, job } = self;
        match outcome {
            CancelOutcome::Cancelled => format!("{} is cancelled", job.id),
            CancelOutcome::Requested => format!("{} is being stopped; what it has done so far is kept", job.id),
            CancelOutcome::AlreadyFinished => format!("{} was over before: {}", job.id, job.state),
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.job.id.to_string()]
    }
}
