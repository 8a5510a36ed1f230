//! What an organization may use, what it has used, and by whom.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{KeyId, ProjectId, ServiceAccountId, UserId};

/// `GET /v1/quota`: the organization's tier and limits, and how much of each is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quota {
    pub tier: String,
    /// Its share of places while organizations wait for them: one of weight 4 gets twice as many as one of weight 2.
    pub weight: u32,
    /// Always [`Measure::ALL`], in that order.
    pub limits: Vec<QuotaLimit>,
    /// The only classes that its jobs may have; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Days for which logs and artifacts are kept after a job's end.
    pub retention_days: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuotaLimit {
    pub quota: Measure,
    pub used: u64,
    /// Absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// When what is used counts from nothing again; absent: never, it is what there is at a time.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<OffsetDateTime>,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Attempts at once; more wait in the queue.
    ConcurrentJobs,
    /// Jobs that wait and run.
    OpenJobs,
    JobsPerMonth,
    /// Minutes that agents ran; a begun second counts, attempts that ckrv itself failed do not.
    MinutesPerMonth,
    RequestsPerMinute,
    /// People, and invitations that are open.
    Members,
    Projects,
}

impl Measure {
    pub const ALL: [Self; 7] = [
        Self::ConcurrentJobs,
        Self::OpenJobs,
        Self::JobsPerMonth,
        Self::MinutesPerMonth,
        Self::RequestsPerMinute,
        Self::Members,
        Self::Projects,
    ];

    /// The text form, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrentJobs => "concurrent_jobs",
            Self::OpenJobs => "open_jobs",
            Self::JobsPerMonth => "jobs_per_month",
            Self::MinutesPerMonth => "minutes_per_month",
            Self::RequestsPerMinute => "requests_per_minute",
            Self::Members => "members",
            Self::Projects => "projects",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `GET /v1/usage?month=2026-11&by=project`: what a calendar month (UTC) has used so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageReport {
    /// `YYYY-MM`.
    pub month: String,
    pub by: UsageBy,
    pub total: Used,
    /// Most minutes first; days in their order.
    pub rows: Vec<UsageRow>,
}

/// By what usage is told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum UsageBy {
    #[default]
    Project,
    Key,
    User,
    ServiceAccount,
    Day,
}

/// One of them. Which of the ids is there goes by [`UsageReport::by`]; none: jobs of none, such as handed in by a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountId>,
    /// `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// Its name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(flatten)]
    pub used: Used,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Used {
    /// Submitted.
    pub jobs: u64,
    /// That agents ran.
    pub seconds: u64,
    /// Of their model calls, as counted by the proxy.
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost_usd: f64,
}
