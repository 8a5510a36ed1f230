//! Numbers lines and keeps them until the control plane has them.
//!
//! A line gets its number and its place in one step, so that the order of numbers is the order of bytes over all streams.
//! When the spool is full the producer waits, and so the agent's pipe is not read: nothing is dropped. What ckrv itself
//! says of the job never waits; a share of the spool is kept free for it.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ckrv_types::limits::{BATCH_LINES, LINE_BYTES};
use ckrv_types::log::Stream;
use memchr::{memchr_iter, memrchr};
use time::OffsetDateTime;
use tokio::sync::Notify;

use super::activity::Activity;
use super::encode::{bound, encode, stamp};
use super::lines::Lines;
use super::ring::Ring;

/// Encoded lines are written in pieces of about this size.
const PIECE: usize = 128 * 1024;
/// Kept free for system lines.
const RESERVE: u64 = 1024 * 1024;
/// The smallest spool: the reserve, and room for a few of the longest lines.
pub const MIN_CAPACITY: u64 = RESERVE + 4 * bound(LINE_BYTES) as u64;
/// Most of a batch before compression: far below the protocol's limit, so that memory stays small.
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Where the spool's disk failed.
#[derive(Debug, thiserror::Error)]
#[error("the log's spool cannot be {0}")]
pub struct SpoolError(&'static str, #[source] io::Error);

/// The lines of one attempt that are not acknowledged yet.
#[derive(Debug)]
pub struct Spool {
    inner: Mutex<Inner>,
    /// Lines came, or the end was declared.
    readable: Notify,
    /// Lines went.
    space: Notify,
}

#[derive(Debug)]
struct Inner {
    ring: Ring,
    /// The number of the first line in the ring, and of the next one made.
    first_seq: u64,
    next_seq: u64,
    closed: bool,
    /// Nobody will take lines any more: they are numbered and let go.
    discarding: bool,
    scratch: Vec<u8>,
}

/// The oldest lines, as the sender takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub first_seq: u64,
    pub count: u64,
}

/// What the sender finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    Batch(Batch),
    /// Nothing now.
    Empty,
    /// Nothing, and nothing will come.
    End,
}

/// The control plane asks for lines that were acknowledged before, or acknowledges some that were never made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the control plane expects line {expected}, but this worker holds {first} to {last}")]
pub struct Diverged {
    pub expected: u64,
    pub first: u64,
    pub last: u64,
}

impl Spool {
    /// Keeps at most `capacity` bytes (at least [`MIN_CAPACITY`]) in a nameless file below `dir`; the first line gets
    /// number `first_seq`.
    pub fn create(dir: &Path, capacity: u64, first_seq: u64) -> Result<Self, SpoolError> {
        let ring = Ring::create(dir, capacity.max(MIN_CAPACITY)).map_err(|error| SpoolError("created", error))?;
        let inner =
            Inner { ring, first_seq, next_seq: first_seq, closed: false, discarding: false, scratch: Vec::new() };
        Ok(Self { inner: Mutex::new(inner), readable: Notify::new(), space: Notify::new() })
    }

    /// Appends the agent's lines, and waits for room where there is none; `activity` stands still meanwhile.
    pub async fn append(&self, stream: Stream, lines: &Lines, activity: &Activity) -> Result<(), SpoolError> {
        let mut lines = lines.iter().peekable();
        let mut waited = None;
        while lines.peek().is_some() {
            // Registered before looking, so that room made in between is not missed.
            let space = self.space.notified();
            let before = lines.len();
            self.lock().append(stream, &mut lines, RESERVE)?;
            if lines.len() < before {
                self.readable.notify_one();
            }
            if lines.peek().is_some() {
                waited.get_or_insert_with(|| activity.pause());
                space.await;
            }
        }
        Ok(())
    }

    /// Appends what ckrv says itself. Never waits.
    pub fn append_system(&self, lines: &Lines) -> Result<(), SpoolError> {
        let mut lines = lines.iter().peekable();
        self.lock().append(Stream::System, &mut lines, 0)?;
        self.readable.notify_one();
        if lines.peek().is_some() {
            // Only after thousands of them without one acknowledgement.
            tracing::error!("no room in the log's spool for a line of ckrv's own");
        }
        Ok(())
    }

    /// The number of the last line made; 0: none was.
    pub fn last_seq(&self) -> u64 {
        self.lock().next_seq - 1
    }

    /// No line will be appended after this.
    pub fn close(&self) {
        self.lock().closed = true;
        self.readable.notify_one();
    }

    /// Lets go of all lines, those to come too: producers never wait again.
    pub fn discard(&self) {
        let mut inner = self.lock();
        inner.discarding = true;
        let all = inner.ring.len();
        inner.ring.consume(all);
        inner.first_seq = inner.next_seq;
        drop(inner);
        self.space.notify_waiters();
    }

    /// Reads the oldest lines into `out`, as many as one append may carry; they stay until acknowledged.
    pub fn peek(&self, out: &mut Vec<u8>) -> Result<Peek, SpoolError> {
        let inner = self.lock();
        if inner.ring.len() == 0 {
            return Ok(if inner.closed { Peek::End } else { Peek::Empty });
        }
        inner.ring.read(BATCH_BYTES, out).map_err(|error| SpoolError("read", error))?;
        let first_seq = inner.first_seq;
        drop(inner);
        let count = truncate_to_lines(out);
        Ok(Peek::Batch(Batch { first_seq, count }))
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Bytes that wait.
    pub fn backlog(&self) -> u64 {
        self.lock().ring.len()
    }

    /// Ends when there may be something new to [`Spool::peek`] at. For one caller at a time.
    pub async fn readable(&self) {
        self.readable.notified().await;
    }

    /// The control plane has everything before line `next_seq`; `batch` with its `bytes` is what was last peeked at.
    pub fn acknowledge(&self, batch: Batch, bytes: &[u8], next_seq: u64) -> Result<(), Diverged> {
        let mut inner = self.lock();
        if inner.discarding {
            return Ok(());
        }
        if next_seq < inner.first_seq || next_seq > inner.next_seq {
            let (first, last) = (inner.first_seq, inner.next_seq - 1);
            return Err(Diverged { expected: next_seq, first, last });
        }
        let count = next_seq.min(batch.first_seq + batch.count) - batch.first_seq;
        inner.ring.consume(lines_len(bytes, count));
        inner.first_seq += count;
        drop(inner);
        self.space.notify_waiters();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes lines as long as there is room for them and `reserve` bytes.
    fn append<'a>(
        &mut self,
        stream: Stream,
        lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
        reserve: u64,
    ) -> Result<(), SpoolError> {
        let stamp = stamp(OffsetDateTime::now_utc());
        let mut room = self.ring.free().saturating_sub(reserve);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let mut seq = self.next_seq;
        while let Some(text) = lines.next_if(|text| self.discarding || bound(text.len()) as u64 <= room) {
            if !self.discarding {
                let before = scratch.len();
                encode(&mut scratch, seq, &stamp, stream, text);
                room -= (scratch.len() - before) as u64;
            }
            seq += 1;
            if scratch.len() >= PIECE {
                self.write(&mut scratch, seq)?;
            }
        }
        self.write(&mut scratch, seq)?;
        self.scratch = scratch;
        Ok(())
    }

    /// Writes whole lines, and only then counts them.
    fn write(&mut self, scratch: &mut Vec<u8>, next_seq: u64) -> Result<(), SpoolError> {
        self.ring.write(scratch).map_err(|error| SpoolError("written", error))?;
        self.next_seq = next_seq;
        if self.discarding {
            self.first_seq = next_seq;
        }
        scratch.clear();
        Ok(())
    }
}

/// Cuts `bytes` to whole lines, as many as one append may have, and counts them.
fn truncate_to_lines(bytes: &mut Vec<u8>) -> u64 {
    bytes.truncate(memrchr(b'\n', bytes).map_or(0, |at| at + 1));
    match memchr_iter(b'\n', bytes).nth(BATCH_LINES - 1) {
        Some(last) => {
            bytes.truncate(last + 1);
            BATCH_LINES as u64
        }
        None => memchr_iter(b'\n', bytes).count() as u64,
    }
}

/// Bytes of the first `count` lines.
fn lines_len(bytes: &[u8], count: u64) -> u64 {
    let Some(last) = usize::try_from(count).ok().and_then(|count| count.checked_sub(1)) else { return 0 };
    memchr_iter(b'\n', bytes).nth(last).map_or(bytes.len(), |at| at + 1) as u64
}
