//! What a runner sees of its attempts from outside: what they wait for, where they run, that nothing of them runs any more.
//!
//! The worker's own word counts for more: an attempt that it has finished stays as it is.

use axum::extract::State;
use ckrv_types::runner::{Observation, Observations, ObservationsAnswer, Phase};
use ckrv_types::{Cause, Problem, ProblemCode, RunnerId, limits};

use super::other_instance;
use crate::auth::RunnerAuth;
use crate::crash_point;
use crate::db::reach::Reach;
use crate::db::transition::{Moved, Transition};
use crate::db::{Tx, assignments, attempts, events, jobs, runners};
use crate::error::ApiResult;
use crate::http::extract::Json;
use crate::http::problems::{Authenticated, Conflict, JsonBody};
use crate::state::AppState;
use crate::text;

/// Said of an attempt that ended without a word of its worker or a message of its runner.
const VANISHED: &str = "Nothing of the attempt runs any more, and its worker had not finished.";

/// Tell what the runner sees of its attempts.
#[utoipa::path(post, path = "/v1/runner/observations", tag = "runner", operation_id = "observe",
    request_body = Observations,
    responses((status = 200, body = ObservationsAnswer), Authenticated, JsonBody, Conflict))]
pub(super) async fn observations(
    State(state): State<AppState>,
    auth: RunnerAuth,
    Json(request): Json<Observations>,
) -> ApiResult<axum::Json<ObservationsAnswer>> {
    if request.items.len() > limits::RUNNER_ITEMS {
        return Err(Problem::new(ProblemCode::TooLarge)
            .detail(format!("At most {} observations at once.", limits::RUNNER_ITEMS))
            .into());
    }
    let instance = text::clean(&request.instance, limits::LABEL_VALUE_CHARS);
    let mut tx = state.db.system().await?;
    if !runners::is_bound(&mut tx, auth.runner, &instance).await? {
        return Err(other_instance());
    }
    tx.commit().await?;
    let mut applied = Vec::with_capacity(request.items.len());
    for item in &request.items {
        applied.push(apply(&state, auth.runner, item).await?);
    }
    Ok(axum::Json(ObservationsAnswer { applied }))
}

/// One observation in one transaction; whether it changed something.
async fn apply(state: &AppState, runner: RunnerId, seen: &Observation) -> ApiResult<bool> {
    let job = seen.attempt.job;
    let mut tx = state.db.system().await?;
    if jobs::lock(&mut tx, job, &Reach::ALL).await?.is_none()
        || !assignments::is_held(&mut tx, runner, seen.attempt).await?
    {
        return Ok(false);
    }
    let explained = explain(&mut tx, seen).await?;
    let news = note(&mut tx, seen).await? || explained;
    let moved = match seen.phase {
        Phase::Ended => end(&mut tx, seen).await?,
        Phase::Waiting | Phase::Launched => None,
    };
    tx.commit().await?;
    crash_point!("server.observation.committed");
    if explained {
        state.wake.notify_worker(job);
    }
    if news {
        state.wake.notify_job(job);
    }
    if let Some(moved) = moved {
        moved.announce(job, &state.wake);
    }
    Ok(news || moved.is_some_and(|moved| moved.applied))
}

/// Whether the worker is to hear of a cause.
async fn explain(tx: &mut Tx, seen: &Observation) -> ApiResult<bool> {
    if seen.phase == Phase::Ended {
        return Ok(false);
    }
    let message = text::message(seen.message.as_deref());
    Ok(attempts::note_cause(tx, seen.attempt, seen.cause, message.as_deref()).await?)
}

async fn note(tx: &mut Tx, seen: &Observation) -> ApiResult<bool> {
    let node = seen.node.as_deref().map(|node| text::clean(node, limits::LABEL_VALUE_CHARS));
    let placed = match node {
        Some(node) => attempts::place(tx, seen.attempt, &node).await?,
        None => false,
    };
    let noted = match text::message(seen.message.as_deref()) {
        // The end's own event carries the message.
        Some(message) if seen.phase != Phase::Ended => events::note(tx, seen.attempt, &message).await?,
        _ => false,
    };
    Ok(placed || noted)
}

async fn end(tx: &mut Tx, seen: &Observation) -> ApiResult<Option<Moved>> {
    let cause = seen.cause.unwrap_or(Cause::WorkerLost);
    let message = text::message(seen.message.as_deref());
    let message = message.as_deref().or((seen.cause.is_none()).then_some(VANISHED));
    let end = Transition::end_of_job(tx, seen.attempt, cause, message).await?;
    Ok(Transition { exit_code: seen.exit_code, ..end }.apply(tx).await?)
}
