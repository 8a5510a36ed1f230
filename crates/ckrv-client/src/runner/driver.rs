//! The loops that every runner keeps with the control plane, whatever it runs attempts in.
//!
//! 1. Register, as long as it takes ([`Driver::register`]).
//! 2. Beat: say what is held, hear what to stop and what to forget ([`Driver::beat`]).
//! 3. Follow the list of assignments: each list is the whole truth ([`Driver::follow`]).
//! 4. Tell what was seen, in order, until it is heard ([`Driver::report`]).
//!
//! Each ends only when the control plane refuses the runner for good. What attempts run in is the [`Host`]'s business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ckrv_types::AttemptId;
use ckrv_types::limits::ASSIGNMENTS_WAIT_SECONDS;
use ckrv_types::runner::{Assignments, Observation, Observations, Offer, Register, Registered, RunnerHeartbeat};
use tokio::sync::{mpsc, oneshot};

use super::RunnerClient;
use crate::{Backoff, ClientError};

/// Told at once, at most.
const OBSERVATIONS: usize = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A list costs both sides by its length: so long is waited for each of its items before the next one is asked for, so that
/// of a rush of changes only a few lists are made. A change after a quiet time waits for nothing.
const PAUSE_PER_ITEM: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What executes attempts. No call may wait: each says what should be, and the host brings it about.
pub trait Host: Send + Sync {
    fn offer(&self) -> Offer;
    /// Every attempt that there is anything of.
    fn held(&self) -> Vec<AttemptId>;
    /// All that should be running, and nothing else; and whose jobs may be handed in.
    fn assigned(&self, list: Assignments);
    /// Held attempts to stop now.
    fn stop(&self, attempts: &[AttemptId]);
    /// Held attempts that the control plane knows nothing of, or nothing any more.
    fn forget(&self, attempts: &[AttemptId]);
}

/// The loops of one runner. Clones are the same.
pub struct Driver<H> {
    client: RunnerClient,
    instance: String,
    host: H,
    draining: Arc<AtomicBool>,
}

impl<H: Clone> Clone for Driver<H> {
    fn clone(&self) -> Self {
        let draining = Arc::clone(&self.draining);
        Self { client: self.client.clone(), instance: self.instance.clone(), host: self.host.clone(), draining }
    }
}

impl<H: Host> Driver<H> {
    /// `instance`: what the token is bound to, such as a machine's or cluster's id.
    pub fn new(client: RunnerClient, instance: String, host: H) -> Self {
        Self { client, instance, host, draining: Arc::default() }
    }

    /// From now on no room is offered.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Until it is registered, or refused for good.
    pub async fn register(&self) -> Result<Registered, ClientError> {
        let mut backoff = Backoff::for_requests();
        loop {
            let register = Register { instance: self.instance.clone(), offer: self.offer() };
            match self.client.register(&register).await {
                Err(error) if !error.is_final() => pause(&mut backoff, &error, "not registered yet").await,
                answer => return answer,
            }
        }
    }

    /// Beats until it is refused.
    pub async fn beat(&self, every: Duration) -> ClientError {
        let mut backoff = Backoff::new(FIRST_PAUSE, every);
        loop {
            match self.client.heartbeat(&self.heartbeat()).await {
                Ok(answer) => {
                    self.host.stop(&answer.stop);
                    self.host.forget(&answer.forget);
                    backoff = Backoff::new(FIRST_PAUSE, every);
                    tokio::time::sleep(every).await;
                }
                Err(error) if error.is_final() => return error,
                Err(error) => pause(&mut backoff, &error, "a beat did not arrive").await,
            }
        }
    }

    /// Says once more what is held, and that no room is left.
    pub async fn farewell(&self) -> Result<(), ClientError> {
        self.drain();
        self.client.heartbeat(&self.heartbeat()).await.map(drop)
    }

    /// Follows the list of assignments until it is refused.
    pub async fn follow(&self) -> ClientError {
        let mut backoff = Backoff::for_requests();
        let wait = Duration::from_secs(ASSIGNMENTS_WAIT_SECONDS);
        let mut version = None;
        loop {
            match self.client.assignments(wait, version).await {
                Ok(assignments) => {
                    version = Some(assignments.version);
                    let items = u32::try_from(assignments.items.len()).unwrap_or(u32::MAX);
                    self.host.assigned(assignments);
                    backoff = Backoff::for_requests();
                    tokio::time::sleep(PAUSE_PER_ITEM.saturating_mul(items).min(LONGEST_PAUSE)).await;
                }
                Err(error) if error.is_final() => return error,
                Err(error) => pause(&mut backoff, &error, "no list of assignments").await,
            }
        }
    }

    /// Tells what was `seen`, in order, until it is heard; ends when it is told to be `closing` and nothing is left to tell.
    pub async fn report(&self, mut seen: mpsc::UnboundedReceiver<Observation>, mut closing: oneshot::Receiver<()>) {
        let mut items = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = seen.recv_many(&mut items, OBSERVATIONS) => if count == 0 { return },
                _ = &mut closing, if !seen.is_closed() => {
                    seen.close();
                    continue;
                }
            }
            self.tell(std::mem::take(&mut items)).await;
        }
    }

    async fn tell(&self, items: Vec<Observation>) {
        let mut backoff = Backoff::for_requests();
        let observations = Observations { instance: self.instance.clone(), items };
        while let Err(error) = self.client.observations(&observations).await {
            if error.is_final() {
                tracing::warn!(%error, "observations are refused");
                return;
            }
            pause(&mut backoff, &error, "observations not heard yet").await;
        }
    }

    fn offer(&self) -> Offer {
        let offer = self.host.offer();
        if self.draining.load(Ordering::Relaxed) { Offer { capacity: 0, ..offer } } else { offer }
    }

    fn heartbeat(&self) -> RunnerHeartbeat {
        RunnerHeartbeat { instance: self.instance.clone(), offer: self.offer(), holding: self.host.held() }
    }
}

async fn pause(backoff: &mut Backoff, error: &ClientError, what: &str) {
    tracing::warn!(%error, "{what}");
    tokio::time::sleep(backoff.pause(error.retry_after())).await;
}
