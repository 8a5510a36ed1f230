//! The worker's last word: how the attempt went, and what came of it.
//!
//! 1. Is it over already? Then the first outcome stands and is told.
//! 2. What is said to be stored is looked up in the object store, with nothing locked.
//! 3. In one transaction: the manifest, what was used, where the work stands, and the end with the log's seal.
//!
//! Repeating it answers the same, whatever the repeat says.

use axum::extract::State;
use ckrv_types::artifact::Summary;
use ckrv_types::job::JobResult;
use ckrv_types::worker::{Finish, Finished};
use ckrv_types::{AttemptId, ProblemCode, State as JobState, limits};

use super::{no_such_attempt, other_instance};
use crate::artifacts::confirm;
use crate::auth::WorkerAuth;
use crate::crash_point;
use crate::db::attempts::{self, Standing};
use crate::db::reach::Reach;
use crate::db::transition::{Moved, Transition};
use crate::db::{Tx, artifacts, jobs};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::Json;
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::state::AppState;
use crate::text;

/// End the attempt.
#[utoipa::path(post, path = "/v1/worker/finish", tag = "worker", operation_id = "finishAttempt",
    request_body = Finish,
    responses((status = 200, body = Finished), Authenticated, JsonBody, NotFound, Conflict))]
pub(super) async fn finish(
    State(state): State<AppState>,
    auth: WorkerAuth,
    Json(request): Json<Finish>,
) -> ApiResult<axum::Json<Finished>> {
    if request.instance != auth.instance {
        return Err(other_instance());
    }
    let attempt = auth.attempt;
    let mut tx = state.db.tenant(auth.org).await?;
    if let Some(finished) = finished(&standing(&mut tx, attempt).await?) {
        return Ok(axum::Json(finished));
    }
    tx.commit().await?;
    let confirmed = confirm(&state, auth.org, attempt, &request.artifacts).await?;

    let mut tx = state.db.tenant(auth.org).await?;
    jobs::lock(&mut tx, attempt.job, &Reach::ALL).await?.ok_or_else(no_such_attempt)?;
    let standing = standing(&mut tx, attempt).await?;
    if let Some(finished) = finished(&standing) {
        return Ok(axum::Json(finished));
    }
    let moved = record(&mut tx, &auth, request, &confirmed, standing).await?;
    crash_point!("server.finish.before-commit");
    tx.commit().await?;
    crash_point!("server.finish.committed");
    moved.announce(attempt.job, &state.wake);
    Ok(axum::Json(Finished { state: moved.state, sealed_seq: moved.sealed_seq.unwrap_or_default() }))
}

async fn standing(tx: &mut Tx, attempt: AttemptId) -> ApiResult<Standing> {
    attempts::standing(tx, attempt).await?.ok_or_else(no_such_attempt)
}

/// The answer of an attempt that is over.
fn finished(standing: &Standing) -> Option<Finished> {
    let Standing { state, sealed_seq, .. } = standing;
    state.is_terminal().then(|| Finished { state: *state, sealed_seq: sealed_seq.unwrap_or_default() })
}

async fn record(
    tx: &mut Tx,
    auth: &WorkerAuth,
    request: Finish,
    confirmed: &[artifacts::Outcome],
    standing: Standing,
) -> ApiResult<Moved> {
    let attempt = auth.attempt;
    attempts::beat(tx, attempt, text::usage(request.usage).as_ref()).await?;
    artifacts::record(tx, auth.org, attempt, confirmed).await?;
    if let Some(summary) = request.summary {
        jobs::set_result(tx, attempt.job, &result(summary)).await?;
    }
    let outcome = request.outcome;
    let own = text::message(outcome.message.as_deref());
    // Whoever saw the same from outside knows more of it.
    let seen = standing.noted_message.filter(|_| standing.noted == outcome.cause);
    let message = seen.or(own);
    let end = match outcome.cause {
        Some(cause) => Transition::end_of_job(tx, attempt, cause, message.as_deref()).await?,
        None => Transition { message: message.as_deref(), ..Transition::to(attempt, JobState::Succeeded) },
    };
    let end = Transition { exit_code: outcome.exit_code, last_seq: Some(request.last_seq), ..end };
    end.apply(tx).await?.ok_or_else(|| ApiError::from(ProblemCode::NotFound))
}

fn result(summary: Summary) -> JobResult {
    let name = |text: String| text::clean(&text, limits::REF_CHARS);
    JobResult {
        branch: name(summary.branch),
        base_commit: name(summary.base_commit),
        head_commit: name(summary.head_commit),
        files_changed: summary.files_changed,
        insertions: summary.insertions,
        deletions: summary.deletions,
    }
}
