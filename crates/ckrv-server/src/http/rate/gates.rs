//! What keeps a caller that sends too much from slowing everybody else down.
//!
//! Of a bucket's requests one at a time asks the database, so that the others wait here and not there, where each would have
//! one of few connections; and it asks for all that wait. What the database refused is refused here until it would grant again. And
//! a refusal is held back for a moment: who asks again as soon as it is answered asks less often.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A refusal holds for so long at most without asking again: the limit may have been raised meanwhile.
const BELIEVED: Duration = Duration::from_secs(1);
/// So many requests are charged for at once at most.
const AT_ONCE: u32 = 64;
/// How long a refusal is held back …
const HELD_BACK: Duration = Duration::from_millis(250);
/// … the longer, the more of one bucket are: so much for each …
const FOR_EACH: Duration = Duration::from_millis(20);
/// … and so long at most.
const HELD_BACK_AT_MOST: Duration = Duration::from_secs(2);
/// So many are held back at once, of all buckets; each is an open connection.
const HELD: usize = 2000;

/// How far ahead of its time a bucket is now; or how long until a request is granted again.
type Charged = Result<Duration, Duration>;

/// The gates of all buckets that are asked for.
pub struct Gates {
    by_bucket: Mutex<HashMap<String, Arc<Bucket>>>,
    held: Semaphore,
}

/// A bucket, and the requests that wait for each other.
#[derive(Default)]
struct Bucket {
    gate: tokio::sync::Mutex<Gate>,
    waiting: AtomicU32,
    /// Refusals that are held back.
    held: AtomicU32,
}

/// What is known of a bucket.
#[derive(Default)]
struct Gate {
    /// Nothing is granted until then.
    shut_until: Option<Instant>,
    /// Requests that have been charged for and have not come yet, and how far ahead of its time the bucket is with all of them.
    paid: u32,
    ahead: Duration,
    /// When this has to be asked for again.
    believed_until: Option<Instant>,
}

impl Default for Gates {
    fn default() -> Self {
        Self { by_bucket: Mutex::default(), held: Semaphore::new(HELD) }
    }
}

impl Gates {
    /// Charges one request to the bucket, at `interval` each within `allowance`, when it is its turn. `charge` has the database charge
    /// for so much.
    pub async fn charge<E, F>(
        &self,
        bucket: &str,
        interval: Duration,
        allowance: Duration,
        charge: impl Fn(Duration) -> F,
    ) -> Result<Charged, E>
    where
        F: Future<Output = Result<Charged, E>>,
    {
        let bucket = self.bucket(bucket);
        let waits = Counted::new(&bucket.waiting);
        let mut gate = bucket.gate.lock().await;
        drop(waits);
        if let Some(known) = gate.known(interval) {
            return Ok(known);
        }
        // This one and those behind it; never more than an empty bucket would grant.
        let fit = allowance.as_nanos() / interval.as_nanos().max(1);
        let all = (1 + bucket.waiting.load(Ordering::Relaxed))
            .min(AT_ONCE)
            .min(u32::try_from(fit).unwrap_or(u32::MAX))
            .max(1);
        if all > 1
            && let Ok(ahead) = charge(interval * all).await?
        {
            gate.prepay(all, ahead);
            return Ok(gate.known(interval).unwrap_or(Ok(ahead)));
        }
        let charged = charge(interval).await?;
        if let Err(wait) = charged {
            gate.close(wait);
        }
        Ok(charged)
    }

    /// Before somebody is told that they are refused.
    pub async fn hold_back(&self, bucket: &str) {
        let Ok(_held) = self.held.try_acquire() else { return };
        let bucket = self.bucket(bucket);
        let _counted = Counted::new(&bucket.held);
        tokio::time::sleep(held_back(bucket.held.load(Ordering::Relaxed))).await;
    }

    /// Forgets those that nobody is at and of which nothing is known.
    pub fn forget_idle(&self) {
        let knows = |bucket: &Bucket| bucket.gate.try_lock().map_or(true, |gate| gate.knows());
        let mut gates = self.lock();
        gates.retain(|_, bucket| Arc::strong_count(bucket) > 1 || knows(bucket));
        gates.shrink_to_fit();
    }

    fn bucket(&self, name: &str) -> Arc<Bucket> {
        Arc::clone(self.lock().entry(name.to_owned()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Bucket>>> {
        self.by_bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a refusal is held back that is one of so many.
fn held_back(of: u32) -> Duration {
    FOR_EACH.saturating_mul(of).clamp(HELD_BACK, HELD_BACK_AT_MOST)
}

/// One more, until it is dropped.
struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    fn knows(&self) -> bool {
        self.believed_until.is_some_and(|until| until > Instant::now())
    }

    /// What becomes of one more request, as far as that is known without asking.
    fn known(&mut self, interval: Duration) -> Option<Charged> {
        if !self.knows() {
            return None;
        }
        if self.paid > 0 {
            self.paid -= 1;
            return Some(Ok(self.ahead.saturating_sub(interval * self.paid)));
        }
        let left = self.shut_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(Err(left))
    }

    /// So many have been charged for.
    fn prepay(&mut self, count: u32, ahead: Duration) {
        *self = Self { shut_until: None, paid: count, ahead, believed_until: Some(Instant::now() + BELIEVED) };
    }

    /// The database grants nothing for so long.
    fn close(&mut self, wait: Duration) {
        let now = Instant::now();
        let believed_until = Some(now + wait.min(BELIEVED));
        *self = Self { shut_until: Some(now + wait), believed_until, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Notify;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);

    /// A database of one bucket that has room for so many seconds; what it was asked for.
    struct Room {
        left: Mutex<Duration>,
        asked: Mutex<Vec<Duration>>,
    }

    impl Room {
        fn new(seconds: u64) -> Self {
            Self { left: Mutex::new(SECOND * u32::try_from(seconds).unwrap()), asked: Mutex::default() }
        }

        fn charge(&self, cost: Duration) -> Charged {
            self.asked.lock().unwrap().push(cost);
            let mut left = self.left.lock().unwrap();
            *left = left.checked_sub(cost).ok_or(MINUTE)?;
            Ok(MINUTE.saturating_sub(*left))
        }

        fn asked(&self) -> Vec<u64> {
            self.asked.lock().unwrap().iter().map(Duration::as_secs).collect()
        }
    }

    async fn charge(gates: &Gates, room: &Room) -> Charged {
        gates.charge("a", SECOND, MINUTE, |cost| async move { Ok::<_, ()>(room.charge(cost)) }).await.unwrap()
    }

    #[tokio::test]
    async fn what_was_refused_is_refused_until_it_would_be_granted_and_for_a_second_at_most() {
        let (gates, room) = (Gates::default(), Room::new(0));
        assert_eq!(charge(&gates, &room).await, Err(MINUTE));
        let left = charge(&gates, &room).await.unwrap_err();
        assert!(left > MINUTE.saturating_sub(SECOND) && room.asked() == [1], "{left:?}");
        let bucket = Arc::clone(&gates.lock()["a"]);
        bucket.gate.lock().await.believed_until = Some(Instant::now());
        assert_eq!(charge(&gates, &room).await, Err(MINUTE), "the database is asked again");
        assert_eq!(room.asked(), [1, 1]);
    }

    #[tokio::test]
    async fn whoever_asks_asks_for_all_that_wait_and_one_by_one_where_not_all_have_room() {
        let (gates, room, go) = (Gates::default(), Room::new(7), Notify::new());
        let first = gates.charge("a", SECOND, MINUTE, |cost| {
            let (go, room) = (&go, &room);
            async move {
                go.notified().await;
                Ok::<_, ()>(room.charge(cost))
            }
        });
        let rest = async {
            let five = futures::future::join_all((0..5).map(|_| charge(&gates, &room)));
            let (five, ()) = tokio::join!(five, async { go.notify_one() });
            five
        };
        let (first, five) = tokio::join!(first, rest);
        let ahead: Vec<u64> = five.into_iter().map(|each| each.unwrap().as_secs()).collect();
        assert_eq!((first.unwrap().unwrap().as_secs(), ahead), (54, vec![55, 56, 57, 58, 59]));
        assert_eq!(room.asked(), [1, 5], "twice for six");

        let last = futures::future::join_all((0..3).map(|_| charge(&gates, &room))).await;
        assert_eq!(last.iter().filter(|each| each.is_ok()).count(), 1, "{last:?}");
    }

    #[tokio::test]
    async fn refusals_are_held_back_the_longer_the_more_there_are_of_one_bucket() {
        assert_eq!((held_back(1), held_back(50), held_back(u32::MAX)), (HELD_BACK, SECOND, HELD_BACK_AT_MOST));
        let gates = Gates::default();
        let held = |name: &str| gates.bucket(name).held.load(Ordering::Relaxed);
        let mut refused =
            Box::pin(futures::future::join3(gates.hold_back("a"), gates.hold_back("a"), gates.hold_back("b")));
        assert!(futures::poll!(&mut refused).is_pending());
        assert_eq!((held("a"), held("b")), (2, 1));
        drop(refused);
        assert_eq!((held("a"), held("b")), (0, 0));
    }

    #[tokio::test]
    async fn gates_at_which_nobody_is_and_of_which_nothing_is_known_are_forgotten() {
        let (gates, room) = (Gates::default(), Room::new(0));
        assert_eq!(charge(&gates, &room).await, Err(MINUTE));
        let open = gates.charge("open", SECOND, MINUTE, |_| async { Ok::<_, ()>(Ok(SECOND)) });
        assert_eq!(open.await.unwrap(), Ok(SECOND));
        let _someone = Arc::clone(gates.lock().entry("busy".to_owned()).or_default());
        gates.forget_idle();
        let mut known: Vec<_> = gates.lock().keys().cloned().collect();
        known.sort();
        assert_eq!(known, ["a", "busy"]);
    }
}
