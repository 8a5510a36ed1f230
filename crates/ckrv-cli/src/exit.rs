//! The exit codes, which scripts rely on.

use std::process::ExitCode;

use ckrv_types::State;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done; of a job that was waited for: it succeeded.
    Done,
    /// The job failed, or the command did in a way that has no code of its own.
    Failed,
    /// Wrong usage, or a specification that breaks rules.
    Usage,
    /// The job was cancelled.
    Cancelled,
    /// No credential, or not a valid one.
    NotLoggedIn,
    /// Forbidden, or over a quota or rate.
    Refused,
    /// No such thing, also for an id that cannot exist.
    NotFound,
    /// The server could not be reached after retries.
    Unreachable,
    /// The job is not over yet.
    Pending,
    /// The job ran into one of its limits.
    TimedOut,
    /// Ctrl-C; a job goes on.
    Interrupted,
}

impl ExitStatus {
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Cancelled => 3,
            Self::NotLoggedIn => 4,
            Self::Refused => 5,
            Self::NotFound => 6,
            Self::Unreachable => 7,
            Self::Pending => 8,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
        }
    }

    /// For a job that was waited for.
    pub const fn of(state: State) -> Self {
        match state {
            State::Succeeded => Self::Done,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
            State::TimedOut => Self::TimedOut,
            State::Queued | State::Assigned | State::Starting | State::Running | State::Finishing => Self::Pending,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}
