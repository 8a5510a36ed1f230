//! What keeps a caller that sends too much from slowing everybody else down.
//!
//! Of a bucket's requests one at a time asks the database, so that the others wait here and not there, where each would have
//! one of few connections. What the database refused is refused here until it would grant again. And a refusal is held back
//! for a moment: who asks again as soon as it is answered asks less often.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::time::Instant;

/// A refusal holds for so long at most without asking again: the limit may have been raised meanwhile.
const BELIEVED: Duration = Duration::from_secs(1);
/// How long a refusal is held back …
const HELD_BACK: Duration = Duration::from_millis(250);
/// … of so many at once; each is an open connection.
const HELD: usize = 2000;

/// The gates of all buckets that are asked for.
pub struct Gates {
    by_bucket: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Gate>>>>,
    held: Semaphore,
}

/// One bucket's.
#[derive(Default)]
pub struct Gate(Option<Shut>);

#[derive(Clone, Copy)]
struct Shut {
    until: Instant,
    believed_until: Instant,
}

impl Default for Gates {
    fn default() -> Self {
        Self { by_bucket: Mutex::default(), held: Semaphore::new(HELD) }
    }
}

impl Gates {
    /// The bucket's gate, when it is this request's turn; the next one's comes when it is dropped.
    pub async fn of(&self, bucket: &str) -> OwnedMutexGuard<Gate> {
        let gate = Arc::clone(self.lock().entry(bucket.to_owned()).or_default());
        gate.lock_owned().await
    }

    /// Before somebody is told that they are refused.
    pub async fn hold_back(&self) {
        if let Ok(_held) = self.held.try_acquire() {
            tokio::time::sleep(HELD_BACK).await;
        }
    }

    /// Forgets those that nobody is at and that are open.
    pub fn forget_idle(&self) {
        let is_shut = |gate: &tokio::sync::Mutex<Gate>| gate.try_lock().map_or(true, |gate| gate.shut().is_some());
        let mut gates = self.lock();
        gates.retain(|_, gate| Arc::strong_count(gate) > 1 || is_shut(gate));
        gates.shrink_to_fit();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Gate>>>> {
        self.by_bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// How long until a request is granted again, as far as that is known without asking.
    pub fn shut(&self) -> Option<Duration> {
        let now = Instant::now();
        let shut = self.0.filter(|shut| shut.believed_until > now)?;
        Some(shut.until - now).filter(|left| !left.is_zero())
    }

    /// The database grants nothing for so long.
    pub fn close(&mut self, wait: Duration) {
        let now = Instant::now();
        self.0 = Some(Shut { until: now + wait, believed_until: now + wait.min(BELIEVED) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_refused_is_refused_until_it_would_be_granted_and_for_a_second_at_most() {
        let gates = Gates::default();
        assert_eq!(gates.of("a").await.shut(), None);
        gates.of("a").await.close(Duration::from_millis(1));
        gates.of("b").await.close(Duration::from_secs(30));
        let left = gates.of("b").await.shut().expect("it was refused just now");
        assert!(left > Duration::from_secs(29), "{left:?}");
        gates.of("b").await.0.as_mut().expect("it is shut").believed_until = Instant::now();
        assert_eq!(gates.of("b").await.shut(), None, "the database is asked again");
        while gates.of("a").await.shut().is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn gates_at_which_nobody_is_and_that_are_open_are_forgotten() {
        let gates = Gates::default();
        drop(gates.of("open").await);
        gates.of("shut").await.close(Duration::from_secs(30));
        let _someone = gates.of("busy").await;
        gates.forget_idle();
        let mut known: Vec<_> = gates.lock().keys().cloned().collect();
        known.sort();
        assert_eq!(known, ["busy", "shut"]);
    }
}
