//! Carries lines from the spool to the control plane: at once when it is quiet, in large batches under load.
//!
//! One append is under way at a time and always begins with the oldest line that is not acknowledged, so that whatever
//! gets lost (a request, an answer, the server's own memory) is repaired by sending again.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use ckrv_client::worker::{AppendError, WorkerClient};
use ckrv_types::limits::BATCH_WIRE_BYTES;
use tokio::time::Instant;

use super::spool::{Batch, Diverged, Peek, Spool, SpoolError};
use crate::crash::crash_point;
use ckrv_client::Backoff;

/// Under load, lines gather this long between two appends …
const GATHER: Duration = Duration::from_millis(15);
/// … unless this many bytes wait already.
const ENOUGH: u64 = 256 * 1024;
/// Fast: the point is fewer bytes on the wire and in the database, at less cost than writing them.
const ZSTD_LEVEL: i32 = 1;

/// How the log came to its end.
#[derive(Debug)]
pub enum LogEnd {
    /// The spool was closed, and every line is durable.
    Delivered,
    /// The control plane ended the attempt and takes no more lines.
    Sealed { seq: u64 },
}

/// Why the rest of the log cannot be delivered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the control plane refuses the attempt's log")]
    Refused(#[source] AppendError),
    #[error(transparent)]
    Diverged(#[from] Diverged),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("cannot compress the log")]
    Compress(#[source] io::Error),
}

/// Sends until the spool is closed and empty, for as long as that takes. Whatever ends it early, producers are not left
/// waiting: the spool lets go of its lines then.
pub async fn send(spool: &Spool, client: &WorkerClient) -> Result<LogEnd, SendError> {
    let end = Sender { spool, client, bytes: Vec::new() }.run().await;
    if !matches!(end, Ok(LogEnd::Delivered)) {
        spool.discard();
    }
    end
}

struct Sender<'a> {
    spool: &'a Spool,
    client: &'a WorkerClient,
    /// The lines of the present batch.
    bytes: Vec<u8>,
}

impl Sender<'_> {
    async fn run(mut self) -> Result<LogEnd, SendError> {
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(SendError::Compress)?;
        let mut backoff = Backoff::for_requests();
        let mut last = None;
        loop {
            self.gather(last).await;
            let batch = match self.spool.peek(&mut self.bytes)? {
                Peek::Batch(batch) => batch,
                Peek::Empty => {
                    self.spool.readable().await;
                    continue;
                }
                Peek::End => return Ok(LogEnd::Delivered),
            };
            last = Some(Instant::now());
            let frame = compressor.compress(&self.bytes).map_err(SendError::Compress)?;
            debug_assert!(frame.len() <= BATCH_WIRE_BYTES);
            crash_point("worker.before-append");
            match self.append(batch, frame.into()).await? {
                Answer::Taken => backoff = Backoff::for_requests(),
                Answer::Sealed(seq) => return Ok(LogEnd::Sealed { seq }),
                Answer::Later(asked) => tokio::time::sleep(backoff.pause(asked)).await,
            }
        }
    }

    /// Lets a busy log's lines gather; a quiet one's first line goes at once.
    async fn gather(&self, last: Option<Instant>) {
        if let Some(last) = last
            && last.elapsed() < GATHER
            && self.spool.backlog() < ENOUGH
            && !self.spool.is_closed()
        {
            tokio::time::sleep_until(last + GATHER).await;
        }
    }

    async fn append(&self, batch: Batch, frame: Bytes) -> Result<Answer, SendError> {
        let next_seq = match self.client.append(batch.first_seq, frame).await {
            Ok(appended) => appended.next_seq,
            Err(AppendError::Gap { expected }) => expected,
            Err(AppendError::Sealed { seq }) => return Ok(Answer::Sealed(seq)),
            Err(AppendError::Client(error)) if error.is_final() => {
                return Err(SendError::Refused(AppendError::Client(error)));
            }
            Err(AppendError::Client(error)) => {
                tracing::warn!(first_seq = batch.first_seq, %error, "lines not delivered yet");
                return Ok(Answer::Later(error.retry_after()));
            }
        };
        crash_point("worker.after-append");
        self.spool.acknowledge(batch, &self.bytes, next_seq)?;
        Ok(Answer::Taken)
    }
}

enum Answer {
    Taken,
    Sealed(u64),
    /// Not now; the server may have said how long to wait.
    Later(Option<Duration>),
}
