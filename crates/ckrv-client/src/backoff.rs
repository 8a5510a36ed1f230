//! Growing pauses with jitter between tries of the same thing.

use std::time::Duration;

/// The next pause, doubled each time. Half of it is random, so that many workers do not come back as one.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// For requests to a server that is expected back: 100 ms to 5 s.
    pub const fn for_requests() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// How long to wait now; at least what the server asked for.
    pub fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.5..1.0));
        self.next = (self.next * 2).min(self.longest);
        pause.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_heed_the_server() {
        let mut backoff = Backoff::for_requests();
        assert!(backoff.pause(None) < Duration::from_millis(101));
        for _ in 0..10 {
            backoff.pause(None);
        }
        let pause = backoff.pause(None);
        assert!(pause >= Duration::from_millis(2500) && pause <= Duration::from_secs(5), "{pause:?}");
        assert_eq!(backoff.pause(Some(Duration::from_mins(1))), Duration::from_mins(1));
    }
}
