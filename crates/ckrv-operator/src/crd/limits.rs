//! How long what of a job may take, and how often it is tried: the control plane's own words, as objects spell them.

use ckrv_types::{limits, spec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long what may take, in seconds. The worker keeps these limits; the pod's own deadline is only behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobLimits {
    /// From submitted to given to the operator: how long the job may wait for a place.
    #[schemars(range(min = 1, max = limits::QUEUE_MAX))]
    pub queue_seconds: i64,
    /// From then to started, and from started until the agent runs.
    #[schemars(range(min = 1, max = limits::START_MAX))]
    pub start_seconds: i64,
    /// The agent's run.
    #[schemars(range(min = 1, max = limits::RUN_MAX))]
    pub run_seconds: i64,
    /// Silence of the agent.
    #[schemars(range(min = 1, max = limits::IDLE_MAX))]
    pub idle_seconds: i64,
    /// Between SIGTERM and SIGKILL for the agent.
    #[schemars(range(min = 1, max = limits::GRACE_MAX))]
    pub grace_seconds: i64,
}

impl Default for JobLimits {
    fn default() -> Self {
        spec::Limits::default().into()
    }
}

impl From<spec::Limits> for JobLimits {
    fn from(limits: spec::Limits) -> Self {
        let seconds = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Self {
            queue_seconds: seconds(limits.queue),
            start_seconds: seconds(limits.start),
            run_seconds: seconds(limits.run),
            idle_seconds: seconds(limits.idle),
            grace_seconds: seconds(limits.grace),
        }
    }
}

impl From<JobLimits> for spec::Limits {
    fn from(limits: JobLimits) -> Self {
        // What is below zero no rule lets in; the control plane refuses 0.
        let seconds = |value: i64| u64::try_from(value).unwrap_or_default();
        Self {
            queue: seconds(limits.queue_seconds),
            start: seconds(limits.start_seconds),
            run: seconds(limits.run_seconds),
            idle: seconds(limits.idle_seconds),
            grace: seconds(limits.grace_seconds),
        }
    }
}

/// How often a job is tried when infrastructure fails it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobRetries {
    /// Attempts in all.
    #[schemars(range(min = 1, max = limits::MAX_ATTEMPTS))]
    pub max_attempts: i64,
    /// Whether an agent out of memory is worth another attempt.
    pub oom: bool,
}

impl Default for JobRetries {
    fn default() -> Self {
        let spec::Retries { max_attempts, oom } = spec::Retries::default();
        Self { max_attempts: max_attempts.into(), oom }
    }
}

impl From<JobRetries> for spec::Retries {
    fn from(retries: JobRetries) -> Self {
        Self { max_attempts: u32::try_from(retries.max_attempts).unwrap_or_default(), oom: retries.oom }
    }
}
