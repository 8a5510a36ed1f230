//! `ckrv status`: a job in full, once or at each change.

use crate::commands::ending::{self, of_job};
use crate::context::{Context, job_id};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::Outcome;
use crate::format::Format;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ckrv status JOB\n  ckrv status --watch JOB\n  ckrv status -o json JOB | jq -r .state"
)]
pub struct Args {
    /// The job
    job: String,
    /// Print each change of state until the job is over (with -o json: the job each time)
    #[arg(short, long, env = env::STATUS_WATCH)]
    watch: bool,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let id = job_id(&args.job)?;
    let client = context.client()?;
    let job = client.job(id).await.map_err(of_job(id))?;
    if !args.watch {
        context.printer.show(&job, context.format())?;
        return Ok(ExitStatus::Done);
    }
    context.watch(id);
    let printer = context.printer;
    let job = ending::wait(&client, id, async |event| match context.format() {
        Format::Table => printer.data(&format!("{} {}", crate::duration::moment(event.at), ending::line(event))),
        Format::Json => printer.json(&client.job(id).await?),
        Format::Yaml => printer.data("---").and(printer.show(&client.job(id).await?, Format::Yaml)),
        Format::Name => printer.data(event.state.as_str()),
    })
    .await?;
    ending::tell(&job, printer);
    ending::offer(&job, printer);
    Ok(ExitStatus::Done)
}
