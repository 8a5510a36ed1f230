//! Jobs that somebody made as objects in a runner's cluster: handed in once each, and where they stand.
//!
//! An organization's runner alone hands in jobs, into the projects that the organization has allowed for each namespace.
//! A platform runner has no organization whose project they could go into: who may make objects in its cluster is not for
//! any one of the organizations that it serves to say.

use axum::extract::State;
use axum::http::HeaderMap;
use ckrv_types::runner::{HandIn, JobStanding, JobStandings, Origin};
use ckrv_types::{JobId, OrgId, Problem, ProblemCode, limits, spec};
use serde::Deserialize;
use utoipa::IntoParams;

use super::other_instance;
use crate::api::invalid;
use crate::api::jobs::{check, place};
use crate::auth::RunnerAuth;
use crate::crash_point;
use crate::db::audit::Actor;
use crate::db::handed_in::{self, HandedIn};
use crate::db::jobs::{self, NewJob};
use crate::db::{Tx, runners};
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Body, Query, parse_json};
use crate::http::problems::{Authenticated, BadRequest, Conflict, JsonBody};
use crate::quota;
use crate::state::AppState;
use crate::text;

/// Hand in a job that was made as an object in the runner's cluster.
///
/// One object makes one job, however often it is handed in. It goes into the project that the runner's registration allows
/// for the object's namespace, and is given to no other runner.
#[utoipa::path(post, path = "/v1/runner/jobs", tag = "runner", operation_id = "handInJob",
    request_body = HandIn,
    responses((status = 200, body = JobStanding), Authenticated, JsonBody, Conflict))]
pub(super) async fn hand_in(
    State(state): State<AppState>,
    auth: RunnerAuth,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<axum::Json<JobStanding>> {
    let HandIn { instance, origin, mut spec } = parse_json(&headers, &body)?;
    check_origin(&origin)?;
    let org = auth.org.ok_or_else(|| not_allowed(&auth, &origin.namespace))?;
    let mut tx = state.db.tenant(org).await?;
    let instance = text::clean(&instance, limits::LABEL_VALUE_CHARS);
    if !runners::is_bound(&mut tx, auth.runner, &instance).await? {
        return Err(other_instance());
    }
    if let Some(standing) = handed_in::of_origin(&mut tx, org, &instance, &origin.uid).await? {
        return Ok(axum::Json(standing));
    }
    let allowed = runners::project_of(&mut tx, auth.runner, &origin.namespace).await?;
    let project = allowed.ok_or_else(|| not_allowed(&auth, &origin.namespace))?;
    let repo = check(&state, &spec)?;
    let placed = place(&state, &mut tx, Some(project), &mut spec, &repo).await?;
    let handed_in = HandedIn { runner: auth.runner, instance: &instance, origin: &origin };
    let new = NewJob {
        id: JobId::new(),
        org,
        project: placed.project,
        key: None,
        user: None,
        service_account: None,
        spec: &spec,
        repo: &repo,
        retry_of: None,
        handed_in: Some(handed_in),
        created_at: placed.now,
        limited: placed.limited,
    };
    if new.limited {
        tx = quota::count_job(&state, tx, org, Actor::Runner(auth.runner)).await?;
    }
    let standing = match submit(tx, &new).await {
        // The same at the same time: one of both was first.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            first(&state, org, &instance, &origin).await?
        }
        made => made?,
    };
    crash_point!("server.hand-in.committed");
    state.wake.notify_admission();
    Ok(axum::Json(standing))
}

async fn submit(mut tx: Tx, new: &NewJob<'_>) -> Result<JobStanding, sqlx::Error> {
    jobs::submit(&mut tx, new, None).await?;
    tx.commit().await?;
    let job = new.job();
    Ok(JobStanding {
        job: job.id,
        state: job.state,
        cause: None,
        message: None,
        attempt: job.attempt,
        exit_code: None,
        result: None,
        finished_at: None,
    })
}

async fn first(state: &AppState, org: OrgId, instance: &str, origin: &Origin) -> ApiResult<JobStanding> {
    let mut tx = state.db.tenant(org).await?;
    let found = handed_in::of_origin(&mut tx, org, instance, &origin.uid).await?;
    found.ok_or(ApiError::Internal("a job of the same object was there and is not"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Jobs by their ids, separated by commas; 100 at most.
    #[param(min_length = 1, max_length = 3099)]
    ids: String,
}

/// Where jobs stand that this runner has handed in.
#[utoipa::path(get, path = "/v1/runner/jobs", tag = "runner", operation_id = "getStandings",
    params(Wanted),
    responses((status = 200, body = JobStandings), Authenticated, BadRequest))]
pub(super) async fn standings(
    State(state): State<AppState>,
    auth: RunnerAuth,
    Query(Wanted { ids }): Query<Wanted>,
) -> ApiResult<axum::Json<JobStandings>> {
    let unread = |detail: String| ApiError::from(Problem::new(ProblemCode::BadRequest).detail(detail));
    let ids: Result<Vec<JobId>, _> = ids.split(',').map(str::parse).collect();
    let ids = ids.map_err(|error| unread(format!("ids: {error}.")))?;
    if ids.len() > limits::STANDINGS {
        return Err(unread(format!("ids: at most {} at once.", limits::STANDINGS)));
    }
    let Some(org) = auth.org else { return Ok(axum::Json(JobStandings { items: Vec::new() })) };
    let mut tx = state.db.tenant(org).await?;
    Ok(axum::Json(JobStandings { items: handed_in::standings(&mut tx, auth.runner, &ids).await? }))
}

fn check_origin(origin: &Origin) -> ApiResult<()> {
    if !spec::is_name(&origin.namespace) {
        return Err(invalid("origin.namespace", "a namespace's name is expected"));
    }
    if !text::is_label(&origin.name) || origin.name.len() > limits::OBJECT_NAME_CHARS {
        return Err(invalid("origin.name", "an object's name is expected"));
    }
    let is_uid = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if origin.uid.is_empty() || origin.uid.len() > limits::UID_CHARS || !is_uid(&origin.uid) {
        return Err(invalid("origin.uid", "an object's UID is expected"));
    }
    Ok(())
}

fn not_allowed(auth: &RunnerAuth, namespace: &str) -> ApiError {
    let problem = Problem::new(ProblemCode::Forbidden);
    if auth.org.is_none() {
        return problem
            .detail("A runner of the platform hands in no jobs.")
            .hint("Register a runner of the organization for this cluster: ckrv runner create NAME --allow NAMESPACE=PROJECT")
            .into();
    }
    problem
        .detail(format!("No project is allowed for jobs of the namespace `{namespace}`."))
        .hint(format!(
            "An owner of the organization may allow one: ckrv runner allow {} {namespace}=PROJECT",
            auth.runner
        ))
        .into()
}
