//! The runner's side of `/v1/runner`: [`ckrv_types::runner`] says what is said when.
//!
//! Every call may be repeated and changes nothing then, so a runner chooses its own patience: one try each by default.
//! [`driver`] has the loops around them.

pub mod driver;

use std::time::Duration;

use ckrv_types::JobId;
use ckrv_types::runner::{
    Assignments, HandIn, JobStanding, JobStandings, Observations, ObservationsAnswer, Register, Registered,
    RunnerHeartbeat, RunnerHeartbeatAnswer,
};

use crate::transport::Transport;
use crate::{ClientConfig, ClientError, ConfigError, Retry};

/// The control plane as a runner sees it; bearer: the runner's token.
#[derive(Debug, Clone)]
pub struct RunnerClient {
    transport: Transport,
}

impl RunnerClient {
    /// One try a call, whatever the configuration says; see [`RunnerClient::with_retry`].
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        Ok(Self { transport: Transport::new(ClientConfig { retry: Retry::NEVER, ..config })? })
    }

    /// The same client, repeating for up to `limit` what may succeed later.
    #[must_use]
    pub fn with_retry(&self, limit: Duration) -> Self {
        Self { transport: self.transport.with_retry(Retry::within(limit)) }
    }

    /// Binds the token to this instance; another one gets the problem `other_instance`.
    pub async fn register(&self, register: &Register) -> Result<Registered, ClientError> {
        self.transport.json(self.transport.post(["v1", "runner", "register"]).json(register), "a registration").await
    }

    pub async fn heartbeat(&self, beat: &RunnerHeartbeat) -> Result<RunnerHeartbeatAnswer, ClientError> {
        self.transport.json(self.transport.post(["v1", "runner", "heartbeat"]).json(beat), "a heartbeat's answer").await
    }

    /// Everything that this runner should be running: at once when the list's version is past `after` (or `after` is
    /// none), otherwise as soon as it is or `wait` is over.
    pub async fn assignments(&self, wait: Duration, after: Option<i64>) -> Result<Assignments, ClientError> {
        let mut query = vec![("wait", wait.as_secs().to_string())];
        query.extend(after.map(|version| ("after", version.to_string())));
        let request = self.transport.get(["v1", "runner", "assignments"]).query(&query);
        self.transport.json_after(wait, request, "a list of assignments").await
    }

    pub async fn observations(&self, seen: &Observations) -> Result<ObservationsAnswer, ClientError> {
        let request = self.transport.post(["v1", "runner", "observations"]).json(seen);
        self.transport.json(request, "an answer to observations").await
    }

    /// Hands in a job that was made as an object in the runner's cluster.
    pub async fn hand_in(&self, job: &HandIn) -> Result<JobStanding, ClientError> {
        self.transport.json(self.transport.post(["v1", "runner", "jobs"]).json(job), "a job's standing").await
    }

    /// Where jobs stand that this runner has handed in, [`ckrv_types::limits::STANDINGS`] at most; one that is not there
    /// (any more) is left out.
    pub async fn standings(&self, jobs: &[JobId]) -> Result<JobStandings, ClientError> {
        let ids = jobs.iter().map(JobId::to_string).collect::<Vec<_>>().join(",");
        let request = self.transport.get(["v1", "runner", "jobs"]).query(&[("ids", ids)]);
        self.transport.json(request, "a list of jobs' standings").await
    }
}
