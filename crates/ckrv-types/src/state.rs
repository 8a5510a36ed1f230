//! The states of an attempt, and so of its job.
//!
//! `queued → assigned → starting → running → finishing → succeeded | failed | cancelled | timed_out`.
//! The rank only rises, and the first terminal state wins; the database's transition function holds to it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where an attempt (or, by its latest attempt, a job) stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a runner with room for it.
    Queued,
    /// Given to a runner, not yet begun.
    Assigned,
    /// Its worker prepares: clone, agent's environment.
    Starting,
    /// The agent works.
    Running,
    /// The agent is done; the work is being collected and stored.
    Finishing,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
}

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a state (one of: queued, assigned, starting, running, finishing, succeeded, failed, cancelled, timed_out)"
)]
pub struct UnknownState(String);

impl State {
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Assigned,
        Self::Starting,
        Self::Running,
        Self::Finishing,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
    ];

    /// The order of states: an attempt only ever moves to a higher rank. All terminal states share the highest.
    pub const fn rank(self) -> i16 {
        match self {
            Self::Queued => 0,
            Self::Assigned => 10,
            Self::Starting => 20,
            Self::Running => 30,
            Self::Finishing => 40,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut => 100,
        }
    }

    pub const fn is_terminal(self) -> bool {
        self.rank() == 100
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Assigned => "assigned",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Finishing => "finishing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_its_text_form_and_serde_agrees() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse::<State>(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn ranks_never_fall_along_the_path() {
        assert!(State::ALL.map(State::rank).is_sorted());
    }
}
