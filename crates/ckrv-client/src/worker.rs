//! The worker's side of `/v1/worker`: [`ckrv_types::worker`] says what is said when.
//!
//! Every call may be repeated and has its effect once, so a worker chooses its own patience: one try each by default.
//! [`ClientError::is_retryable`] tells "try again" from a definitive refusal.

use std::time::Duration;

use bytes::Bytes;
use ckrv_types::worker::{
    Appended, Finish, Finished, LOG_MEDIA_TYPE, NewArtifact, Start, Started, Upload, WorkerHeartbeat,
    WorkerHeartbeatAnswer,
};
use ckrv_types::{ProblemCode, Secret};
use reqwest::header::CONTENT_TYPE;

use crate::transport::Transport;
use crate::{ClientConfig, ClientError, ConfigError, Retry};

/// The control plane as the worker of one attempt sees it.
#[derive(Debug, Clone)]
pub struct WorkerClient {
    transport: Transport,
}

/// Why a batch of lines was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Lines are missing before the batch: send again from `expected`.
    #[error("the server expects line {expected} next")]
    Gap { expected: u64 },
    /// The attempt is over and its log ends at line `seq`: nothing more will be taken.
    #[error("the attempt is over, its log ends at line {seq}")]
    Sealed { seq: u64 },
    #[error(transparent)]
    Client(ClientError),
}

impl AppendError {
    /// Whether the same batch may be taken later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_retryable())
    }
}

impl From<ClientError> for AppendError {
    fn from(error: ClientError) -> Self {
        let problem = error.problem();
        match problem.map(|problem| (problem.code, problem.expected_seq, problem.sealed_seq)) {
            Some((ProblemCode::LogGap, Some(expected), _)) => Self::Gap { expected },
            Some((ProblemCode::Sealed, _, Some(seq))) => Self::Sealed { seq },
            _ => Self::Client(error),
        }
    }
}

impl WorkerClient {
    /// Whether `config`'s token is the bootstrap token (good for [`WorkerClient::start`] alone) or the attempt's own is the
    /// server's to judge. One try a call, whatever the configuration says; see [`WorkerClient::with_retry`].
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        Ok(Self { transport: Transport::new(ClientConfig { retry: Retry::NEVER, ..config })? })
    }

    /// The same client, repeating for up to `limit` what may succeed later.
    #[must_use]
    pub fn with_retry(&self, limit: Duration) -> Self {
        Self { transport: self.transport.with_retry(Retry::within(limit)) }
    }

    /// The same connections, by another token: the attempt's, once `start` has answered it.
    pub fn with_token(&self, token: &Secret) -> Result<Self, ConfigError> {
        Ok(Self { transport: self.transport.with_token(token)? })
    }

    /// Binds the attempt to this instance; another one gets the problem `other_instance`.
    pub async fn start(&self, start: &Start) -> Result<Started, ClientError> {
        self.transport.json(self.transport.post(["v1", "worker", "start"]).json(start), "a start").await
    }

    /// The beat counts as it arrives; its answer comes as soon as there is something to obey, at the latest after `wait` (whole
    /// seconds; a server that knows of no waiting answers at once).
    pub async fn heartbeat(
        &self,
        beat: &WorkerHeartbeat,
        wait: Duration,
    ) -> Result<WorkerHeartbeatAnswer, ClientError> {
        let request = self.transport.post(["v1", "worker", "heartbeat"]).query(&[("wait", wait.as_secs())]).json(beat);
        self.transport.json_after(wait, request, "a heartbeat's answer").await
    }

    /// Appends `frame`, a zstd frame of NDJSON lines numbered from `first_seq`.
    pub async fn append(&self, first_seq: u64, frame: Bytes) -> Result<Appended, AppendError> {
        let request = self
            .transport
            .post(["v1", "worker", "logs"])
            .query(&[("first_seq", first_seq)])
            .header(CONTENT_TYPE, LOG_MEDIA_TYPE)
            .body(frame);
        Ok(self.transport.json(request, "an acknowledgement of lines").await?)
    }

    /// A place to `PUT` one object to.
    pub async fn new_artifact(&self, artifact: &NewArtifact) -> Result<Upload, ClientError> {
        self.transport
            .json(self.transport.post(["v1", "worker", "artifacts"]).json(artifact), "a place for an upload")
            .await
    }

    /// The last call. Repeating it answers the same.
    pub async fn finish(&self, finish: &Finish) -> Result<Finished, ClientError> {
        self.transport.json(self.transport.post(["v1", "worker", "finish"]).json(finish), "a finish").await
    }
}
