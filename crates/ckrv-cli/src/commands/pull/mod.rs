//! `ckrv pull`: a job's work, brought home.
//!
//! What comes is hostile until it has been checked: the agent made it.
//! 1. Objects are taken only with the size and hash that the manifest says ([`download`]).
//! 2. `--output`: files are created below an open folder, never outside it ([`files`]).
//! 3. The branch goes through a repository of its own, where it is checked, before the checkout sees it ([`bundle`]).
//! 4. `--apply`: the difference between two checked commits goes onto the work tree ([`apply`]).

mod apply;
mod bundle;
mod download;
mod files;
mod header;
mod pulled;

use std::path::PathBuf;

use ckrv_client::Client;
use ckrv_types::artifact::{ArtifactStatus, BUNDLE};
use ckrv_types::{Artifact, Job};

use crate::commands::ending::of_job;
use crate::context::{Context, job_id};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::git::checkout::Checkout;
use crate::printer::Printer;
pub use pulled::Pulled;
use pulled::PulledBranch;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "In a git checkout, the work becomes the local branch ckrv/JOB; HEAD, index and work tree stay as they are. Pulling \
again changes nothing.\n\n\
Examples:\n  ckrv pull JOB && git diff main...ckrv/JOB\n  ckrv pull --apply JOB\n  ckrv pull --output out JOB"
)]
pub struct Args {
    /// The job
    job: String,
    /// Also write everything that the job left into this folder
    #[arg(long, env = env::PULL_OUTPUT, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    output: Option<PathBuf>,
    /// Also put the changes onto the work tree, as `git apply --3way` does
    #[arg(long, env = env::PULL_APPLY)]
    apply: bool,
    /// Replace a branch ckrv/JOB that has other content
    #[arg(long, env = env::PULL_FORCE)]
    force: bool,
}

/// What to do with the work.
#[derive(Debug, Default)]
pub struct Wanted {
    pub output: Option<PathBuf>,
    pub apply: bool,
    pub force: bool,
}

pub async fn run(args: Args, context: &Context) -> Outcome {
    let id = job_id(&args.job)?;
    let wanted = Wanted { output: args.output, apply: args.apply, force: args.force };
    let place = place(&wanted).await?;
    let client = context.client()?;
    let job = client.job(id).await.map_err(of_job(id))?;
    let pulled = pull(&job, &wanted, place, &client, context.printer).await?;
    context.printer.show(&pulled, context.format())?;
    Ok(ExitStatus::Done)
}

/// The checkout to make the branch in. There may be none if only files are wanted.
pub async fn place(wanted: &Wanted) -> Result<Option<Checkout>, Failure> {
    let here = std::env::current_dir().or_fail(|| "cannot tell where this is".into())?;
    let checkout = Checkout::around(&here).await.or_fail(|| "cannot look for a checkout".into())?;
    if checkout.is_none() && (wanted.output.is_none() || wanted.apply) {
        return Err(Failure::usage("this is no git checkout, so there is no place for the job's branch")
            .hint("go to a checkout of the job's repository, or say --output DIR"));
    }
    Ok(checkout)
}

/// Brings the work of `job` home, as `wanted`.
pub async fn pull(
    job: &Job,
    wanted: &Wanted,
    place: Option<Checkout>,
    client: &Client,
    printer: Printer,
) -> Result<Pulled, Failure> {
    let manifest = client.artifacts(job.id).await?;
    let mut pulled = Pulled::new(job.id);
    if let Some(folder) = &wanted.output {
        pulled.files = files::write_all(client, job.id, &manifest.items, folder, printer).await?;
        pulled.folder = Some(folder.clone());
    }
    let Some(checkout) = place else { return Ok(pulled) };
    match branch(job, &manifest.items, wanted, client, &checkout).await {
        Ok(branch) => pulled.branch = branch,
        // The files were wanted, and are here; the checkout may be of another repository.
        Err(Failure::Told(report)) if wanted.output.is_some() && !wanted.apply => {
            printer.warning(&format!("no branch was made: {}", report.what));
            return Ok(pulled);
        }
        Err(failure) => return Err(failure),
    }
    match &pulled.branch {
        None => printer.note("the job changed nothing, so there is no branch"),
        Some(branch) if wanted.apply => {
            apply::apply(branch, &checkout).await?;
            pulled.applied = true;
        }
        Some(_) => {}
    }
    Ok(pulled)
}

/// Makes the local branch; none if the job changed nothing.
async fn branch(
    job: &Job,
    artifacts: &[Artifact],
    wanted: &Wanted,
    client: &Client,
    checkout: &Checkout,
) -> Result<Option<PulledBranch>, Failure> {
    let unchanged = job.result.as_ref().is_some_and(|result| result.base_commit == result.head_commit);
    let Some(artifact) = artifacts.iter().find(|artifact| artifact.name == BUNDLE) else {
        return if unchanged { Ok(None) } else { Err(missing(job)) };
    };
    let why = || artifact.message.clone().unwrap_or_else(|| "no reason is known".to_owned());
    match artifact.status {
        ArtifactStatus::Stored => {}
        ArtifactStatus::Skipped if unchanged => return Ok(None),
        ArtifactStatus::Expired => {
            return Err(Failure::new(ExitStatus::NotFound, format!("the work of {} is no longer kept", job.id)));
        }
        // The worker saw that it would be refused here.
        ArtifactStatus::Skipped => {
            let failure = Failure::failed(format!("the work of {} has no branch", job.id));
            return Err(failure.cause(why()).hint(bundle::as_patch(job)));
        }
        _ => return Err(Failure::failed(format!("the work of {} was not stored", job.id)).cause(why())),
    }
    let mut file = tempfile::NamedTempFile::new().or_fail(|| "cannot make a temporary file".into())?;
    download::download(client, job.id, artifact, file.as_file_mut()).await?;
    bundle::import(file.path(), job, checkout, wanted.force).await.map(Some)
}

fn missing(job: &Job) -> Failure {
    if job.finished_at.is_none() {
        return Failure::new(ExitStatus::Pending, format!("{} is {}, and has left no work yet", job.id, job.state))
            .hint(format!("`ckrv status --watch {}` waits for its end", job.id));
    }
    Failure::failed(format!("{} left no work", job.id)).hint(format!("`ckrv explain {}` says how it ended", job.id))
}
