//! What is answered instead of what was asked for: RFC 6749 section 5.2, RFC 8628 section 3.5. A code and fixed words, which
//! tell no more than the code.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{ApiError, OwnBody};

pub type OAuthResult<T> = Result<T, OAuthFailure>;

/// No answer of these may be kept by anybody (RFC 6749, section 5.1).
pub const NOT_KEPT: [(HeaderName, HeaderValue); 2] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::PRAGMA, HeaderValue::from_static("no-cache")),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OAuthErrorCode)]
pub enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    UnsupportedGrantType,
    UnsupportedResponseType,
    AccessDenied,
    /// RFC 8628: nobody has decided yet.
    AuthorizationPending,
    /// RFC 8628: the same, and from now on 5 s more between requests.
    SlowDown,
    /// RFC 8628: nobody has decided in time.
    ExpiredToken,
    ServerError,
    TemporarilyUnavailable,
}

impl Code {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::AccessDenied => "access_denied",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// RFC 6749, section 5.2.
#[derive(Debug, Serialize, ToSchema)]
pub struct OAuthError {
    pub error: Code,
    /// For the program's developer to read.
    pub error_description: &'static str,
}

/// An answer that is none of our failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub description: &'static str,
}

impl Refusal {
    pub const fn new(code: Code, description: &'static str) -> Self {
        Self { code, description }
    }

    pub const fn request(description: &'static str) -> Self {
        Self::new(Code::InvalidRequest, description)
    }

    /// One for all that is wrong with what is exchanged, so that nobody learns what a guess was short of.
    pub const GRANT: Self =
        Self::new(Code::InvalidGrant, "It is unknown, used, expired or revoked, or was given to another client.");
}

/// Why there is no answer.
#[derive(Debug)]
pub enum OAuthFailure {
    Refused(Refusal),
    /// Too often; how long to wait.
    TooMany(Duration),
    Failed(ApiError),
}

impl From<Refusal> for OAuthFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ApiError> for OAuthFailure {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

impl From<sqlx::Error> for OAuthFailure {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl OAuthFailure {
    fn said(&self) -> (StatusCode, Refusal) {
        match self {
            Self::Refused(refusal) if refusal.code == Code::InvalidClient => (StatusCode::UNAUTHORIZED, *refusal),
            Self::Refused(refusal) => (StatusCode::BAD_REQUEST, *refusal),
            Self::TooMany(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                Refusal::new(
                    Code::TemporarilyUnavailable,
                    "Too many logins were begun from this address. Try again later.",
                ),
            ),
            // Whatever the database says is wrong, nothing was decided: whoever asks may ask again.
            Self::Failed(ApiError::Database(_)) => (
                StatusCode::SERVICE_UNAVAILABLE,
                Refusal::new(Code::TemporarilyUnavailable, "Try again in a few seconds."),
            ),
            Self::Failed(ApiError::Problem(problem)) if problem.status < 500 => (
                StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST),
                Refusal::request("The request cannot be read, or is too large."),
            ),
            Self::Failed(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                Refusal::new(Code::ServerError, "Something went wrong on our side; it has been logged."),
            ),
        }
    }
}

impl IntoResponse for OAuthFailure {
    fn into_response(self) -> Response {
        let (status, Refusal { code, description }) = self.said();
        if let Self::Failed(error) = &self
            && status.is_server_error()
        {
            tracing::error!(error = error as &dyn std::error::Error, code = code.as_str(), "request failed");
        }
        let body = Json(OAuthError { error: code, error_description: description });
        let mut response = (status, NOT_KEPT, body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6749, section 5.2: the scheme by which a client may name itself in a header.
            let scheme = HeaderValue::from_static("Basic realm=\"ckrv\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Self::TooMany(wait) = self {
            response.headers_mut().insert(header::RETRY_AFTER, (wait.as_secs() + 1).into());
        }
        response.extensions_mut().insert(OwnBody);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_errs_is_never_taken_for_an_answer_about_the_grant() {
        for error in [sqlx::Error::PoolTimedOut, sqlx::Error::RowNotFound] {
            let (status, refusal) = OAuthFailure::from(error).said();
            assert_eq!((status.as_u16(), refusal.code), (503, Code::TemporarilyUnavailable));
        }
    }

    #[test]
    fn a_code_is_written_as_it_is_sent() {
        for code in [Code::InvalidRequest, Code::AuthorizationPending, Code::SlowDown, Code::ExpiredToken] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
