//! Waiting for a job's end, and telling it.

use std::time::Duration;

use futures::StreamExt as _;

use ckrv_client::{Client, ClientError};
use ckrv_types::job::{EventKind, JobEvent};
use ckrv_types::{Cause, Job, JobId};

use crate::duration::show;
use crate::exit::ExitStatus;
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;

/// How long to go without any answer before giving up on a job that runs.
pub const GIVE_UP: Duration = Duration::from_mins(5);

/// Waits until the job is over, handing each change of its state to `tell`.
pub async fn wait(
    client: &Client,
    id: JobId,
    mut tell: impl AsyncFnMut(&JobEvent) -> Result<(), Failure>,
) -> Result<Job, Failure> {
    let mut last = None;
    loop {
        let mut events = std::pin::pin!(client.events(id, GIVE_UP));
        while let Some(event) = events.next().await {
            let event = event?;
            // A stream that was opened anew begins at the beginning.
            if last.is_none_or(|last| event.id > last) {
                last = Some(event.id);
                tell(&event).await?;
            }
        }
        let job = client.job(id).await?;
        if job.finished_at.is_some() {
            return Ok(job);
        }
        // The stream ended and the job did not: a moment later it may have.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Ends `work` after `limit`: the job goes on, and the status says so.
pub async fn within(limit: Option<Duration>, id: JobId, work: impl Future<Output = Outcome>) -> Outcome {
    let Some(limit) = limit else { return work.await };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Failure::new(ExitStatus::Pending, format!("{id} is not over after {limit:?}"))
            .hint(format!("it goes on: `ckrv status {id}` looks again, `ckrv cancel {id}` stops it")))
    })
}

/// One line for a change of state.
pub fn line(event: &JobEvent) -> String {
    let what = match event.kind {
        EventKind::State => event.state.to_string(),
        EventKind::CancelRequested => "cancel requested".to_owned(),
        EventKind::Retry => "queued again".to_owned(),
        EventKind::Note => "note".to_owned(),
    };
    let attempt = if event.attempt > 1 { format!(" (attempt {})", event.attempt) } else { String::new() };
    let why = match (event.cause, &event.message) {
        (Some(cause), Some(message)) => format!(": {cause}: {message}"),
        (Some(cause), None) => format!(": {cause}"),
        (None, Some(message)) => format!(": {message}"),
        (None, None) => String::new(),
    };
    format!("{what}{attempt}{why}")
}

/// Says on stderr how the job ended and what can be done; answers the exit code.
pub fn tell(job: &Job, printer: Printer) -> ExitStatus {
    let took = job.finished_at.map(|end| format!(" after {}", show(end - job.created_at))).unwrap_or_default();
    printer.note(&format!("{} {}{took}", job.id, job.state));
    if let Some(cause) = job.cause {
        let message = job.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        printer.note(&format!("cause: {cause}{message}"));
        printer.hint(&hint(cause, job.id));
    }
    ExitStatus::of(job.state)
}

/// What can be done about `cause`, as commands that can be typed.
pub fn hint(cause: Cause, id: JobId) -> String {
    cause.hint().replace("JOB", &id.to_string()).replace("`ckrv retry`", &format!("`ckrv retry {id}`"))
}

/// Says on stderr what there is to pull, and how.
pub fn offer(job: &Job, printer: Printer) {
    if let Some(result) = job.result.as_ref().filter(|result| result.base_commit != result.head_commit) {
        let change = change(u64::from(result.files_changed), result.insertions, result.deletions);
        printer.note(&format!("{change}: `ckrv pull {}` gets it", job.id));
    }
}

/// `1 file changed, +3 -0`.
pub fn change(files: u64, insertions: u64, deletions: u64) -> String {
    let s = if files == 1 { "" } else { "s" };
    format!("{files} file{s} changed, +{insertions} -{deletions}")
}

/// A job that is not there is told by its id.
pub fn of_job(id: JobId) -> impl Fn(ClientError) -> Failure {
    move |error| {
        let not_found = error.problem_code() == Some(ckrv_types::ProblemCode::NotFound);
        let failure = Failure::from(error);
        if not_found { failure.hint(format!("`ckrv list` shows your jobs; {id} is not among them")) } else { failure }
    }
}
