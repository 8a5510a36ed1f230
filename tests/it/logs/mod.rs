//! Logs on a real PostgreSQL and S3: append, read, archive, retention.

mod append;
mod archive;
mod form;
mod read;
mod resume;

use bytes::Bytes;
use ckrv_server::db::transition::Transition;
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::log::{Line, Stream};
use ckrv_types::{AttemptId, Cause, JobId, Problem, Secret, State};
use reqwest::{Response, StatusCode};
use time::OffsetDateTime;

/// 128 bits in hex, as a worker makes them.
const INSTANCE: &str = "00112233445566778899aabbccddeeff";

/// An installation whose loops the test runs itself, with one job.
pub struct Fixture {
    pub installation: Installation,
    pub job: JobId,
    pub http: reqwest::Client,
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With further arguments of `ckrv-server serve`.
    pub async fn with(arguments: &[&str]) -> Self {
        let installation = Installation::with(Loops::Off, arguments).await;
        let job = submit(&installation.client(), spec()).await.id;
        Self { installation, job, http: reqwest::Client::new() }
    }

    pub fn attempt(&self, number: u32) -> AttemptId {
        AttemptId { job: self.job, number }
    }

    pub fn worker_token(&self, number: u32) -> Secret {
        let org = self.installation.keys().org;
        self.installation.state().signer.attempt_token(org, self.attempt(number), INSTANCE)
    }

    /// Sends a body as the worker of attempt `number`.
    pub async fn append_body(&self, number: u32, first_seq: u64, body: Bytes) -> Response {
        self.http
            .post(self.url("/v1/worker/logs"))
            .query(&[("first_seq", first_seq)])
            .bearer_auth(self.worker_token(number).expose())
            .header("content-type", ckrv_types::worker::LOG_MEDIA_TYPE)
            .body(body)
            .send()
            .await
            .expect("the server answers")
    }

    /// Appends lines of attempt `number`, which must be taken.
    pub async fn append(&self, number: u32, lines: &[Line]) {
        let response = self.append_body(number, lines[0].seq, frame(lines)).await;
        assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap_or_default());
    }

    /// Gives attempt `number` to the worker, as `start` does.
    pub async fn bind(&self, number: u32) {
        let mut tx = self.installation.state().db.tenant(self.installation.keys().org).await.unwrap();
        ckrv_server::db::attempts::bind(&mut tx, self.attempt(number), INSTANCE, None).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Ends attempt `number`: `cause` none is success; causes of the infrastructure lead to a next attempt.
    pub async fn end(&self, number: u32, cause: Option<Cause>, last_seq: Option<u64>) {
        let state = self.installation.state();
        let mut tx = state.db.tenant(self.installation.keys().org).await.unwrap();
        let end = match cause {
            Some(cause) => Transition::end(self.attempt(number), cause, None),
            None => Transition::to(self.attempt(number), State::Succeeded),
        };
        let moved = Transition { last_seq, ..end }.apply(&mut tx).await.unwrap().expect("the attempt is there");
        assert!(moved.applied);
        tx.commit().await.unwrap();
        state.wake.notify_job(self.job);
    }

    /// Moves every sealed log to the object store.
    pub async fn archive(&self) {
        ckrv_server::logs::archive::tick(self.installation.state()).await.unwrap();
        assert_eq!(self.chunks().await, 0, "chunks of sealed logs are left");
    }

    /// Rows of chunks.
    pub async fn chunks(&self) -> i64 {
        let mut sql = self.installation.sql().await;
        sqlx::query_scalar("select count(*) from log_chunks").fetch_one(&mut sql).await.unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        self.installation.replica.url().join(path).unwrap().into()
    }

    /// `GET logs` as the user.
    pub async fn read(&self, accept: &str, query: &str) -> Response {
        self.read_with(accept, query, None).await
    }

    pub async fn read_with(&self, accept: &str, query: &str, last_event_id: Option<&str>) -> Response {
        let url = self.url(&format!("/v1/jobs/{}/logs?{query}", self.job));
        let mut request = self.http.get(url).bearer_auth(self.installation.keys().api_key.expose());
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        request.header("accept", accept).send().await.expect("the server answers")
    }

    /// The bare text of what a query gives, line by line.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        let response = self.read("text/plain", query).await;
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        response.text().await.unwrap().lines().map(str::to_owned).collect()
    }

    /// The events of a stream that ends.
    pub async fn events(&self, query: &str, last_event_id: Option<&str>) -> Vec<Event> {
        let response = self.read_with("text/event-stream", query, last_event_id).await;
        assert_eq!(response.status(), StatusCode::OK, "{query}");
        events(&response.text().await.unwrap())
    }
}

/// A server-sent event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: serde_json::Value,
}

/// Reads a whole stream; blocks without data are no events.
pub fn events(stream: &str) -> Vec<Event> {
    let field = |block: &str, name: &str| {
        let prefix = format!("{name}: ");
        block.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
    };
    let event = |block: &str| {
        let data = serde_json::from_str(&field(block, "data")?).expect("data is JSON");
        Some(Event { name: field(block, "event").expect("an event has a name"), id: field(block, "id"), data })
    };
    stream.split("\n\n").filter_map(event).collect()
}

/// Line `seq`, a second after the one before.
pub fn line(seq: u64, text: &str) -> Line {
    let ts = OffsetDateTime::from_unix_timestamp(1_800_000_000 + i64::try_from(seq).unwrap()).unwrap();
    Line { seq, ts, stream: Stream::Stdout, text: text.to_owned() }
}

/// Lines with their numbers as text.
pub fn lines(seqs: std::ops::RangeInclusive<u64>) -> Vec<Line> {
    seqs.map(|seq| line(seq, &format!("line {seq}"))).collect()
}

pub fn ndjson(lines: &[Line]) -> String {
    lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

pub fn frame(lines: &[Line]) -> Bytes {
    zstd::bulk::compress(ndjson(lines).as_bytes(), 3).unwrap().into()
}

pub async fn problem(response: Response) -> Problem {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    response.json().await.unwrap()
}
