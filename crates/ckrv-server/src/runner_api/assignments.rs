//! What a runner should be running: always the whole list, as soon as it changes.

use std::time::Duration;

use axum::extract::State;
use ckrv_types::runner::{Assignment, Assignments, BootstrapToken};
use ckrv_types::{RunnerId, limits};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use crate::auth::RunnerAuth;
use crate::auth::tokens::Signer;
use crate::db::assignments::{self, Assigned};
use crate::db::runners;
use crate::error::ApiResult;
use crate::http::extract::Query;
use crate::http::problems::{Authenticated, BadRequest};
use crate::state::AppState;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Seconds to wait for a change at most; more than 30 are taken for 30.
    #[serde(default)]
    wait: u64,
    /// The version of the list that the runner has.
    after: Option<i64>,
}

/// List what the runner should be running.
///
/// At once if the list is another one than `after`, otherwise as soon as it changes or `wait` is over.
#[utoipa::path(get, path = "/v1/runner/assignments", tag = "runner", operation_id = "listAssignments",
    params(Wait),
    responses((status = 200, body = Assignments), Authenticated, BadRequest))]
pub(super) async fn assignments(
    State(state): State<AppState>,
    auth: RunnerAuth,
    Query(Wait { wait, after }): Query<Wait>,
) -> ApiResult<axum::Json<Assignments>> {
    let until = Instant::now() + Duration::from_secs(wait.min(limits::ASSIGNMENTS_WAIT_SECONDS));
    let mut waiter = state.wake.runner(auth.runner);
    while after.is_some() && after == Some(version(&state, auth.runner).await?) {
        tokio::select! {
            () = waiter.wait() => {}
            () = tokio::time::sleep_until(until) => break,
            () = state.shutdown.cancelled() => break,
        }
    }
    Ok(axum::Json(list(&state, auth.runner).await?))
}

/// Each look is also one at the runner's right: it may be taken away during the wait, and a token is believed for a while.
async fn version(state: &AppState, runner: RunnerId) -> ApiResult<i64> {
    let mut tx = state.db.system().await?;
    assignments::version(&mut tx, runner).await?.ok_or_else(RunnerAuth::refused)
}

async fn list(state: &AppState, runner: RunnerId) -> ApiResult<Assignments> {
    let mut tx = state.db.system().await?;
    // In this order the list may be newer than its version, which costs one more look, and never older.
    let version = assignments::version(&mut tx, runner).await?.ok_or_else(RunnerAuth::refused)?;
    let items = assignments::of_runner(&mut tx, runner).await?;
    let namespaces = runners::namespaces(&mut tx, runner).await?;
    tx.commit().await?;
    let items = items.into_iter().map(|item| assignment(&state.signer, item)).collect();
    Ok(Assignments { version, items, namespaces })
}

fn assignment(signer: &Signer, item: Assigned) -> Assignment {
    Assignment {
        bootstrap_token: BootstrapToken(signer.bootstrap_token(item.org, item.attempt)),
        attempt: item.attempt,
        org: item.org,
        agent: item.agent,
        image: item.image,
        class: item.class,
        limits: item.limits,
        started: item.started,
        assigned_at: item.assigned_at,
        origin: item.origin,
    }
}
