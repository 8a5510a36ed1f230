//! What the control plane is told: each observation once, in order, repeated by the sender until it is heard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ckrv_types::AttemptId;
use ckrv_types::runner::{Observation, Phase};
use tokio::sync::mpsc;

/// An end that is still wanted after this long is told again: the control plane may not have taken it.
const AGAIN: Duration = Duration::from_secs(30);

/// The way to the sender. Clones are the same.
#[derive(Clone)]
pub struct Reports {
    told: Arc<Mutex<HashMap<AttemptId, (Observation, Instant)>>>,
    sender: mpsc::UnboundedSender<Observation>,
}

impl Reports {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Observation>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { told: Arc::default(), sender }, receiver)
    }

    /// Tells what is new.
    pub fn tell(&self, observation: Observation) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = told.get(&observation.attempt).is_some_and(|(before, at)| {
            *before == observation && (observation.phase != Phase::Ended || at.elapsed() < AGAIN)
        });
        if is_known {
            return;
        }
        told.insert(observation.attempt, (observation.clone(), Instant::now()));
        // Closed only when the operator is ending.
        let _ = self.sender.send(observation);
    }

    /// Forgets what was told of other attempts.
    pub fn retain(&self, wanted: impl Fn(AttemptId) -> bool) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).retain(|attempt, _| wanted(*attempt));
    }
}

#[cfg(test)]
mod tests {
    use ckrv_types::JobId;

    use super::*;

    fn waiting(attempt: AttemptId, message: &str) -> Observation {
        Observation {
            attempt,
            phase: Phase::Waiting,
            cause: None,
            exit_code: None,
            message: Some(message.to_owned()),
            node: None,
        }
    }

    #[test]
    fn what_was_told_is_not_told_again_until_something_else_was() {
        let (reports, mut sent) = Reports::new();
        let attempt = AttemptId { job: JobId::new(), number: 1 };
        for message in ["a", "a", "b", "b", "a"] {
            reports.tell(waiting(attempt, message));
        }
        let mut messages = Vec::new();
        while let Ok(observation) = sent.try_recv() {
            messages.push(observation.message.unwrap());
        }
        assert_eq!(messages, ["a", "b", "a"]);
    }

    #[test]
    fn nothing_is_remembered_of_attempts_that_are_over() {
        let (reports, mut sent) = Reports::new();
        let attempt = AttemptId { job: JobId::new(), number: 1 };
        reports.tell(waiting(attempt, "a"));
        reports.retain(|_| false);
        reports.tell(waiting(attempt, "a"));
        assert!(sent.try_recv().is_ok() && sent.try_recv().is_ok() && sent.try_recv().is_err());
    }
}
