//! One try at a job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;

use crate::id::{JobId, RunnerId};
use crate::usage::Usage;
use crate::{Cause, State};

/// An attempt by its job and number (from 1). Text form `<job id>-<number>`, also the name of its pod or work folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    pub job: JobId,
    pub number: u32,
}

/// A text that is not an attempt's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an attempt id (expected <job id>-<number from 1>)")]
pub struct InvalidAttemptId(String);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.job, self.number)
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AttemptId {
    type Err = InvalidAttemptId;

    fn from_str(text: &str) -> Result<Self, InvalidAttemptId> {
        let parse = || {
            let (job, number) = text.rsplit_once('-')?;
            // `007` and `+7` would be second names for one attempt.
            if number.starts_with(['0', '+']) {
                return None;
            }
            Some(Self { job: job.parse().ok()?, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| InvalidAttemptId(text.chars().take(64).collect()))
    }
}

impl Serialize for AttemptId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttemptId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for AttemptId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^job-[0-7][0-9a-hjkmnp-tv-z]{25}-[1-9][0-9]*$"))
            .description(Some("An attempt: its job's id, a dash, and its number from 1."))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for AttemptId {}

/// One try at a job, as the API shows it. Each `…_at` is when the attempt entered that state, by the database's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// One or two sentences for the user: what happened, with names and numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The agent's own exit code, where it got so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<RunnerId>,
    /// The machine or node that it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub queued_at: OffsetDateTime,
    /// It is not given out before this time (a retry's back-off).
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub assigned_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub starting_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub running_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub finishing_at: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<OffsetDateTime>,
    /// The log of this attempt: number of lines once sealed, and whether it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<SealedLog>,
    /// What the agent's model calls used, where the agent reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl Attempt {
    /// One that waits for its runner.
    pub const fn queued(number: u32, queued_at: OffsetDateTime) -> Self {
        Self {
            number,
            state: State::Queued,
            cause: None,
            message: None,
            exit_code: None,
            runner: None,
            node: None,
            queued_at,
            not_before: None,
            assigned_at: None,
            starting_at: None,
            running_at: None,
            finishing_at: None,
            finished_at: None,
            log: None,
            usage: None,
        }
    }
}

/// A log whose end is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SealedLog {
    /// The last line's number; lines are numbered from 1, so this is also their count. 0: no line.
    pub last_seq: u64,
    pub seal: Seal,
}

/// How a log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Seal {
    /// The worker delivered its last line.
    Complete,
    /// The worker was gone; the log ends at the last line that it got through.
    Truncated,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_id_survives_its_text_form() {
        let id = AttemptId { job: JobId::new(), number: 12 };
        assert_eq!(id.to_string().parse::<AttemptId>(), Ok(id));
    }

    #[test]
    fn attempt_numbers_start_at_one_and_have_one_spelling() {
        let job = JobId::new();
        for tail in ["0", "01", "+1", "-1", "", "x"] {
            assert!(format!("{job}-{tail}").parse::<AttemptId>().is_err(), "{tail} was accepted");
        }
    }
}
