//! The worker lives, and is at some phase; it hears whether somebody wants it to stop, and what its runner has noted.
//!
//! The beat is recorded as it arrives. Its answer may be held back, so that either is heard at once and a worker at rest asks
//! no more often than it beats: nothing is looked up meanwhile but after a wake-up.

use std::time::Duration;

use axum::extract::State;
use ckrv_types::limits;
use ckrv_types::worker::{WorkerHeartbeat, WorkerHeartbeatAnswer};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{no_such_attempt, other_instance, sealed};
use crate::auth::WorkerAuth;
use crate::db::Tx;
use crate::db::attempts::{self, Standing};
use crate::db::transition::Transition;
use crate::error::ApiResult;
use crate::http::extract::{Json, Query};
use crate::http::problems::{Authenticated, Conflict, Gone, JsonBody, NotFound};
use crate::state::AppState;
use crate::text;
use crate::wake::Waiter;

/// Unknown parameters are ignored: a newer worker must not be refused its beat.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Seconds to wait for something to tell at most; more than 30 are taken for 30.
    #[serde(default)]
    wait: u64,
}

/// Tell that the worker lives and what it is at.
///
/// Answers at once if somebody has asked to cancel or the runner has noted a cause, otherwise as soon as that happens or
/// `wait` is over.
#[utoipa::path(post, path = "/v1/worker/heartbeat", tag = "worker", operation_id = "workerHeartbeat",
    params(Wait), request_body = WorkerHeartbeat,
    responses((status = 200, body = WorkerHeartbeatAnswer), Authenticated, JsonBody, NotFound, Conflict, Gone))]
pub(super) async fn heartbeat(
    State(state): State<AppState>,
    auth: WorkerAuth,
    Query(Wait { wait }): Query<Wait>,
    Json(request): Json<WorkerHeartbeat>,
) -> ApiResult<axum::Json<WorkerHeartbeatAnswer>> {
    if request.instance != auth.instance {
        return Err(other_instance());
    }
    let attempt = auth.attempt;
    let hints = state.wake.worker(attempt.job);
    let mut tx = state.db.tenant(auth.org).await?;
    let standing = living(&mut tx, &auth).await?;
    // The change of state locks the job's row, so it goes before anything that locks the attempt's. A late beat of an
    // earlier phase changes nothing.
    let phase = request.phase.state();
    let moved =
        if phase.rank() > standing.state.rank() { Transition::to(attempt, phase).apply(&mut tx).await? } else { None };
    attempts::beat(&mut tx, attempt, text::usage(request.usage).as_ref()).await?;
    tx.commit().await?;
    if let Some(moved) = moved {
        moved.announce(attempt.job, &state.wake);
        if moved.state.is_terminal() {
            return Err(sealed(moved.sealed_seq));
        }
    }
    let wait = Duration::from_secs(wait.min(limits::HEARTBEAT_WAIT_SECONDS));
    let answer = answer(standing);
    let is_news = answer.cancel || answer.noted.is_some();
    let answer = if is_news || wait.is_zero() { answer } else { heard_within(&state, &auth, hints, wait).await? };
    Ok(axum::Json(answer))
}

fn answer(standing: Standing) -> WorkerHeartbeatAnswer {
    let Standing { cancel_requested, noted, noted_message, .. } = standing;
    WorkerHeartbeatAnswer { cancel: cancel_requested, noted, noted_message }
}

/// Where the attempt stands, unless it is over.
async fn living(tx: &mut Tx, auth: &WorkerAuth) -> ApiResult<Standing> {
    let standing = attempts::standing(tx, auth.attempt).await?.ok_or_else(no_such_attempt)?;
    if standing.state.is_terminal() { Err(sealed(standing.sealed_seq)) } else { Ok(standing) }
}

/// What there is to tell before `wait` is over. Who misses the hint hears of it with the next beat.
async fn heard_within(
    state: &AppState,
    auth: &WorkerAuth,
    mut hints: Waiter,
    wait: Duration,
) -> ApiResult<WorkerHeartbeatAnswer> {
    let over = tokio::time::sleep(wait);
    tokio::pin!(over);
    loop {
        let is_over = tokio::select! {
            biased;
            () = &mut over => true,
            () = state.shutdown.cancelled() => true,
            () = hints.wait_for_hint() => false,
        };
        if is_over {
            return Ok(WorkerHeartbeatAnswer { cancel: false, noted: None, noted_message: None });
        }
        let mut tx = state.db.tenant(auth.org).await?;
        let answer = answer(living(&mut tx, auth).await?);
        tx.commit().await?;
        if answer.cancel || answer.noted.is_some() {
            return Ok(answer);
        }
    }
}
