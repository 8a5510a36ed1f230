//! Lists of jobs, newest first, in pages.

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use ckrv_types::{Job, JobId, Page, ProjectId, RepoUrl, limits};
use url::form_urlencoded;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use super::{cursor, wrong_parameter};
use crate::auth::{Caller, Read};
use crate::db::jobs::{self, Filter};
use crate::db::reach::Reach;
use crate::error::ApiResult;
use crate::http::needs::routes;
use crate::http::problems::{Authenticated, BadRequest};
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "names the parameters for the OpenAPI document; a parameter that repeats is read by hand")]
struct ListQuery {
    /// From the page before: its `next`.
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Jobs in any of these states; may be repeated.
    #[param(style = Form, explode, required = false)]
    state: Vec<ckrv_types::State>,
    /// `key=value`; jobs that have all of these; may be repeated.
    #[param(style = Form, explode, required = false)]
    label: Vec<String>,
    /// Jobs of this repository.
    repo: Option<String>,
    /// Jobs of this project.
    project: Option<ProjectId>,
}

/// List jobs, newest first, without their attempts.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", operation_id = "listJobs", params(ListQuery),
    responses((status = 200, body = Page<Job>), Authenticated, BadRequest))]
async fn list(
    State(state): State<AppState>,
    auth: Caller<Read>,
    RawQuery(query): RawQuery,
) -> ApiResult<axum::Json<Page<Job>>> {
    let Request { mut filter, project, limit } = Request::parse(query.as_deref().unwrap_or_default(), &state)?;
    match project {
        Some(wanted) if !auth.reach.covers(wanted) => {
            return Ok(axum::Json(Page { items: Vec::new(), next: None }));
        }
        Some(wanted) => filter.projects = Reach::new(vec![wanted]),
        None => filter.projects = auth.reach.clone(),
    }
    let mut tx = state.db.tenant(auth.org).await?;
    // One more than the page says whether another follows.
    let mut items = jobs::list(&mut tx, &filter, i64::from(limit) + 1).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|job| cursor::write(job.id.uuid()));
    Ok(axum::Json(Page { items, next }))
}

#[derive(Debug)]
struct Request {
    filter: Filter,
    project: Option<ProjectId>,
    limit: u32,
}

impl Request {
    fn parse(query: &str, state: &AppState) -> ApiResult<Self> {
        let mut request = Self::read(query)?;
        if let Some(repo) = &request.filter.repo {
            // As jobs keep it; what is no URL is simply not found.
            let known = RepoUrl::parse(repo, &state.config.repo_policy()).map(|url| url.to_string());
            request.filter.repo = Some(known.unwrap_or_else(|_| repo.clone()));
        }
        Ok(request)
    }

    fn read(query: &str) -> ApiResult<Self> {
        let mut filter = Filter::default();
        let mut project = None;
        let mut limit = limits::PAGE_DEFAULT;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = |message: String| wrong_parameter(&name, message);
            if value.contains('\0') {
                return Err(wrong("must not contain NUL".to_owned()));
            }
            match &*name {
                "cursor" => filter.before = Some(read_cursor(&value).ok_or_else(|| wrong("not a cursor".to_owned()))?),
                "limit" => limit = read_limit(&value).ok_or_else(|| wrong(format!("1 to {}", limits::PAGE_MAX)))?,
                "state" => filter.states.push(value.parse().map_err(|error| wrong(format!("{error}")))?),
                "label" => add_label(&mut filter.labels, &value).map_err(wrong)?,
                "repo" => filter.repo = Some(value.into_owned()),
                "project" => project = Some(value.parse().map_err(|error| wrong(format!("{error}")))?),
                _ => {}
            }
        }
        Ok(Self { filter, project, limit })
    }
}

fn read_cursor(text: &str) -> Option<JobId> {
    cursor::read(text).map(JobId::from_uuid)
}

fn read_limit(text: &str) -> Option<u32> {
    text.parse().ok().filter(|limit| (1..=limits::PAGE_MAX).contains(limit))
}

fn add_label(labels: &mut BTreeMap<String, String>, text: &str) -> Result<(), String> {
    let (key, value) = text.split_once('=').ok_or("key=value is expected")?;
    match labels.insert(key.to_owned(), value.to_owned()) {
        Some(other) if other != value => Err(format!("a job has only one value for `{key}`")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;

    #[test]
    fn each_wrong_parameter_is_named() {
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=201", "limit"),
            ("state=done", "state"),
            ("label=team", "label"),
            ("label=a%3D1&label=a%3D2", "label"),
            ("cursor=x", "cursor"),
            ("project=x", "project"),
            ("repo=a%00b", "repo"),
        ] {
            let ApiError::Problem(problem) = Request::read(query).unwrap_err() else { panic!("{query}") };
            assert_eq!(problem.errors[0].field, field, "{query}");
        }
    }

    #[test]
    fn parameters_may_be_repeated() {
        let request = Request::read("state=queued&state=running&label=a%3D1&label=b%3D2&limit=7").unwrap();
        assert_eq!(request.filter.states, [ckrv_types::State::Queued, ckrv_types::State::Running]);
        assert_eq!(request.filter.labels.len(), 2);
        assert_eq!(request.limit, 7);
    }
}
