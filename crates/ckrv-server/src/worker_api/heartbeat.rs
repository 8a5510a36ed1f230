//! The worker lives, and is at some phase; it hears whether somebody wants it to stop.

use axum::extract::State;
use ckrv_types::worker::{WorkerHeartbeat, WorkerHeartbeatAnswer};

use super::{no_such_attempt, other_instance, sealed};
use crate::auth::WorkerAuth;
use crate::db::attempts;
use crate::db::transition::Transition;
use crate::error::ApiResult;
use crate::http::extract::Json;
use crate::http::problems::{Authenticated, Conflict, Gone, JsonBody, NotFound};
use crate::state::AppState;
use crate::text;

/// Tell that the worker lives and what it is at.
#[utoipa::path(post, path = "/v1/worker/heartbeat", tag = "worker", operation_id = "workerHeartbeat",
    security(("worker" = [])), request_body = WorkerHeartbeat,
    responses((status = 200, body = WorkerHeartbeatAnswer), Authenticated, JsonBody, NotFound, Conflict, Gone))]
pub(super) async fn heartbeat(
    State(state): State<AppState>,
    auth: WorkerAuth,
    Json(request): Json<WorkerHeartbeat>,
) -> ApiResult<axum::Json<WorkerHeartbeatAnswer>> {
    if request.instance != auth.instance {
        return Err(other_instance());
    }
    let attempt = auth.attempt;
    let mut tx = state.db.tenant(auth.org).await?;
    let standing = attempts::standing(&mut tx, attempt).await?.ok_or_else(no_such_attempt)?;
    if standing.state.is_terminal() {
        return Err(sealed(standing.sealed_seq));
    }
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
    Ok(axum::Json(WorkerHeartbeatAnswer { cancel: standing.cancel_requested }))
}
