//! Jobs: submit, look, cancel, repeat.

use axum::extract::State;
use axum::http::HeaderMap;
use ckrv_types::job::{CancelOutcome, Cancelled, SubmitJob};
use ckrv_types::problem::FieldError;
use ckrv_types::{AttemptId, Cause, Job, JobId, JobSpec, Problem, ProblemCode, ProjectId, RepoUrl};
use time::OffsetDateTime;
use utoipa_axum::router::OpenApiRouter;

use super::once::{self, IdempotencyKey, Once};
use super::{Created, invalid, invalid_fields, no_such, to_value};
use crate::auth::{Auth, Caller, Read, Run};
use crate::crash_point;
use crate::db::jobs::NewJob;
use crate::db::projects::{self, ForJob};
use crate::db::transition::Transition;
use crate::db::{Tx, jobs};
use crate::error::ApiResult;
use crate::http::extract::{Body, Path, parse_json};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, BadRequest, Conflict, Invalid, JsonBody, NotFound};
use crate::quota;
use crate::state::AppState;

const COLLECTION: &str = "/v1/jobs";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(submit)).routes(routes!(get)).routes(routes!(cancel)).routes(routes!(retry))
}

/// Hand in a job.
///
/// With an `Idempotency-Key` the same request may be sent again for 24 hours and makes one job.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", operation_id = "submitJob",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = SubmitJob,
    responses((status = 201, body = Job, headers(("Location" = String, description = "The job's address."))),
        Authenticated, JsonBody, Conflict))]
async fn submit(
    State(state): State<AppState>,
    auth: Caller<Run>,
    key: IdempotencyKey,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    let SubmitJob { mut spec, project } = parse_json(&headers, &body)?;
    let repo = check(&state, &spec)?;
    let once = Once::new(&auth, "POST /v1/jobs", &key, &[&body]);
    let mut tx = state.db.tenant(auth.org).await?;
    if let Some(answer) = once.answered(&mut tx).await? {
        return Ok(Created::below(COLLECTION, answer));
    }
    let project = allowed_project(&auth, project)?;
    let placed = place(&state, &mut tx, project, &mut spec, &repo).await?;
    accept(&state, &auth, tx, &once, &new_job(&auth, &placed, &spec, &repo, None)).await
}

/// A job with all its attempts.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "getJob",
    params(("id" = JobId, Path)),
    responses((status = 200, body = Job), Authenticated, NotFound))]
async fn get(State(state): State<AppState>, auth: Caller<Read>, Path(id): Path<JobId>) -> ApiResult<axum::Json<Job>> {
    let mut tx = state.db.tenant(auth.org).await?;
    Ok(axum::Json(existing(&mut tx, &auth, id).await?))
}

/// Ask to stop a job.
///
/// A queued job is cancelled at once; a running one as soon as its agent is stopped. Asking twice, or when the job is over,
/// is not an error.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs", operation_id = "cancelJob",
    params(("id" = JobId, Path)),
    responses((status = 200, body = Cancelled), Authenticated, NotFound))]
async fn cancel(
    State(state): State<AppState>,
    auth: Caller<Run>,
    Path(id): Path<JobId>,
) -> ApiResult<axum::Json<Cancelled>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let head = jobs::lock(&mut tx, id, &auth.reach).await?.ok_or_else(|| no_such("job", id))?;
    if head.state.is_terminal() {
        let job = existing(&mut tx, &auth, id).await?;
        return Ok(axum::Json(Cancelled { outcome: CancelOutcome::AlreadyFinished, job }));
    }
    jobs::request_cancel(&mut tx, id).await?;
    let attempt = AttemptId { job: id, number: head.attempt };
    let ended = match head.state {
        ckrv_types::State::Queued => Transition::end(attempt, Cause::CancelledByUser, None).apply(&mut tx).await?,
        _ => None,
    };
    let job = existing(&mut tx, &auth, id).await?;
    tx.commit().await?;
    crash_point!("server.cancel.committed");
    state.wake.notify_job(id);
    state.wake.notify_worker(id);
    if let Some(moved) = ended {
        moved.announce(id, &state.wake);
    }
    let outcome = if job.state.is_terminal() { CancelOutcome::Cancelled } else { CancelOutcome::Requested };
    Ok(axum::Json(Cancelled { outcome, job }))
}

/// Run a finished job's specification again, as a new job.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs", operation_id = "retryJob",
    params(("id" = JobId, Path),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    responses((status = 201, body = Job, headers(("Location" = String, description = "The new job's address."))),
        Authenticated, BadRequest, NotFound, Conflict, Invalid))]
async fn retry(
    State(state): State<AppState>,
    auth: Caller<Run>,
    key: IdempotencyKey,
    Path(id): Path<JobId>,
) -> ApiResult<Created> {
    let name = id.to_string();
    let once = Once::new(&auth, "POST /v1/jobs/{id}/retry", &key, &[name.as_bytes()]);
    let mut tx = state.db.tenant(auth.org).await?;
    if let Some(answer) = once.answered(&mut tx).await? {
        return Ok(Created::below(COLLECTION, answer));
    }
    let old = existing(&mut tx, &auth, id).await?;
    if !old.state.is_terminal() {
        return Err(Problem::new(ProblemCode::Conflict)
            .detail(format!("The job is {}: only a job that is over can be retried.", old.state))
            .hint(format!("Wait for it, or cancel it first: ckrv cancel {id}"))
            .into());
    }
    let mut spec = old.spec;
    let repo = check(&state, &spec)?;
    let placed = place(&state, &mut tx, Some(old.project), &mut spec, &repo).await?;
    accept(&state, &auth, tx, &once, &new_job(&auth, &placed, &spec, &repo, Some(id))).await
}

fn new_job<'a>(auth: &Auth, placed: &Placed, spec: &'a JobSpec, repo: &'a str, retry_of: Option<JobId>) -> NewJob<'a> {
    NewJob {
        id: JobId::new(),
        org: auth.org,
        project: placed.project,
        key: auth.principal.key(),
        user: auth.principal.user(),
        service_account: auth.principal.service_account(),
        spec,
        repo,
        retry_of,
        handed_in: None,
        created_at: placed.now,
        limited: placed.limited,
    }
}

/// The last steps of both ways to a new job.
async fn accept(state: &AppState, auth: &Auth, mut tx: Tx, once: &Once<'_>, new: &NewJob<'_>) -> ApiResult<Created> {
    if new.limited {
        tx = quota::count_job(state, tx, new.org, auth.principal.actor()).await?;
    }
    let body = to_value(&new.job());
    once::first(jobs::submit(&mut tx, new, once.kept(&body).as_ref()).await)?;
    tx.commit().await?;
    crash_point!("server.submit.committed");
    state.wake.notify_admission();
    Ok(Created::below(COLLECTION, body))
}

pub(super) async fn existing(tx: &mut Tx, auth: &Auth, id: JobId) -> ApiResult<Job> {
    jobs::get(tx, id, &auth.reach).await?.ok_or_else(|| no_such("job", id))
}

/// The specification's rules; answers the repository's URL as it was understood.
pub fn check(state: &AppState, spec: &JobSpec) -> ApiResult<String> {
    let policy = state.config.repo_policy();
    let errors = spec.check(&policy);
    keeps_rules(errors)?;
    let url = RepoUrl::parse(&spec.repo, &policy).map_err(|error| invalid("spec.repo", error.to_string()))?;
    Ok(url.to_string())
}

/// Where a new job goes.
pub struct Placed {
    pub project: ProjectId,
    /// Whether the organization has a limit that jobs are counted for.
    pub limited: bool,
    /// The transaction's time.
    pub now: OffsetDateTime,
}

/// Finds the project that a new job goes into, and has its settings hold for the job: they fill in what the specification leaves
/// open; and then the classes that the organization's jobs may have. `wanted`: absent: where jobs go that name none.
pub async fn place(
    state: &AppState,
    tx: &mut Tx,
    wanted: Option<ProjectId>,
    spec: &mut JobSpec,
    repo: &str,
) -> ApiResult<Placed> {
    let found = projects::for_job(tx, wanted).await?;
    let ForJob { id, name, settings, archived, classes, limited, now } =
        found.ok_or_else(|| invalid("project", "there is no such project"))?;
    if archived {
        return Err(Problem::new(ProblemCode::Conflict)
            .detail(format!("The project `{name}` is archived: it takes no more jobs."))
            .hint("Name another project, or have an admin restore this one.")
            .into());
    }
    let classless = spec.class.is_none();
    keeps_rules(settings.apply(spec, repo, &state.config.repo_policy()))?;
    quota::allows_class(spec.class.as_deref(), classes.as_deref(), classless.then_some(name.as_str()))?;
    Ok(Placed { project: id, limited, now })
}

/// 422 for rules of the specification that are broken.
fn keeps_rules(broken: Vec<FieldError>) -> ApiResult<()> {
    if broken.is_empty() {
        return Ok(());
    }
    let in_spec = |error: FieldError| FieldError { field: format!("spec.{}", error.field), ..error };
    Err(invalid_fields(broken.into_iter().map(in_spec).collect()))
}

/// The project for a new job: a key that is limited to some sees no other.
fn allowed_project(auth: &Auth, wanted: Option<ProjectId>) -> ApiResult<Option<ProjectId>> {
    match (wanted, auth.reach.projects()) {
        (Some(wanted), _) if !auth.reach.covers(wanted) => Err(invalid("project", "there is no such project")),
        (Some(wanted), _) => Ok(Some(wanted)),
        (None, []) => Ok(None),
        (None, [own]) => Ok(Some(*own)),
        (None, _) => Err(invalid("project", "the credential is good for several projects: name one of them")),
    }
}
