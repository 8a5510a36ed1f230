//! Moving sealed logs from PostgreSQL to the object store.
//!
//! 1. The chunks are read in order: index, length and hash ([`survey`]). A sealed log does not change any more.
//! 2. They are read again and put as one object, whose length and hash the store checks.
//! 3. The object is read back and must have that length and hash.
//! 4. Only then, in one transaction, the index is recorded and the chunks are deleted.
//!
//! Dying anywhere in between leaves the chunks, and the next pass does it again, with the same bytes at the same key. Nobody
//! waits for any of it: while the store is away, logs are read from PostgreSQL.

pub mod index;

use std::time::Duration;

use bytes::Bytes;
use ckrv_types::AttemptId;
use hyper::body::Body as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use self::index::{Archive, Frame, Indexer};
use crate::crash_point;
use crate::db::archive::{self as db, Sealed};
use crate::db::logs;
use crate::s3::{ChannelBody, S3Error};
use crate::state::AppState;

/// How often a pass is made.
pub const EVERY: Duration = Duration::from_secs(5);
/// Uncompressed bytes of chunks that are read at once.
const READ_BYTES: i64 = 4 * 1024 * 1024;
/// So many logs in a row that cannot be archived, and the pass is over: most likely the store is away.
const FAILURES: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
    #[error("the log's chunks are not one after the other")]
    OutOfOrder(#[from] index::OutOfOrder),
    #[error("the log's chunks end with line {found}, the log with line {expected}")]
    Incomplete { expected: u64, found: u64 },
    #[error(transparent)]
    Storage(#[from] S3Error),
    #[error("the archived log could not be read back")]
    ReadBack(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the archived log is not there, or has another length or hash than it must have")]
    Different,
}

/// One pass over every sealed log that is not archived yet, the oldest first. What fails is tried again at the next pass.
pub async fn tick(state: &AppState) -> Result<(), sqlx::Error> {
    let (mut behind, mut failures) = (None, 0);
    while failures < FAILURES {
        let mut tx = state.db.system().await?;
        let next = db::next_sealed(&mut tx, behind).await?;
        tx.commit().await?;
        let Some(sealed) = next else { return Ok(()) };
        match archive(state, &sealed).await {
            Ok(()) => {
                failures = 0;
                state.metrics.archived_logs.inc();
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(attempt = %sealed.attempt, error = &error as &dyn std::error::Error,
                    "a log could not be archived; it stays in the database and is tried again");
            }
        }
        behind = Some(sealed);
    }
    Ok(())
}

/// Archives one log. Doing it again, or at the same time elsewhere, changes nothing.
pub async fn archive(state: &AppState, sealed: &Sealed) -> Result<(), ArchiveError> {
    let archive = survey(state, sealed).await?;
    if archive.size > 0 {
        put(state, sealed.attempt, &archive).await?;
        crash_point!("server.archive.put");
        verify(state, &archive).await?;
    }
    crash_point!("server.archive.verified");
    let mut tx = state.db.system().await?;
    db::record(&mut tx, sealed.attempt, Some(&archive).filter(|archive| archive.size > 0)).await?;
    tx.commit().await?;
    crash_point!("server.archive.recorded");
    Ok(())
}

async fn survey(state: &AppState, sealed: &Sealed) -> Result<Archive, ArchiveError> {
    let (mut indexer, mut hash) = (Indexer::default(), Sha256::new());
    loop {
        let frames = frames(state, sealed.attempt, indexer.last_seq() + 1).await?;
        if frames.is_empty() {
            break;
        }
        for (frame, bytes) in frames {
            indexer.push(frame)?;
            hash.update(&bytes);
        }
    }
    if indexer.last_seq() != sealed.kept {
        return Err(ArchiveError::Incomplete { expected: sealed.kept, found: indexer.last_seq() });
    }
    Ok(indexer.finish(format!("logs/{}", sealed.attempt), hex::encode(hash.finalize())))
}

async fn put(state: &AppState, attempt: AttemptId, archive: &Archive) -> Result<(), ArchiveError> {
    let (sender, body) = ChannelBody::new(archive.size);
    let put = state.s3.put_stream(&archive.key, archive.size, &archive.sha256, body);
    // The store's refusal says more than that we could not feed it to the end.
    let (put, fed) = tokio::join!(put, feed(state, attempt, sender));
    put?;
    fed.map_err(ArchiveError::from)
}

/// Sends all frames; ends early when nobody takes them.
async fn feed(state: &AppState, attempt: AttemptId, sender: mpsc::Sender<Bytes>) -> Result<(), sqlx::Error> {
    let mut from = 1;
    loop {
        let frames = frames(state, attempt, from).await?;
        let Some((last, _)) = frames.last() else { return Ok(()) };
        from = last.first_seq + last.count;
        for (_, bytes) in frames {
            if sender.send(bytes).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Reads the object back.
async fn verify(state: &AppState, archive: &Archive) -> Result<(), ArchiveError> {
    let object = state.s3.get(&archive.key, None).await?.ok_or(ArchiveError::Different)?;
    let (mut hash, mut size, mut body) = (Sha256::new(), 0, object.body);
    while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        let bytes = frame.map_err(ArchiveError::ReadBack)?.into_data().unwrap_or_default();
        size += bytes.len() as u64;
        hash.update(&bytes);
    }
    let same = size == archive.size && hex::encode(hash.finalize()) == archive.sha256;
    if same { Ok(()) } else { Err(ArchiveError::Different) }
}

async fn frames(state: &AppState, attempt: AttemptId, from: u64) -> Result<Vec<(Frame, Bytes)>, sqlx::Error> {
    let mut tx = state.db.system().await?;
    let stored = logs::frames(&mut tx, attempt, from, None, READ_BYTES).await?;
    tx.commit().await?;
    Ok(stored
        .into_iter()
        .map(|stored| {
            let frame = Frame {
                length: stored.frame.len() as u64,
                bytes: u64::from(stored.bytes.cast_unsigned()),
                first_seq: stored.first_seq.cast_unsigned(),
                count: u64::from(stored.count.cast_unsigned()),
                last_ts: stored.last_ts,
            };
            (frame, Bytes::from(stored.frame))
        })
        .collect())
}
