//! Whose transaction is next. Connections are few, and an organization that asks for many at once must not have the others wait
//! behind all it asks for: those that wait are served in turn, and each has its share of the connections, whether the others use theirs at
//! the moment or not. What one of them does at once is bounded so, and what it holds up (a lock, a slow statement) holds up nobody else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ckrv_types::OrgId;
use tokio::sync::oneshot;

/// For so long, and up to twice as long, a share is kept for an organization that asks for nothing.
const LATELY: Duration = Duration::from_secs(1);

/// The places of a pool of connections.
#[derive(Clone)]
pub struct Turns(Arc<Mutex<Places>>);

struct Places {
    all: u32,
    free: u32,
    /// Those that share them.
    sharers: Sharers,
    /// Those that have or wait for a place.
    orgs: HashMap<OrgId, Standing>,
    /// Those that wait, each once, in the order of their turns.
    ring: VecDeque<OrgId>,
}

/// Those that have asked in this period, and in the one before.
struct Sharers {
    since: Instant,
    these: HashSet<OrgId>,
    before: HashSet<OrgId>,
}

#[derive(Default)]
struct Standing {
    held: u32,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// A place, until it is dropped.
pub struct Turn {
    turns: Turns,
    org: OrgId,
}

impl Turns {
    pub fn new(places: u32) -> Self {
        Self(Arc::new(Mutex::new(Places {
            all: places,
            free: places,
            sharers: Sharers { since: Instant::now(), these: HashSet::new(), before: HashSet::new() },
            orgs: HashMap::new(),
            ring: VecDeque::new(),
        })))
    }

    /// Waits until it is this organization's turn, and this request's within it. Whoever waits no more is passed over.
    pub async fn take(&self, org: OrgId) -> Turn {
        let (sender, receiver) = oneshot::channel();
        {
            let mut places = self.lock();
            places.sharers.note(org, Instant::now());
            let standing = places.orgs.entry(org).or_default();
            standing.waiting.push_back(sender);
            if standing.waiting.len() == 1 {
                places.ring.push_back(org);
            }
        }
        self.give();
        receiver.await.expect("a place is given in the end")
    }

    /// Gives the free places to those who wait.
    fn give(&self) {
        // Dropped behind the lock, which they take themselves.
        let mut unwanted = Vec::new();
        let mut places = self.lock();
        while let Some((org, sender)) = places.next() {
            if let Err(turn) = sender.send(Turn { turns: self.clone(), org }) {
                unwanted.push(turn);
            }
        }
        drop(places);
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Whoever is next, if there is a place for them, which they have from then on.
    fn next(&mut self) -> Option<(OrgId, oneshot::Sender<Turn>)> {
        while self.free > 0 {
            let share = self.share();
            let at = self.ring.iter().position(|org| self.orgs.get(org).is_some_and(|org| org.held < share))?;
            let org = self.ring.remove(at)?;
            let standing = self.orgs.get_mut(&org)?;
            let sender = std::iter::from_fn(|| standing.waiting.pop_front()).find(|sender| !sender.is_closed());
            if !standing.waiting.is_empty() {
                self.ring.push_back(org);
            }
            if let Some(sender) = sender {
                standing.held += 1;
                self.free -= 1;
                return Some((org, sender));
            }
            self.forget_idle(org);
        }
        None
    }

    /// So many places one organization may have: never more than half of them, for whoever comes next; and always some, so that it
    /// need not wait for one answer to ask the next question.
    fn share(&self) -> u32 {
        let least = (self.all / 16).max(2);
        (self.all / self.sharers.count()).min(self.all.div_ceil(2)).max(least)
    }

    fn put_back(&mut self, org: OrgId) {
        self.free += 1;
        if let Some(standing) = self.orgs.get_mut(&org) {
            standing.held -= 1;
        }
        self.forget_idle(org);
    }

    fn forget_idle(&mut self, org: OrgId) {
        if self.orgs.get(&org).is_some_and(|org| org.held == 0 && org.waiting.is_empty()) {
            self.orgs.remove(&org);
        }
    }
}

impl Sharers {
    fn note(&mut self, org: OrgId, now: Instant) {
        if now.duration_since(self.since) >= LATELY {
            let these = mem::take(&mut self.these);
            self.before = if now.duration_since(self.since) < 2 * LATELY { these } else { HashSet::new() };
            self.since = now;
        }
        self.these.insert(org);
    }

    /// At least one.
    fn count(&self) -> u32 {
        let count = self.these.len().max(self.before.len()).max(1);
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.lock().put_back(self.org);
        self.turns.give();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn polled<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn whoever_asks_for_many_has_half_and_the_others_wait_for_one_of_them_at_most() {
        let (turns, noisy, other, third) = (Turns::new(4), OrgId::new(), OrgId::new(), OrgId::new());
        let mut noise: Vec<_> = (0..6).map(|_| Box::pin(turns.take(noisy))).collect();
        let mut held: Vec<Turn> = noise.iter_mut().filter_map(|turn| polled(turn.as_mut())).collect();
        assert_eq!(held.len(), 2, "half of the places");
        let first = polled(pin!(turns.take(other))).expect("there is a place for others");
        let second = polled(pin!(turns.take(other))).expect("and one more");
        let mut waits = pin!(turns.take(third));
        assert!(polled(waits.as_mut()).is_none(), "all are taken");
        held.pop();
        let served = polled(waits.as_mut());
        let noisy_again = noise[2..].iter_mut().filter_map(|turn| polled(turn.as_mut())).count();
        assert!(served.is_none() && noisy_again == 1, "those who came first were first");
        drop((first, second));
        assert!(polled(waits.as_mut()).is_some());
    }

    #[test]
    fn organizations_that_wait_are_served_in_turn_however_many_each_asks_for() {
        let turns = Turns::new(2);
        let (noisy, quiet) = (OrgId::new(), OrgId::new());
        let (first, second) = (polled(pin!(turns.take(noisy))), polled(pin!(turns.take(OrgId::new()))));
        let mut noise: Vec<_> = (0..5).map(|_| Box::pin(turns.take(noisy))).collect();
        assert!(noise.iter_mut().all(|turn| polled(turn.as_mut()).is_none()));
        let mut waits = pin!(turns.take(quiet));
        assert!(polled(waits.as_mut()).is_none());
        drop(first);
        let one_of_the_noise = noise.iter_mut().find_map(|turn| polled(turn.as_mut()));
        assert!(one_of_the_noise.is_some() && polled(waits.as_mut()).is_none());
        drop(second);
        assert!(polled(waits.as_mut()).is_some(), "the rest of the noise waits behind");
    }

    #[test]
    fn the_more_there_are_the_less_each_has_until_the_others_have_been_gone_for_a_while() {
        let (turns, begun) = (Turns::new(32), Instant::now());
        let note = |org, seconds| turns.lock().sharers.note(org, begun + LATELY * seconds);
        let noisy = OrgId::new();
        note(noisy, 0);
        assert_eq!(turns.lock().share(), 16, "half");
        (0..3).for_each(|_| note(OrgId::new(), 0));
        assert_eq!(turns.lock().share(), 8);
        (0..100).for_each(|_| note(OrgId::new(), 0));
        assert_eq!(turns.lock().share(), 2, "never less");
        note(noisy, 1);
        assert_eq!(turns.lock().share(), 2, "they were there a moment ago");
        note(noisy, 2);
        assert_eq!(turns.lock().share(), 16);
        (0..3).for_each(|_| note(OrgId::new(), 2));
        note(noisy, 60);
        assert_eq!(turns.lock().share(), 16, "nobody was there for long");
    }

    #[test]
    fn a_place_goes_to_nobody_who_has_left() {
        let (turns, org) = (Turns::new(1), OrgId::new());
        let held = polled(pin!(turns.take(org))).unwrap();
        let mut leaves = Box::pin(turns.take(org));
        assert!(polled(leaves.as_mut()).is_none());
        let mut given = Box::pin(turns.take(OrgId::new()));
        assert!(polled(given.as_mut()).is_none());
        drop(leaves);
        drop(held);
        // Given to it already, and not taken.
        drop(given);
        let again = polled(pin!(turns.take(org)));
        assert!(again.is_some());
        drop(again);
        assert!(turns.lock().orgs.is_empty() && turns.lock().free == 1);
    }
}
