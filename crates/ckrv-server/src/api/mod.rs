//! `/v1`: what users and their programs ask for. Handlers read the request, open the transaction and answer; rules of
//! the specification are `ckrv_types`', SQL is `db`'s.

mod audit;
pub mod authority;
mod credentials;
mod cursor;
mod events;
mod explain;
mod invitations;
mod job_list;
pub mod jobs;
mod keys;
mod members;
pub mod once;
mod orgs;
mod projects;
mod quota;
mod runners;
mod service_accounts;
mod shown_once;
mod whoami;

use std::fmt::Display;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use ckrv_types::problem::FieldError;
use ckrv_types::{Problem, ProblemCode};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use crate::error::{ApiError, ApiResult};
use crate::state::AppState;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(jobs::routes())
        .merge(job_list::routes())
        .merge(explain::routes())
        .merge(events::routes())
        .merge(whoami::routes())
        .merge(keys::routes())
        .merge(quota::routes())
        .merge(service_accounts::routes())
        .merge(projects::routes())
        .merge(orgs::routes())
        .merge(members::routes())
        .merge(invitations::routes())
        .merge(runners::routes())
        .merge(credentials::routes())
        .merge(audit::routes())
}

/// 201, with the address of what was made.
struct Created {
    location: String,
    body: Value,
}

impl Created {
    /// `body` must have an `id`, by which it is found below `collection`.
    fn below(collection: &str, body: Value) -> Self {
        let id = body.get("id").and_then(Value::as_str).unwrap_or_default();
        Self { location: format!("{collection}/{id}"), body }
    }
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, [(header::LOCATION, self.location)], axum::Json(self.body)).into_response()
    }
}

pub fn to_value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("the API's types have only string keys")
}

/// 404, also for what is somebody else's.
fn no_such(what: &str, id: impl Display) -> ApiError {
    Problem::new(ProblemCode::NotFound).detail(format!("There is no {what} {id}.")).into()
}

/// 422 for one field.
pub fn invalid(field: &str, message: impl Into<String>) -> ApiError {
    invalid_fields(vec![FieldError { field: field.to_owned(), message: message.into() }])
}

fn invalid_fields(errors: Vec<FieldError>) -> ApiError {
    let detail =
        errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect::<Vec<_>>().join("; ");
    Problem { errors, ..Problem::new(ProblemCode::Invalid).detail(detail) }.into()
}

/// 400 for one parameter of the query.
fn wrong_parameter(name: &str, message: String) -> ApiError {
    let detail = format!("The query parameter `{name}` is wrong: {message}.");
    let errors = vec![FieldError { field: name.to_owned(), message }];
    Problem { errors, ..Problem::new(ProblemCode::BadRequest).detail(detail) }.into()
}

/// 422 unless `name` can name a thing of ours.
fn check_name(name: &str) -> ApiResult<()> {
    if ckrv_types::spec::is_name(name) {
        return Ok(());
    }
    Err(invalid("name", "1 to 63 of a-z 0-9 - are expected"))
}
