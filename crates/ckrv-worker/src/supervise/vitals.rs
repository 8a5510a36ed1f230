//! What the worker tells of itself with each beat.

use ckrv_types::usage::Usage;
use ckrv_types::worker::WorkerPhase;
use tokio::sync::watch;

/// Phase and usage, written by whoever knows, read by the heartbeat. Clones are the same.
#[derive(Debug, Clone)]
pub struct Vitals(watch::Sender<State>);

#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub phase: WorkerPhase,
    pub usage: Option<Usage>,
}

impl Vitals {
    pub fn new() -> Self {
        Self(watch::Sender::new(State { phase: WorkerPhase::Starting, usage: None }))
    }

    /// The next phase; it is told at once.
    pub fn enter(&self, phase: WorkerPhase) {
        self.0.send_modify(|state| state.phase = phase);
    }

    /// Told with the next beat, joined with what was known.
    pub fn count(&self, usage: Usage) {
        self.0.send_if_modified(|state| {
            state.usage = Some(match state.usage.take() {
                Some(known) => known.joined(usage),
                None => usage,
            });
            false
        });
    }

    pub fn now(&self) -> State {
        self.0.borrow().clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}

impl Default for Vitals {
    fn default() -> Self {
        Self::new()
    }
}
