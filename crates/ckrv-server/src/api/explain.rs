//! Why a job is not running, or why it ended, and what to do about it.

use std::time::Duration;

use axum::extract::State;
use ckrv_types::job::{Explanation, QueuePosition};
use ckrv_types::{Attempt, AttemptId, Cause, Job, JobId, RunnerId, State as JobState};
use time::OffsetDateTime;
use utoipa_axum::router::OpenApiRouter;

use super::jobs::existing;
use crate::admission::{self, Capacity};
use crate::auth::{Caller, Read};
use crate::db::queue::{self, Place};
use crate::db::{attempts, events, runners};
use crate::error::ApiResult;
use crate::http::extract::Path;
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, NotFound};
use crate::state::AppState;

/// Notes of the runner that are told at most.
const NOTES: i64 = 5;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// Explain why a job is not running, or why it ended.
#[utoipa::path(get, path = "/v1/jobs/{id}/explain", tag = "jobs", operation_id = "explainJob",
    params(("id" = JobId, Path)),
    responses((status = 200, body = Explanation), Authenticated, NotFound))]
async fn explain(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Path(id): Path<JobId>,
) -> ApiResult<axum::Json<Explanation>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let job = existing(&mut tx, &auth, id).await?;
    let attempt = AttemptId { job: id, number: job.attempt };
    let place = queue::place(&mut tx, attempt).await?;
    let notes = events::notes(&mut tx, attempt, NOTES).await?;
    let noted = attempts::noted_cause(&mut tx, attempt).await?;
    let runner = match job.attempts.last().and_then(|attempt| attempt.runner) {
        Some(runner) => runners::name(&mut tx, runner).await?,
        None => None,
    };
    tx.commit().await?;
    let lease = Duration::from_secs(state.config.lease_seconds);
    let queue = match place {
        Some(place) => {
            let only = place.only_runner.map(RunnerId::from_uuid);
            let able = admission::capacity(&state.db, auth.org, place.class.as_deref(), only, lease).await?;
            let any = admission::capacity(&state.db, auth.org, None, only, lease).await?;
            Some(Queue { place, able, any })
        }
        None => None,
    };
    let notes = notes.into_iter().filter_map(|note| note.message).collect();
    Ok(axum::Json(Facts { job, runner, notes, noted, queue }.explain()))
}

/// All that an explanation is made of.
struct Facts {
    job: Job,
    /// The name of the runner that has the latest attempt.
    runner: Option<String>,
    /// Newest first.
    notes: Vec<String>,
    /// What its runner sees to be wrong with the latest attempt.
    noted: Option<Cause>,
    /// While it is queued.
    queue: Option<Queue>,
}

struct Queue {
    place: Place,
    /// Runners that could take it.
    able: Capacity,
    /// Runners that could take a job without a class.
    any: Capacity,
}

impl Facts {
    fn explain(self) -> Explanation {
        let (summary, hint) = match &self.queue {
            Some(queue) => queue.explain(&self.job),
            None => self.explain_unqueued(),
        };
        Explanation {
            job: self.job.id,
            attempt: self.job.attempt,
            state: self.job.state,
            cause: self.job.cause,
            summary,
            details: self.details(),
            hint,
            queue: self.queue.as_ref().map(Queue::position),
        }
    }

    fn explain_unqueued(&self) -> (String, Option<String>) {
        let job = &self.job;
        if job.state.is_terminal() {
            let summary = match (job.cause, &job.message) {
                (Some(cause), Some(message)) => format!("It is over: {} ({cause}). {message}", job.state),
                (Some(cause), None) => format!("It is over: {} ({cause}).", job.state),
                (None, _) => format!("It is over: {}.", job.state),
            };
            return (summary, job.cause.map(|cause| cause.hint().to_owned()));
        }
        let runner = self.runner.as_deref().unwrap_or("a runner");
        let summary = match job.state {
            JobState::Assigned => match self.notes.first() {
                Some(note) => format!("Runner {runner} has it; its worker has not started yet: {note}"),
                None => format!("Runner {runner} has it; its worker has not started yet."),
            },
            JobState::Starting => format!("Its worker on runner {runner} prepares: clone, agent's environment."),
            JobState::Finishing => "The agent is done; its work is being collected and stored.".to_owned(),
            _ => format!("The agent works on runner {runner}."),
        };
        let hint = match (job.cancel_requested_at, self.noted) {
            (Some(_), _) => "it is being cancelled, and ends when its agent is stopped".to_owned(),
            (None, Some(noted)) => noted.hint().to_owned(),
            (None, None) => format!("ckrv logs --follow {}", job.id),
        };
        (summary, Some(hint))
    }

    fn details(&self) -> Vec<String> {
        let limits = self.job.spec.limits;
        let mut details = vec![
            format!(
                "limits: queue {} s, start {} s, run {} s, idle {} s, grace {} s",
                limits.queue, limits.start, limits.run, limits.idle, limits.grace
            ),
            format!("attempt {} of at most {}", self.job.attempt, self.job.spec.retries.max_attempts),
        ];
        details.extend(self.runner.iter().map(|runner| format!("runner: {runner}")));
        for attempt in &self.job.attempts {
            details.push(phases(attempt));
            details.extend(ending(attempt));
        }
        details.extend(self.notes.iter().map(|note| format!("runner says: {note}")));
        details
    }
}

impl Queue {
    fn explain(&self, job: &Job) -> (String, Option<String>) {
        let Self { place, able, any } = self;
        if place.held_back {
            let why = job.cause.map_or("the attempt before", |cause| cause.as_str());
            return (format!("Attempt {} waits a while after {why}.", job.attempt), None);
        }
        if able.runners == 0 {
            return match &place.class {
                _ if place.only_runner.is_some() && any.runners == 0 => (
                    "The runner of the cluster in which it was made is not alive, and it is for no other.".to_owned(),
                    Some("see to the cluster's operator; `ckrv runner list` shows when it was last seen".to_owned()),
                ),
                Some(class) if any.runners > 0 => (
                    format!("No living runner offers the class `{class}`."),
                    Some(
                        "choose another --class, or start a runner that offers it; `ckrv runner list` shows them"
                            .into(),
                    ),
                ),
                _ => (
                    "No runner is alive that could take it.".to_owned(),
                    Some("start a runner; `ckrv runner list` shows those that are known".to_owned()),
                ),
            };
        }
        if let Some(most) = place.concurrency.filter(|most| place.running >= i64::from(*most)) {
            let running = place.running;
            let summary = format!("The organization runs {running} of the {most} jobs at once that are its limit.");
            return (summary, Some("it starts when one of them is over; `ckrv usage` shows the limits".to_owned()));
        }
        if let Some(most) = place.project_concurrency.filter(|most| place.project_running >= i64::from(*most)) {
            let Place { project, project_running, .. } = place;
            let summary = format!(
                "The project `{project}` runs {project_running} of the {most} jobs at once that its settings allow."
            );
            return (summary, Some("it starts when one of them is over".to_owned()));
        }
        if able.free_places == 0 {
            let summary = "Every place of the runners that could take it is taken.".to_owned();
            return (summary, Some("it starts when one gets free, or when another runner is started".to_owned()));
        }
        ("There is room for it: it is about to be given to a runner.".to_owned(), None)
    }

    fn position(&self) -> QueuePosition {
        QueuePosition {
            position: self.place.before.unsigned_abs() + 1,
            running: self.place.running.unsigned_abs(),
            concurrency: self.place.concurrency.map(|most| u64::from(most.unsigned_abs())),
            runners: self.able.runners,
            free_places: self.able.free_places,
            times_out_at: self.place.times_out_at,
        }
    }
}

/// How long an attempt was in each state, as far as it got.
fn phases(attempt: &Attempt) -> String {
    let entered = [
        ("queued", Some(attempt.queued_at)),
        ("assigned", attempt.assigned_at),
        ("starting", attempt.starting_at),
        ("running", attempt.running_at),
        ("finishing", attempt.finishing_at),
        ("", attempt.finished_at),
    ];
    let known: Vec<(&str, OffsetDateTime)> =
        entered.into_iter().filter_map(|(state, at)| at.map(|at| (state, at))).collect();
    let mut parts: Vec<String> = known
        .windows(2)
        .map(|pair| format!("{} {:.1} s", pair[0].0, (pair[1].1 - pair[0].1).as_seconds_f64()))
        .collect();
    parts.extend(known.last().filter(|(state, _)| !state.is_empty()).map(|(state, _)| (*state).to_owned()));
    format!("attempt {}: {}", attempt.number, parts.join(", "))
}

fn ending(attempt: &Attempt) -> Option<String> {
    let cause = attempt.cause.filter(|_| attempt.state.is_terminal())?;
    let code = attempt.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    let message = attempt.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    Some(format!("attempt {} ended {} ({cause}{code}){message}", attempt.number, attempt.state))
}
