//! The worker begins: its instance takes the attempt, for good.

use axum::extract::State;
use ckrv_types::usage::UsageSource;
use ckrv_types::worker::{AttemptToken, Start, Started};
use ckrv_types::{Attempt, AttemptId, Cause, Job, OrgId, Problem, ProblemCode, State as JobState, limits};

use super::{no_such_attempt, other_instance, sealed};
use crate::auth::{BootstrapAuth, tokens};
use crate::crash_point;
use crate::db::attempts::Standing;
use crate::db::reach::Reach;
use crate::db::transition::{Moved, Transition};
use crate::db::{Tx, attempts, jobs, runners};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::Json;
use crate::http::problems::{Authenticated, Conflict, Gone, JsonBody, NotFound};
use crate::state::AppState;
use crate::text;
use crate::vault::give::{Given, give};

/// Said of an attempt that was cancelled before its worker began.
const NOT_BEGUN: &str = "It was cancelled before its worker began.";

/// Take the attempt, and hear what it is to do.
///
/// The first instance binds the attempt; the same one gets the same answer again, another is refused.
#[utoipa::path(post, path = "/v1/worker/start", tag = "worker", operation_id = "startAttempt",
    request_body = Start,
    responses((status = 200, body = Started), Authenticated, JsonBody, NotFound, Conflict, Gone))]
pub(super) async fn start(
    State(state): State<AppState>,
    auth: BootstrapAuth,
    Json(request): Json<Start>,
) -> ApiResult<axum::Json<Started>> {
    if !tokens::is_instance(&request.instance) {
        return Err(Problem::new(ProblemCode::Invalid).detail("instance: 32 hex digits are expected").into());
    }
    let attempt = auth.attempt;
    let mut tx = state.db.tenant(auth.org).await?;
    jobs::lock(&mut tx, attempt.job, &Reach::ALL).await?.ok_or_else(no_such_attempt)?;
    let standing = attempts::standing(&mut tx, attempt).await?.ok_or_else(no_such_attempt)?;
    let job = jobs::get(&mut tx, attempt.job, &Reach::ALL).await?.ok_or_else(no_such_attempt)?;
    // Those that have not begun. What a worker that is at work has must not change under it.
    let begins = matches!(standing.state, JobState::Assigned | JobState::Starting);
    let runner = job.attempts.iter().find(|known| known.number == attempt.number).and_then(|known| known.runner);
    if begins
        && let Some(runner) = runner
        && runners::is_revoked(&mut tx, runner).await?
    {
        return Err(revoked());
    }
    match &standing.instance {
        Some(instance) if *instance == request.instance => tx.commit().await?,
        Some(_) => return Err(other_instance()),
        None => bind(&state, tx, attempt, &standing, &request).await?,
    }
    let given = if begins { give(&state, auth.org, attempt, &job).await? } else { Given::default() };
    Ok(axum::Json(started(&state, auth.org, attempt, request.instance.as_str(), job, given, standing.next_seq)))
}

fn revoked() -> ApiError {
    Problem::new(ProblemCode::Conflict).detail("The attempt's runner is revoked, and begins nothing any more.").into()
}

async fn bind(
    state: &AppState,
    mut tx: Tx,
    attempt: AttemptId,
    standing: &Standing,
    request: &Start,
) -> Result<(), ApiError> {
    if standing.state.is_terminal() {
        return Err(sealed(standing.sealed_seq));
    }
    if standing.state == JobState::Queued {
        return Err(Problem::new(ProblemCode::Conflict).detail("The attempt is not assigned to anybody.").into());
    }
    if standing.cancel_requested {
        let end = Transition::end(attempt, Cause::CancelledByUser, Some(NOT_BEGUN));
        let moved = end.apply(&mut tx).await?;
        tx.commit().await?;
        announce(state, attempt, moved);
        return Err(sealed(moved.and_then(|moved| moved.sealed_seq)));
    }
    let node = request.node.as_deref().map(|node| text::clean(node, limits::LABEL_VALUE_CHARS));
    attempts::bind(&mut tx, attempt, &request.instance, node.as_deref()).await?;
    let moved = Transition::to(attempt, JobState::Starting).apply(&mut tx).await?;
    crash_point!("server.start.bound");
    tx.commit().await?;
    crash_point!("server.start.committed");
    announce(state, attempt, moved);
    Ok(())
}

fn announce(state: &AppState, attempt: AttemptId, moved: Option<Moved>) {
    if let Some(moved) = moved {
        moved.announce(attempt.job, &state.wake);
    }
}

fn started(
    state: &AppState,
    org: OrgId,
    attempt: AttemptId,
    instance: &str,
    job: Job,
    given: Given,
    next_seq: u64,
) -> Started {
    Started {
        attempt,
        attempt_token: AttemptToken(state.signer.attempt_token(org, attempt, instance)),
        spent_usd: spent_before(attempt.number, &job.attempts),
        spec: job.spec,
        next_seq,
        beat_seconds: state.config.beat_seconds,
        commit_author: state.config.commit_author.clone(),
        credentials: given.credentials,
        unreadable_credentials: given.unreadable,
    }
}

/// What attempts before this one have spent of the job's budget, in US dollars: by the count that the budget is kept by, so
/// not by what an agent says of itself. Of a worker that died it is known up to its last beat.
fn spent_before(number: u32, attempts: &[Attempt]) -> f64 {
    let before = attempts.iter().filter(|attempt| attempt.number < number);
    let counted =
        before.filter_map(|attempt| attempt.usage.as_ref()).filter(|usage| usage.source == UsageSource::Proxy);
    // `sum()` of nothing is -0.0.
    counted.filter_map(|usage| usage.cost_usd).fold(0.0, |sum, cost| sum + cost)
}
