//! What a job left behind: the manifest, and the objects.

use std::time::Duration;

use bytes::Bytes;
use ckrv_types::JobId;
use ckrv_types::artifact::Manifest;
use futures::{Stream, StreamExt};
use reqwest::Response;

use crate::sse::within;
use crate::{Client, ClientError};

/// An object on its way. Its size and hash are for the reader to compare with the manifest.
#[derive(Debug)]
pub struct Download {
    response: Response,
    server: String,
    silence: Duration,
}

impl Download {
    /// Bytes, as the answer's head says.
    pub fn size(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The object's bytes; a cut or a long silence is an error, never a short object.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, ClientError>> + Send {
        within(self.silence, self.response.bytes_stream()).map(move |chunk| {
            chunk.map_err(|what| ClientError::Interrupted { server: self.server.clone(), what: what.to_string() })
        })
    }
}

impl Client {
    /// The manifest of the latest attempt that stored anything.
    pub async fn artifacts(&self, job: JobId) -> Result<Manifest, ClientError> {
        let request = self.transport.get(["v1", "jobs", &job.to_string(), "artifacts"]);
        self.transport.json(request, "a list of artifacts").await
    }

    /// One object of the manifest, from the server itself or from the object store that it names.
    pub async fn download(&self, job: JobId, name: &str) -> Result<Download, ClientError> {
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(ClientError::ArtifactName(name.to_owned()));
        }
        let job = job.to_string();
        let path = ["v1", "jobs", &job, "artifacts"].into_iter().chain(name.split('/'));
        let response = self.transport.object(self.transport.get(path)).await?;
        Ok(Download { response, server: self.server().to_owned(), silence: self.transport.timeouts().silence })
    }
}
