//! What must lie where the rows say: frames in the database, archived logs and artifacts in the object store.

use ckrv_server::s3::S3;
use ckrv_types::log::Line;
use ckrv_types::{AttemptId, JobId};
use sha2::{Digest as _, Sha256};
use sqlx::types::Uuid;
use sqlx::{FromRow, PgConnection};

use super::{Rule, Violation};

pub async fn violations(sql: &mut PgConnection, s3: &S3) -> Vec<Violation> {
    let store = Store { s3, http: reqwest::Client::new() };
    let mut found = frames(sql).await;
    found.extend(archives(sql, &store).await);
    found.extend(artifacts(sql, &store).await);
    found
}

#[derive(FromRow)]
struct Chunk {
    job_id: Uuid,
    attempt: i32,
    first_seq: i64,
    count: i32,
    frame: Vec<u8>,
}

async fn frames(sql: &mut PgConnection) -> Vec<Violation> {
    let chunks: Vec<Chunk> = sqlx::query_as("select job_id, attempt, first_seq, count, frame from log_chunks")
        .fetch_all(sql)
        .await
        .expect("the chunks can be read");
    let broken = chunks.into_iter().filter_map(|chunk| {
        let (first, count) = (chunk.first_seq.unsigned_abs(), u64::from(chunk.count.unsigned_abs()));
        let what = differs(&chunk.frame, first, count)?;
        Some(violation(Rule::FramesAsCounted, chunk.job_id, chunk.attempt, &what))
    });
    broken.collect()
}

#[derive(FromRow)]
struct Archived {
    job_id: Uuid,
    attempt: i32,
    kept: i64,
    key: Option<String>,
    size: Option<i64>,
    sha256: Option<String>,
    chunks: i64,
}

async fn archives(sql: &mut PgConnection, store: &Store<'_>) -> Vec<Violation> {
    let archived: Vec<Archived> = sqlx::query_as(
        "select h.job_id, h.attempt, coalesce(h.gap_first, h.next_seq) - 1 as kept,
             h.archive ->> 'key' as key, (h.archive ->> 'size')::bigint as size, h.archive ->> 'sha256' as sha256,
             (select count(*) from log_chunks c where c.job_id = h.job_id and c.attempt = h.attempt) as chunks
         from log_heads h join jobs j on j.id = h.job_id
         where h.archived_at is not null and j.purged_at is null",
    )
    .fetch_all(sql)
    .await
    .expect("the heads can be read");
    let mut found = Vec::new();
    for log in archived {
        let mut broken = |what: &str| found.push(violation(Rule::ArchiveWhole, log.job_id, log.attempt, what));
        if log.chunks > 0 {
            broken("it is archived, and has chunks in the database");
        }
        let (Some(key), Some(size), Some(sha256)) = (&log.key, log.size, &log.sha256) else {
            if log.kept > 0 {
                broken("it is said to be archived, and nothing says where");
            }
            continue;
        };
        match store.object(key, size, sha256).await {
            Ok(bytes) => differs(&bytes, 1, log.kept.unsigned_abs()).iter().for_each(|what| broken(what)),
            Err(what) => broken(&what),
        }
    }
    found
}

#[derive(FromRow)]
struct Stored {
    job_id: Uuid,
    attempt: i32,
    name: String,
    size: i64,
    sha256: Option<String>,
    object_key: Option<String>,
}

async fn artifacts(sql: &mut PgConnection, store: &Store<'_>) -> Vec<Violation> {
    let stored: Vec<Stored> =
        sqlx::query_as("select job_id, attempt, name, size, sha256, object_key from artifacts where status = 'stored'")
            .fetch_all(sql)
            .await
            .expect("the artifacts can be read");
    let mut found = Vec::new();
    for artifact in stored {
        let difference = match (&artifact.object_key, &artifact.sha256) {
            (Some(key), Some(sha256)) => store.object(key, artifact.size, sha256).await.err(),
            _ => Some("nothing says where it is".to_owned()),
        };
        if let Some(what) = difference {
            let what = format!("`{}`: {what}", artifact.name);
            found.push(violation(Rule::ArtifactsStored, artifact.job_id, artifact.attempt, &what));
        }
    }
    found
}

/// The object store, read as a user does.
struct Store<'a> {
    s3: &'a S3,
    http: reqwest::Client,
}

impl Store<'_> {
    /// The object's bytes, if they are those.
    async fn object(&self, key: &str, size: i64, sha256: &str) -> Result<Vec<u8>, String> {
        let place = self.s3.presign_get(key, "attachment").await.map_err(|error| error.to_string())?;
        let place = place.expect("the store has a public address");
        let answer = self.http.get(place.url).send().await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("the object store answers {} for `{key}`", answer.status()));
        }
        let bytes = answer.bytes().await.map_err(|error| error.to_string())?;
        let found = (i64::try_from(bytes.len()).expect("objects are small"), hex::encode(Sha256::digest(&bytes)));
        if found == (size, sha256.to_owned()) {
            return Ok(bytes.into());
        }
        Err(format!("`{key}` has {} bytes with hash {}, {size} with {sha256} must be there", found.0, found.1))
    }
}

/// How zstd frames of NDJSON lines differ from lines `first..first + count`.
fn differs(frames: &[u8], first: u64, count: u64) -> Option<String> {
    let text = match zstd::stream::decode_all(frames) {
        Ok(text) => text,
        Err(error) => return Some(format!("a frame cannot be unpacked: {error}")),
    };
    let lines: Result<Vec<Line>, _> =
        text.split_inclusive(|byte| *byte == b'\n').map(serde_json::from_slice::<Line>).collect();
    match lines {
        Ok(lines) if lines.iter().map(|line| line.seq).eq(first..first + count) => None,
        Ok(lines) => {
            let seqs: Vec<u64> = lines.iter().map(|line| line.seq).collect();
            Some(format!("lines {seqs:?} are where {count} from {first} on must be"))
        }
        Err(error) => Some(format!("a line cannot be read: {error}")),
    }
}

fn violation(rule: Rule, job: Uuid, attempt: i32, what: &str) -> Violation {
    let attempt = AttemptId { job: JobId::from_uuid(job), number: attempt.unsigned_abs() };
    Violation { rule, what: format!("{attempt}: {what}") }
}
