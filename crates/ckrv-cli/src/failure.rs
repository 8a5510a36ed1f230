//! How a command fails: what, why, what to do next, and the exit code.

use std::error::Error;
use std::io;

use ckrv_client::oauth::OAuthError;
use ckrv_client::{ClientError, ConfigError, TokenError};
use ckrv_types::ProblemCode;

use crate::credentials::CredentialError;
use crate::exit::ExitStatus;
use crate::quotas;

/// What a command comes to.
pub type Outcome = Result<ExitStatus, Failure>;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// To be told to the user.
    Told(Box<Report>),
    /// Nobody reads the output any more: end without a word.
    Unread,
}

/// The parts of an error message.
#[derive(Debug)]
pub struct Report {
    pub status: ExitStatus,
    pub what: String,
    /// From the nearest cause to the farthest.
    pub causes: Vec<String>,
    /// The next step.
    pub hint: Option<String>,
    pub request_id: Option<String>,
}

impl Failure {
    pub fn new(status: ExitStatus, what: impl Into<String>) -> Self {
        Self::Told(Box::new(Report { status, what: what.into(), causes: Vec::new(), hint: None, request_id: None }))
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ExitStatus::Usage, what)
    }

    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(ExitStatus::Failed, what)
    }

    /// Adds `error` and its sources to the causes.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        if let Self::Told(report) = &mut self {
            let mut next = Some(error);
            while let Some(error) = next {
                report.causes.push(error.to_string());
                next = error.source();
            }
        }
        self
    }

    /// Adds a cause in words.
    #[must_use]
    pub fn cause(mut self, text: impl Into<String>) -> Self {
        if let Self::Told(report) = &mut self {
            report.causes.push(text.into());
        }
        self
    }

    /// Says what to do next, unless that has been said.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Told(report) = &mut self {
            report.hint.get_or_insert_with(|| text.into());
        }
        self
    }

    pub fn status(&self) -> ExitStatus {
        match self {
            Self::Told(report) => report.status,
            // Like other tools whose reader went away.
            Self::Unread => ExitStatus::Done,
        }
    }
}

/// Turns any error into a failure that says what was tried.
pub trait OrFail<T> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Error> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::failed(what()).because(&error))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = match &error {
            ConfigError::ServerUrl(_) => Self::usage(error.to_string()),
            ConfigError::PlainHttp(_) => {
                Self::usage(error.to_string()).hint("use https://, or --allow-plain-http where you trust the network")
            }
            ConfigError::Token => Self::new(ExitStatus::NotLoggedIn, error.to_string())
                .hint("an API key looks like ck_live_… and has no white space"),
            ConfigError::Org(_) => Self::usage(error.to_string()).hint("`ckrv cloud whoami` lists yours"),
            ConfigError::Tls(_) => {
                Self::failed(error.to_string()).hint("is a bundle of CA certificates installed (ca-certificates)?")
            }
        };
        match error.source() {
            Some(source) => failure.because(source),
            None => failure,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        if let ClientError::Token(error) = error {
            return error.into();
        }
        let mut failure = Self::new(status_of(&error), error.to_string());
        if let Some(source) = error.source() {
            failure = failure.because(source);
        }
        if let (Self::Told(report), Some(problem)) = (&mut failure, error.problem()) {
            report.causes.extend(problem.errors.iter().map(|broken| format!("{}: {}", broken.field, broken.message)));
            report.causes.extend(problem.quota.as_ref().map(quotas::in_words));
            report.hint.clone_from(&problem.hint);
            report.request_id.clone_from(&problem.request_id);
        }
        if let Some(quota) = error.problem().and_then(|problem| problem.quota.as_ref()) {
            return failure.hint(quotas::advice(quota.quota));
        }
        match error.problem_code() {
            Some(ProblemCode::Unauthenticated) => {
                failure.hint("is CKRV_TOKEN (or the profile's token) still valid? `ckrv cloud login` signs in")
            }
            Some(ProblemCode::QuotaExceeded) => failure.hint("`ckrv usage` shows what is left"),
            Some(ProblemCode::RateLimited) => match error.retry_after() {
                Some(after) => failure.hint(format!("try again in {} s", after.as_secs())),
                None => failure.hint("wait a moment and try again"),
            },
            _ if error.is_unreachable() => failure.hint("is the address right, and the server running?"),
            _ => failure,
        }
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Renew(error) => Self::from(*error),
            TokenError::Missing(error) => match error.downcast_ref::<CredentialError>() {
                Some(error) => error.into(),
                None => Self::new(ExitStatus::NotLoggedIn, "there is no token to send").because(&*error),
            },
        }
    }
}

impl From<OAuthError> for Failure {
    fn from(error: OAuthError) -> Self {
        match error {
            OAuthError::Client(error) => error.into(),
            OAuthError::Config(error) => error.into(),
            OAuthError::Issuer { .. } => Self::failed(error.to_string())
                .hint("give the address that it calls itself by, if that is the one that you mean"),
            OAuthError::Foreign { .. } => {
                Self::failed(error.to_string()).hint("nothing was sent there; ask whoever runs the control plane")
            }
            OAuthError::Unsupported { .. } => {
                Self::failed(error.to_string()).hint("an API key will do: `ckrv cloud login --with-token`")
            }
            OAuthError::Refused { .. } => Self::new(ExitStatus::NotLoggedIn, error.to_string()),
        }
    }
}

fn status_of(error: &ClientError) -> ExitStatus {
    match error.problem_code() {
        Some(ProblemCode::Unauthenticated) => ExitStatus::NotLoggedIn,
        Some(ProblemCode::Forbidden | ProblemCode::QuotaExceeded | ProblemCode::RateLimited) => ExitStatus::Refused,
        Some(ProblemCode::NotFound | ProblemCode::Expired) => ExitStatus::NotFound,
        Some(ProblemCode::Invalid | ProblemCode::BadRequest | ProblemCode::TooLarge) => ExitStatus::Usage,
        _ if error.is_unreachable() => ExitStatus::Unreachable,
        _ => ExitStatus::Failed,
    }
}

/// Of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Unread
        } else {
            Self::failed("cannot write the output").because(&error)
        }
    }
}

#[cfg(test)]
mod tests {
    use ckrv_types::Problem;
    use ckrv_types::problem::FieldError;
    use ckrv_types::quota::{Measure, QuotaLimit};

    use super::*;

    fn refused(code: ProblemCode) -> Failure {
        let mut problem = Problem::new(code).detail("d").hint("h");
        problem.request_id = Some("r".into());
        problem.errors.push(FieldError { field: "spec.repo".into(), message: "is bad".into() });
        ClientError::Problem { problem: Box::new(problem), retry_after: None }.into()
    }

    #[test]
    fn each_kind_of_refusal_has_its_exit_code() {
        for (code, status) in [
            (ProblemCode::Unauthenticated, 4),
            (ProblemCode::Forbidden, 5),
            (ProblemCode::QuotaExceeded, 5),
            (ProblemCode::RateLimited, 5),
            (ProblemCode::NotFound, 6),
            (ProblemCode::Expired, 6),
            (ProblemCode::Invalid, 2),
            (ProblemCode::Unavailable, 7),
            (ProblemCode::Conflict, 1),
        ] {
            assert_eq!(refused(code).status().code(), status, "{code:?}");
        }
    }

    #[test]
    fn a_refusal_keeps_what_the_server_said() {
        let Failure::Told(report) = refused(ProblemCode::Invalid) else { panic!() };
        assert_eq!(report.what, "d");
        assert_eq!(report.causes, ["spec.repo: is bad"]);
        assert_eq!(report.hint.as_deref(), Some("h"));
        assert_eq!(report.request_id.as_deref(), Some("r"));
    }

    #[test]
    fn a_quota_that_is_used_up_is_told_with_its_figures_and_the_next_step() {
        let resets_at = Some(time::OffsetDateTime::from_unix_timestamp(1_796_083_200).unwrap());
        let quota = QuotaLimit { quota: Measure::JobsPerMonth, used: 100, limit: Some(100), resets_at };
        let problem = Problem { quota: Some(quota), ..Problem::new(ProblemCode::QuotaExceeded) };
        let Failure::Told(report) = ClientError::Problem { problem: Box::new(problem), retry_after: None }.into()
        else {
            panic!()
        };
        assert_eq!(report.status.code(), 5);
        assert_eq!(report.causes, ["jobs this month: 100 of 100 used; counts from nothing again 2026-12-01 00:00:00Z"]);
        assert!(report.hint.is_some_and(|hint| hint.contains("`ckrv usage`")));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure_to_tell() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(failure, Failure::Unread));
    }
}
