//! What can go wrong between here and the control plane.

use std::time::Duration;

use ckrv_types::{Problem, ProblemCode};

use crate::TokenError;

/// Why a request did not bring what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer, or not a whole one, within the time and retries allowed.
    #[error("cannot reach {server}")]
    Unreachable {
        server: String,
        #[source]
        source: reqwest::Error,
    },
    /// A stream or download ended or fell silent before its end.
    #[error("the connection to {server} was cut: {what}")]
    Interrupted { server: String, what: String },
    /// The control plane refused, and said why.
    #[error("{}", problem.detail.as_deref().unwrap_or(&problem.title))]
    Problem {
        problem: Box<Problem>,
        /// How long it asked to wait before another try.
        retry_after: Option<Duration>,
    },
    /// Somebody in between, or something that is no control plane, answered.
    #[error("{server} answered {status} without a ckrv problem: is it a ckrv server, or a proxy before one?")]
    Status { server: String, status: u16, retry_after: Option<Duration> },
    /// An answer that this version cannot read.
    #[error("{server} answered {what} that cannot be read")]
    Body {
        server: String,
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// A redirect that must not be followed: another host in clear text, or where there should be none.
    #[error("{server} points to {to}, which is not followed")]
    Redirect { server: String, to: String },
    /// There was no token to send.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A name that cannot be part of a route.
    #[error("`{0}` is not an artifact's name")]
    ArtifactName(String),
}

impl ClientError {
    /// What the control plane said, if it was it that refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            Self::Token(TokenError::Renew(error)) => error.problem(),
            _ => None,
        }
    }

    pub fn problem_code(&self) -> Option<ProblemCode> {
        self.problem().map(|problem| problem.code)
    }

    /// Names the request in the server's log.
    pub fn request_id(&self) -> Option<&str> {
        self.problem().and_then(|problem| problem.request_id.as_deref())
    }

    /// Whether the same request may succeed later. If not, this is a definitive refusal.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !source.is_builder(),
            Self::Interrupted { .. } => true,
            Self::Problem { problem, .. } => problem.retryable || is_passing(problem.status),
            Self::Status { status, .. } => is_passing(*status),
            Self::Token(TokenError::Renew(error)) => error.is_retryable(),
            Self::Token(TokenError::Missing(_)) | Self::Body { .. } | Self::Redirect { .. } | Self::ArtifactName(_) => {
                false
            }
        }
    }

    /// Whether nothing, or nothing whole, came back: as against an answer that refuses.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            Self::Problem { problem, .. } => is_passing(problem.status) && problem.status >= 500,
            Self::Status { status, .. } => is_passing(*status),
            Self::Token(TokenError::Renew(error)) => error.is_unreachable(),
            Self::Token(TokenError::Missing(_)) | Self::Body { .. } | Self::Redirect { .. } | Self::ArtifactName(_) => {
                false
            }
        }
    }

    /// Whether the control plane itself has refused for good. Everything else passes: a server that is away or restarts, a
    /// proxy that answers in its place, an answer cut short.
    pub fn is_final(&self) -> bool {
        self.problem().is_some() && !self.is_retryable()
    }

    /// How long the server asked to wait before another try.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            Self::Token(TokenError::Renew(error)) => error.retry_after(),
            _ => None,
        }
    }
}

/// Statuses of a moment: too many requests, or a server (or the proxy before it) that is not up to it just now.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}
