//! What comes to an attempt from outside its agent: reasons to end it, and what its runner has seen of it.

use ckrv_types::worker::Outcome;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why the agent is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The user cancelled the job.
    Cancel,
    /// This process was told to end (SIGTERM): its place is needed, the job may be tried elsewhere.
    Told,
    /// Whoever runs the runner ends it, and its jobs with it (SIGINT).
    Abandoned,
    RunLimit,
    IdleLimit,
    /// The model's cost has reached the job's budget.
    Budget,
    /// It has said its last word and does not exit. `ok`: it thinks that it succeeded.
    Finished {
        ok: bool,
    },
    /// The agent's files take this many bytes, more than their quota.
    Disk {
        used: u64,
    },
    /// The log cannot be kept: the spool's disk failed.
    Spool,
}

/// Shared by all who watch over an attempt: any of them can stop the agent, the first one gives the reason.
#[derive(Debug, Clone)]
pub struct Control {
    stop: watch::Sender<Option<Stop>>,
    noted: watch::Sender<Option<Outcome>>,
    over: CancellationToken,
}

impl Control {
    pub fn new() -> Self {
        Self { stop: watch::Sender::new(None), noted: watch::Sender::new(None), over: CancellationToken::new() }
    }

    /// Stops the agent gracefully; what it did so far is collected.
    pub fn stop(&self, reason: Stop) {
        self.stop.send_if_modified(|stop| {
            let is_first = stop.is_none();
            stop.get_or_insert(reason);
            is_first
        });
    }

    pub fn reason(&self) -> Option<Stop> {
        *self.stop.borrow()
    }

    /// Ends once there is a reason to stop.
    pub async fn stopped(&self) -> Stop {
        first(&self.stop).await
    }

    /// The runner has seen from outside why something of the attempt ends.
    pub fn note(&self, outcome: Outcome) {
        self.noted.send_replace(Some(outcome));
    }

    /// Ends once the runner has seen something.
    pub async fn noted(&self) -> Outcome {
        first(&self.noted).await
    }

    /// The control plane has ended the attempt: nothing of it is wanted any more.
    pub fn set_over(&self) {
        self.over.cancel();
    }

    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    pub async fn over(&self) {
        self.over.cancelled().await;
    }
}

async fn first<T: Clone>(value: &watch::Sender<Option<T>>) -> T {
    let mut changes = value.subscribe();
    loop {
        if let Some(value) = changes.borrow_and_update().clone() {
            return value;
        }
        if changes.changed().await.is_err() {
            // Not while the sender is borrowed.
            std::future::pending::<()>().await;
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_to_stop_stays() {
        let control = Control::new();
        let waiting = tokio::spawn({
            let control = control.clone();
            async move { control.stopped().await }
        });
        control.stop(Stop::IdleLimit);
        control.stop(Stop::Cancel);
        assert_eq!(waiting.await.unwrap(), Stop::IdleLimit);
        assert_eq!(control.reason(), Some(Stop::IdleLimit));
        assert!(!control.is_over());
    }
}
