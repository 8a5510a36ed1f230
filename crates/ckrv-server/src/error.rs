//! What a handler may answer besides success, and how it becomes a problem (RFC 9457).
//!
//! A [`Problem`] is for the caller to read. Everything else is a fault of ours: its detail goes to the log, the caller gets
//! fixed text and the request's id.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ckrv_types::problem::MEDIA_TYPE;
use ckrv_types::{Problem, ProblemCode};

pub type ApiResult<T> = Result<T, ApiError>;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{}", .0.title)]
    Problem(Box<Problem>),
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
    #[error("the object store did not answer as it should: {0}")]
    Storage(String),
    #[error("{0}")]
    Internal(&'static str),
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<ProblemCode> for ApiError {
    fn from(code: ProblemCode) -> Self {
        Problem::new(code).into()
    }
}

impl ApiError {
    /// The problem that the caller is shown.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Problem(problem) => (**problem).clone(),
            Self::Database(error) if is_outage(error) => Problem::new(ProblemCode::Unavailable)
                .detail("The database cannot be reached at the moment.")
                .hint("Try again in a few seconds."),
            Self::Storage(_) => Problem::new(ProblemCode::Unavailable)
                .detail("The object store cannot be reached at the moment.")
                .hint("Try again in a few seconds."),
            Self::Database(_) | Self::Internal(_) => {
                Problem::new(ProblemCode::Internal).detail("Something went wrong on our side; it has been logged.")
            }
        }
    }
}

/// Whether the database is away (restarting, unreachable, out of connections) rather than refusing a statement.
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Protocol(_) => true,
        // Classes 08 (connection), 53 (resources) and 57P (shutdown) of PostgreSQL's error codes.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("08") || code.starts_with("53") || code.starts_with("57P"))
        }
        _ => false,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        if problem.status >= 500 {
            tracing::error!(error = &self as &dyn std::error::Error, code = problem.code.as_str(), "request failed");
        }
        problem_response(&problem)
    }
}

/// A problem as a response. The request-id layer fills in `request_id`.
pub fn problem_response(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).expect("a problem has only string keys");
    let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110, section 15.5.2: a 401 names the scheme.
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response.extensions_mut().insert(ProblemBody(problem.clone()));
    response
}

/// Marks a response as a problem, for the layer that adds the request's id to it.
#[derive(Clone)]
pub struct ProblemBody(pub Problem);

/// Marks an error's response whose body is of another form than a problem, as it is meant: a page, or what another
/// standard says.
#[derive(Clone, Copy)]
pub struct OwnBody;
