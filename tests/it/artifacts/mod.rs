//! Artifacts on a real PostgreSQL and S3: offered, put, confirmed, listed, got, removed.

mod download;
mod retention;
mod upload;

use ckrv_types::artifact::{ArtifactStatus, Manifest};
use ckrv_types::worker::{FinishedArtifact, NewArtifact, Upload};
use reqwest::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::logs::Fixture;

pub fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

pub fn artifact(name: &str, content: &[u8]) -> NewArtifact {
    let (size, sha256) = (content.len() as u64, sha256(content));
    NewArtifact { name: name.to_owned(), size, sha256, content_type: "text/plain".to_owned() }
}

impl Fixture {
    pub async fn offer(&self, number: u32, artifact: &NewArtifact) -> Response {
        let request = self.http.post(self.url("/v1/worker/artifacts")).bearer_auth(self.worker_token(number).expose());
        request.json(artifact).send().await.expect("the server answers")
    }

    /// Offers and puts an artifact, as a worker does.
    pub async fn store(&self, number: u32, name: &str, content: &[u8]) {
        let upload: Upload = self.offer(number, &artifact(name, content)).await.json().await.unwrap();
        assert_eq!(self.put(&upload, content).await, StatusCode::OK, "{name}");
    }

    pub async fn put(&self, upload: &Upload, content: &[u8]) -> StatusCode {
        let mut request = self.http.put(&upload.url).body(content.to_vec());
        for (name, value) in &upload.headers {
            request = request.header(name, value);
        }
        request.send().await.expect("the store answers").status()
    }

    /// What `finish` does with the worker's word on its artifacts.
    pub async fn finish_artifacts(&self, number: u32, said: &[(&str, ArtifactStatus)]) {
        let (state, org) = (self.installation.state(), self.installation.keys().org);
        let finished: Vec<FinishedArtifact> = said
            .iter()
            .map(|(name, status)| FinishedArtifact { name: (*name).to_owned(), status: *status, message: None })
            .collect();
        let outcomes = ckrv_server::artifacts::confirm(state, org, self.attempt(number), &finished).await.unwrap();
        let mut tx = state.db.tenant(org).await.unwrap();
        ckrv_server::db::artifacts::record(&mut tx, org, self.attempt(number), &outcomes).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn get(&self, path: &str) -> Response {
        let url = self.url(&format!("/v1/jobs/{}/artifacts{path}", self.job));
        self.http
            .get(url)
            .bearer_auth(self.installation.keys().api_key.expose())
            .send()
            .await
            .expect("the server answers")
    }

    pub async fn manifest(&self) -> Manifest {
        self.get("").await.json().await.unwrap()
    }
}
