//! The attempt's log: from the agent's pipes to numbered, redacted, durable lines at the control plane.
//!
//! 1. [`pump`] takes a stream's bytes; [`split`] (or an agent's own parser) makes lines of them.
//! 2. [`lines`] makes them well-formed text without secrets ([`redact`]) and of bounded length.
//! 3. [`spool`] numbers and [`encode`]s them into a bounded file (`ring`); when it is full, step 1 waits.
//! 4. [`sender`] carries them to the control plane until they are acknowledged.
//!
//! Knows nothing of agents, attempts and their states.

pub mod activity;
pub mod encode;
pub mod lines;
pub mod pump;
pub mod redact;
mod ring;
pub mod sender;
pub mod split;
pub mod spool;
#[cfg(test)]
mod spool_tests;

use std::path::Path;
use std::sync::Arc;

use activity::Activity;
use lines::Lines;
use redact::Redactor;
use spool::{Spool, SpoolError};

/// What everything that has something to say writes to. Clones write to the same log.
#[derive(Clone)]
pub struct Log {
    redactor: Arc<Redactor>,
    spool: Arc<Spool>,
    activity: Arc<Activity>,
}

impl Log {
    /// A log whose lines wait below `dir`, in at most `capacity` bytes, until they are sent; numbers begin at `first_seq`.
    pub fn create(redactor: Redactor, dir: &Path, capacity: u64, first_seq: u64) -> Result<Self, SpoolError> {
        let spool = Arc::new(Spool::create(dir, capacity, first_seq)?);
        Ok(Self { redactor: Arc::new(redactor), spool, activity: Arc::new(Activity::new()) })
    }

    /// Says something about the job, as ckrv itself. Never waits.
    pub fn system(&self, text: &str) {
        let mut lines = self.lines();
        lines.push_text(text);
        if let Err(error) = self.spool.append_system(&lines) {
            tracing::error!(%error, text, "a line of ckrv's own is lost");
        }
    }

    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// When the agent was last heard.
    pub fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    fn lines(&self) -> Lines {
        Lines::new(Arc::clone(&self.redactor))
    }
}
