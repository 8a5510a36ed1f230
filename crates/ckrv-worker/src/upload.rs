//! Brings one file to the place that the control plane names for it, and keeps trying until a deadline.

use std::io;
use std::path::Path;
use std::time::Duration;

use ckrv_client::ClientError;
use ckrv_client::worker::WorkerClient;
use ckrv_types::worker::{NewArtifact, Upload};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, StatusCode};
use tokio::fs::File;
use tokio::time::{Instant, timeout_at};
use tokio_util::io::ReaderStream;

use crate::human;
use ckrv_client::Backoff;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long the store may say nothing once it has everything.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);
const CHUNK: usize = 256 * 1024;

/// Why a file could not be stored. The texts never repeat a presigned URL.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the control plane gave no place for it")]
    NoPlace(#[source] ClientError),
    #[error("it could not be read")]
    Read(#[source] io::Error),
    #[error("the object store was not reached")]
    Unreachable(#[source] reqwest::Error),
    /// With the store's own word for why (Amazon S3 API Reference, "Error responses"), such as `SignatureDoesNotMatch`.
    #[error("the object store answered {status} ({code})")]
    Refused { status: StatusCode, code: String },
    #[error("the time for storing results was over")]
    TooLate,
}

impl UploadError {
    /// Whether another try may do better. A place may have expired (403) and a bucket may be coming back (404).
    fn is_retryable(&self) -> bool {
        match self {
            Self::NoPlace(error) => !error.is_final(),
            Self::Unreachable(_) => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 403 | 404 | 408 | 409 | 429)
            }
            Self::Read(_) | Self::TooLate => false,
        }
    }
}

/// Uploads of one attempt.
#[derive(Clone)]
pub struct Uploader {
    client: WorkerClient,
    http: reqwest::Client,
    deadline: Instant,
}

impl Uploader {
    /// Tries each file until `deadline`. `direct`: the object store is on this machine, no proxy leads there.
    pub fn new(client: WorkerClient, deadline: Instant, direct: bool) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(ANSWER_LIMIT);
        if direct {
            http = http.no_proxy();
        }
        Ok(Self { client, http: http.build()?, deadline })
    }

    /// Stores the file at `path` as `artifact` describes it. `delayed` is told once, when the first try fails.
    pub async fn store(
        &self,
        artifact: &NewArtifact,
        path: &Path,
        delayed: impl FnOnce(&UploadError) + Send,
    ) -> Result<(), UploadError> {
        let mut backoff = Backoff::for_requests();
        let mut delayed = Some(delayed);
        loop {
            let attempt = timeout_at(self.deadline, self.attempt(artifact, path)).await;
            let error = match attempt {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => return Err(UploadError::TooLate),
            };
            let pause = backoff.pause(None);
            if !error.is_retryable() || Instant::now() + pause >= self.deadline {
                return Err(error);
            }
            if let Some(tell) = delayed.take() {
                tell(&error);
            }
            tracing::warn!(name = artifact.name, error = human::chain(&error), "not stored yet");
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, artifact: &NewArtifact, path: &Path) -> Result<(), UploadError> {
        // Anew each time: the last place may have expired.
        let place = self.client.new_artifact(artifact).await.map_err(UploadError::NoPlace)?;
        let file = File::open(path).await.map_err(UploadError::Read)?;
        put(&self.http, &place, artifact.size, file).await
    }
}

async fn put(http: &reqwest::Client, place: &Upload, size: u64, file: File) -> Result<(), UploadError> {
    let mut request = http.put(&place.url);
    for (name, value) in &place.headers {
        request = request.header(name, value);
    }
    if !place.headers.keys().any(|name| name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str())) {
        request = request.header(CONTENT_LENGTH, size);
    }
    let request = request.body(Body::wrap_stream(ReaderStream::with_capacity(file, CHUNK)));
    let response = request.send().await.map_err(|error| UploadError::Unreachable(error.without_url()))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let code = error_code(response).await.unwrap_or_else(|| "without a reason".to_owned());
    Err(UploadError::Refused { status, code })
}

/// The code in the XML of an S3 error, if there is one in the first chunk.
async fn error_code(mut response: reqwest::Response) -> Option<String> {
    let body = response.chunk().await.ok()??;
    let text = String::from_utf8_lossy(&body);
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    let is_name = !code.is_empty() && code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric());
    is_name.then(|| code.to_owned())
}
