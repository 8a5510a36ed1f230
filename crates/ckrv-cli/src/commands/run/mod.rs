//! `ckrv run`: hands in a job, and stays with it if asked to.

mod args;
mod draft;
mod input;
mod origin;
mod spec_file;

pub use args::Args;

use ckrv_client::Client;
use ckrv_types::job::SubmitJob;
use ckrv_types::repo_url::RepoPolicy;
use ckrv_types::{Job, JobId, JobSpec};

use crate::commands::pull::Wanted;
use crate::commands::{ending, logs, named, pull};
use crate::context::{Context, is_this_machine};
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::format::{Format, Show as _, View};
use crate::git::checkout::Checkout;

pub async fn run(args: Args, context: &Context) -> Outcome {
    check(&args)?;
    let place = if args.pull { pull::place(&Wanted::default()).await? } else { None };
    let draft = input::read(&args)?;
    let access = context.access()?;
    let local = is_this_machine(&access.server);
    let (project, usual) = (draft.project.clone(), access.project);
    let spec = origin::complete(draft, local, context.printer).await?.into_spec();
    validate(&spec, local)?;
    let client = context.client_for(access)?;
    let project = match project {
        Some(project) => Some(named::project(&client, &project).await?),
        None => usual,
    };
    let job = client.submit(&SubmitJob { spec, project }).await?;
    show_id(&job, context)?;
    if !(args.follow || args.wait || args.pull) {
        return Ok(ExitStatus::Done);
    }
    context.watch(job.id);
    ending::within(args.timeout, job.id, stay(args.follow, place, &client, job.id, context)).await
}

/// What the flags rule out among themselves.
fn check(args: &Args) -> Result<(), Failure> {
    if args.timeout.is_some() && !(args.follow || args.wait || args.pull) {
        return Err(Failure::usage("--timeout needs --wait, --follow or --pull"));
    }
    let agent = args.agent.as_deref().unwrap_or("command");
    if !args.command.is_empty() && agent != "command" {
        return Err(Failure::usage(format!("the agent `{agent}` takes a prompt, not a command after --")));
    }
    Ok(())
}

/// Every rule that the specification breaks, before anything is sent. Which addresses are allowed is the server's to say.
fn validate(spec: &JobSpec, local: bool) -> Result<(), Failure> {
    let policy = RepoPolicy { local, private_addresses: true, plain_http: true };
    let errors = spec.check(&policy);
    if errors.is_empty() {
        return Ok(());
    }
    let failure = Failure::usage("the job breaks rules");
    let failure = errors.iter().fold(failure, |failure, e| failure.cause(format!("{}: {}", e.field, e.message)));
    Err(failure.hint("`ckrv run --help` says what can be given"))
}

/// The id alone, at once, so that scripts and people can come back to it.
fn show_id(job: &Job, context: &Context) -> Result<(), Failure> {
    match context.format() {
        Format::Table | Format::Name => context.printer.data(&job.id.to_string()),
        other => context.printer.show(job, other),
    }
}

/// Follows or waits to the end, pulls into `place` if there is one, and answers the job's exit code.
async fn stay(follow: bool, place: Option<Checkout>, client: &Client, id: JobId, context: &Context) -> Outcome {
    let printer = context.printer;
    if follow {
        let look = logs::Look { timestamps: false, raw: false, format: context.format() };
        logs::print(client, id, logs::following(), look, printer).await?;
    }
    let job = ending::wait(client, id, async |event| {
        if !follow {
            printer.note(&ending::line(event));
        }
        Ok(())
    })
    .await?;
    let status = ending::tell(&job, printer);
    if place.is_none() {
        ending::offer(&job, printer);
        return Ok(status);
    }
    match pull::pull(&job, &Wanted::default(), place, client, printer).await {
        Ok(pulled) => printer.note(&pulled.table(View::PLAIN)),
        // A job that did not succeed may have nothing to pull, and that is told already.
        Err(Failure::Told(report)) if status != ExitStatus::Done => {
            printer.note(&format!("nothing pulled: {}", report.what));
        }
        Err(failure) => return Err(failure),
    }
    Ok(status)
}
