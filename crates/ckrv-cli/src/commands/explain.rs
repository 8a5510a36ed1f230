//! `ckrv explain`: why a job does not run, or why it ended, and what to do.

use comfy_table::Cell;

use ckrv_types::job::{Explanation, QueuePosition};

use crate::commands::ending::of_job;
use crate::context::{Context, job_id};
use crate::duration::moment;
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::{Show, View, short, state};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ckrv explain JOB")]
pub struct Args {
    /// The job
    job: String,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let id = job_id(&args.job)?;
    let explanation = context.client()?.explain(id).await.map_err(of_job(id))?;
    context.printer.show(&explanation, context.format())?;
    Ok(ExitStatus::Done)
}

impl Show for Explanation {
    fn table(&self, view: View) -> String {
        let mut out = view.fields([
            ("job", Some(Cell::new(self.job))),
            ("attempt", Some(Cell::new(self.attempt))),
            ("state", Some(state(self.state))),
            ("cause", self.cause.map(Cell::new)),
            ("summary", Some(short(&self.summary, 1000))),
            ("hint", self.hint.as_deref().map(|hint| short(hint, 1000))),
            ("queue", self.queue.as_ref().map(|queue| short(&place(queue), 1000))),
        ]);
        for detail in &self.details {
            out.push_str("\n- ");
            out.push_str(&crate::terminal::one_line(detail, 1000));
        }
        out
    }

    fn names(&self) -> Vec<String> {
        vec![self.job.to_string()]
    }
}

fn place(queue: &QueuePosition) -> String {
    let of = queue.concurrency.map(|most| format!(" of {most}")).unwrap_or_default();
    format!(
        "place {}; {}{of} jobs of the organization run; {} runners alive with {} free places; times out {}",
        queue.position,
        queue.running,
        queue.runners,
        queue.free_places,
        moment(queue.times_out_at)
    )
}
