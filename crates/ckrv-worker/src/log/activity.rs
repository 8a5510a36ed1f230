//! When the agent was last heard. The clock stands still while its output waits for room in the spool: then it is silent
//! because nobody listens.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub struct Activity(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    last: Instant,
    paused: usize,
}

impl Activity {
    /// Heard just now.
    pub fn new() -> Self {
        Self(Mutex::new(Inner { last: Instant::now(), paused: 0 }))
    }

    /// The agent gave a sign of life.
    pub fn touch(&self) {
        self.lock().last = Instant::now();
    }

    /// How long it has been silent.
    pub fn silence(&self) -> Duration {
        let inner = self.lock();
        if inner.paused > 0 { Duration::ZERO } else { inner.last.elapsed() }
    }

    /// Stops the clock until the answer is dropped; the silence begins anew then.
    pub fn pause(&self) -> Pause<'_> {
        self.lock().paused += 1;
        Pause(self)
    }

    /// Ends when the silence has lasted for `limit`.
    pub async fn silent_for(&self, limit: Duration) {
        loop {
            match limit.checked_sub(self.silence()) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}

/// While it lives, silence does not count.
#[derive(Debug)]
pub struct Pause<'a>(&'a Activity);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.paused -= 1;
        inner.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn silence_counts_from_the_last_sign_of_life() {
        let activity = Activity::new();
        activity.silent_for(LIMIT).await;
        activity.touch();
        let touched = Instant::now();
        activity.silent_for(LIMIT).await;
        assert!(touched.elapsed() >= LIMIT);
    }

    #[tokio::test]
    async fn the_clock_stands_still_while_the_output_waits() {
        let activity = Activity::new();
        let pause = activity.pause();
        assert!(tokio::time::timeout(LIMIT * 4, activity.silent_for(LIMIT)).await.is_err());
        drop(pause);
        let ended = Instant::now();
        activity.silent_for(LIMIT).await;
        assert!(ended.elapsed() >= LIMIT);
    }
}
