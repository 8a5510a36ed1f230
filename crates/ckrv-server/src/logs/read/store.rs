//! Fetching lines from where they lie: chunks in PostgreSQL, or the archive in the object store. The same lines and bytes
//! come from both.

use bytes::{Bytes, BytesMut};
use ckrv_types::log::Cursor;
use ckrv_types::{AttemptId, JobId};
use hyper::body::Body as _;
use time::OffsetDateTime;

use super::lines::Frames;
use crate::auth::Lasting;
use crate::db::logs::{self, View};
use crate::error::{ApiError, ApiResult};
use crate::logs::archive::index::Archive;
use crate::s3::Object;
use crate::state::AppState;

/// What is fetched at once: uncompressed bytes of chunks, bytes of the archive.
const CHUNK_BYTES: i64 = 1024 * 1024;
const ARCHIVE_BYTES: u64 = 1024 * 1024;

/// One job's log, for one caller.
pub struct Store {
    pub state: AppState,
    pub auth: Lasting,
    pub job: JobId,
    /// Index of the attempt that is being read, once it was needed.
    index: Option<(u32, Option<Archive>)>,
}

/// The job and one attempt as they are, and what of the log was fetched with them.
pub struct Look {
    pub view: View,
    pub frames: Option<Frames>,
}

impl Store {
    pub fn new(state: AppState, auth: Lasting, job: JobId) -> Self {
        Self { state, auth, job, index: None }
    }

    /// Looks, and fetches lines behind `at` if there are any. `None`: there is no such job.
    ///
    /// `since`: no line before the first that is as young. Without frames, though lines are kept: none of them is.
    pub async fn look(&mut self, at: Cursor, since: Option<OffsetDateTime>) -> ApiResult<Option<Look>> {
        let mut tx = self.state.db.tenant(self.auth.org).await?;
        let Some(view) = logs::view(&mut tx, self.job, at.attempt, &self.auth.reach).await? else { return Ok(None) };
        let attempt = AttemptId { job: self.job, number: at.attempt };
        let wanted = view.attempt.as_ref().filter(|found| found.kept > at.seq && !view.purged);
        let mut stored = Vec::new();
        if let Some(found) = wanted {
            if !found.archived {
                // With a time, one chunk: it is the first that matters, what follows is wanted whatever its time.
                let budget = if since.is_some() { 1 } else { CHUNK_BYTES };
                stored = logs::frames(&mut tx, attempt, at.seq + 1, since, budget).await?;
            } else if self.index.as_ref().is_none_or(|(number, _)| *number != at.attempt) {
                self.index = Some((at.attempt, logs::archive(&mut tx, attempt).await?));
            }
        }
        tx.commit().await?;
        let frames = match wanted {
            Some(found) if found.archived => self.archived(at, since).await?,
            _ => joined(stored),
        };
        Ok(Some(Look { view, frames }))
    }

    async fn archived(&self, at: Cursor, since: Option<OffsetDateTime>) -> ApiResult<Option<Frames>> {
        let Some((_, Some(archive))) = &self.index else { return Ok(None) };
        let Some(part) = archive.part(at.seq + 1, since, ARCHIVE_BYTES) else { return Ok(None) };
        let object = self.state.s3.get(&archive.key, Some(part.range.clone())).await?;
        let object = object.ok_or_else(|| ApiError::Storage(format!("`{}` is gone", archive.key)))?;
        let bytes = collected(object, part.range.end - part.range.start).await?;
        Ok(Some(Frames { first_seq: part.first_seq, count: part.count, bytes }))
    }
}

fn joined(stored: Vec<logs::StoredFrame>) -> Option<Frames> {
    let first_seq = stored.first()?.first_seq.cast_unsigned();
    let count = stored.iter().map(|frame| u64::from(frame.count.cast_unsigned())).sum();
    let mut bytes = BytesMut::with_capacity(stored.iter().map(|frame| frame.frame.len()).sum());
    for frame in stored {
        bytes.extend_from_slice(&frame.frame);
    }
    Some(Frames { first_seq, count, bytes: bytes.freeze() })
}

async fn collected(object: Object, length: u64) -> ApiResult<Bytes> {
    let failed = |why: String| ApiError::Storage(format!("an archived log could not be read: {why}"));
    let (mut out, mut body) = (BytesMut::new(), object.body);
    while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        out.extend_from_slice(&frame.map_err(|error| failed(error.to_string()))?.into_data().unwrap_or_default());
        if out.len() as u64 > length {
            break;
        }
    }
    if out.len() as u64 == length { Ok(out.freeze()) } else { Err(failed(format!("{} of {length} bytes", out.len()))) }
}
