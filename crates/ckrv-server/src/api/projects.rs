//! Projects: what holds for the jobs in them.

use axum::extract::State;
use axum::http::HeaderMap;
use ckrv_types::identity::{CreateProject, Project, ProjectSettings, UpdateProject};
use ckrv_types::quota::Measure;
use ckrv_types::{Page, Problem, ProblemCode, ProjectId};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;

use super::authority::{granter, note};
use super::once::{IdempotencyKey, Once};
use super::{Created, check_name, invalid_fields, no_such, to_value};
use crate::auth::{Caller, Manage, Read};
use crate::db::projects;
use crate::error::{ApiError, ApiResult};
use crate::http::extract::{Body, Json, Path, parse_json};
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, Conflict, JsonBody, NotFound};
use crate::http::rate::address::ClientAddress;
use crate::quota::room_for;
use crate::state::AppState;

const COLLECTION: &str = "/v1/projects";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update))
}

/// List the projects that the credential is good for, the oldest first.
#[utoipa::path(get, path = "/v1/projects", tag = "teams", operation_id = "listProjects",
    responses((status = 200, body = Page<Project>), Authenticated))]
async fn list(State(state): State<AppState>, auth: Caller<Read>) -> ApiResult<axum::Json<Page<Project>>> {
    let mut tx = state.db.tenant(auth.org).await?;
    Ok(axum::Json(Page { items: projects::list(&mut tx, &auth.reach).await?, next: None }))
}

/// A project with its settings.
#[utoipa::path(get, path = "/v1/projects/{id}", tag = "teams", operation_id = "getProject",
    params(("id" = ProjectId, Path)),
    responses((status = 200, body = Project), Authenticated, NotFound))]
async fn get(
    State(state): State<AppState>,
    auth: Caller<Read>,
    Path(id): Path<ProjectId>,
) -> ApiResult<axum::Json<Project>> {
    let mut tx = state.db.tenant(auth.org).await?;
    let found = projects::get(&mut tx, id, &auth.reach).await?;
    Ok(axum::Json(found.ok_or_else(|| no_such("project", id))?))
}

/// Make a project.
#[utoipa::path(post, path = "/v1/projects", tag = "teams", operation_id = "createProject",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "1 to 255 visible ASCII characters.")),
    request_body = CreateProject,
    responses((status = 201, body = Project, headers(("Location" = String, description = "The project's address."))),
        Authenticated, JsonBody, Conflict))]
async fn create(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    key: IdempotencyKey,
    address: ClientAddress,
    headers: HeaderMap,
    Body(body): Body,
) -> ApiResult<Created> {
    auth.whole_organization()?;
    let CreateProject { name, settings } = parse_json(&headers, &body)?;
    check_name(&name)?;
    check_settings(&state, &settings)?;
    let once = Once::new(&auth, "POST /v1/projects", &key, &[&body]);
    let mut tx = state.db.tenant(auth.org).await?;
    if let Some(answer) = once.answered(&mut tx).await? {
        return Ok(Created::below(COLLECTION, answer));
    }
    granter(&mut tx, &auth).await?;
    room_for(&mut tx, auth.org, Measure::Projects).await?;
    let id = ProjectId::new();
    match projects::create(&mut tx, auth.org, id, &name, &settings).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Err(taken(&name)),
        made => made?,
    }
    let made = projects::get(&mut tx, id, &auth.reach).await?;
    let made = made.ok_or(ApiError::Internal("a project was made and is not there"))?;
    note(&mut tx, &auth, address, "project.created", id, json!({ "name": name, "settings": settings })).await?;
    let body = to_value(&made);
    once.keep(&mut tx, &body).await?;
    tx.commit().await?;
    Ok(Created::below(COLLECTION, body))
}

/// Change a project: its name, its settings as a whole, or whether it is archived.
///
/// Settings hold for jobs that are submitted from now on. The default project cannot be archived.
#[utoipa::path(patch, path = "/v1/projects/{id}", tag = "teams", operation_id = "updateProject",
    params(("id" = ProjectId, Path)), request_body = UpdateProject,
    responses((status = 200, body = Project), Authenticated, JsonBody, NotFound, Conflict))]
async fn update(
    State(state): State<AppState>,
    auth: Caller<Manage>,
    Path(id): Path<ProjectId>,
    address: ClientAddress,
    Json(wanted): Json<UpdateProject>,
) -> ApiResult<axum::Json<Project>> {
    auth.whole_organization()?;
    wanted.name.as_deref().map_or(Ok(()), check_name)?;
    wanted.settings.as_ref().map_or(Ok(()), |settings| check_settings(&state, settings))?;
    let mut tx = state.db.tenant(auth.org).await?;
    granter(&mut tx, &auth).await?;
    let known = projects::lock(&mut tx, id).await?.ok_or_else(|| no_such("project", id))?;
    let was_archived = known.archived_at.is_some();
    let archived = wanted.archived.unwrap_or(was_archived);
    if archived && known.is_default {
        return Err(Problem::new(ProblemCode::Conflict)
            .detail("This is where jobs go that name no project: it cannot be archived.")
            .into());
    }
    if was_archived && !archived {
        room_for(&mut tx, auth.org, Measure::Projects).await?;
    }
    let changed = Project {
        name: wanted.name.unwrap_or_else(|| known.name.clone()),
        settings: wanted.settings.unwrap_or_else(|| known.settings.clone()),
        ..known.clone()
    };
    match projects::update(&mut tx, &changed, archived).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Err(taken(&changed.name)),
        done => done?,
    }
    if changed != known {
        let detail = json!({ "name": changed.name, "settings": changed.settings });
        note(&mut tx, &auth, address, "project.changed", id, detail).await?;
    }
    if archived != was_archived {
        let action = if archived { "project.archived" } else { "project.restored" };
        note(&mut tx, &auth, address, action, id, json!({})).await?;
    }
    let now = projects::get(&mut tx, id, &auth.reach).await?.ok_or_else(|| no_such("project", id))?;
    tx.commit().await?;
    Ok(axum::Json(now))
}

fn check_settings(state: &AppState, settings: &ProjectSettings) -> ApiResult<()> {
    let errors = settings.check(&state.config.repo_policy());
    if errors.is_empty() { Ok(()) } else { Err(invalid_fields(errors)) }
}

fn taken(name: &str) -> ApiError {
    Problem::new(ProblemCode::Conflict)
        .detail(format!("The organization has a project named `{name}` already."))
        .hint("Choose another name.")
        .into()
}
