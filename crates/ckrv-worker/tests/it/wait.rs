//! Waiting for conditions, never for time alone.

use std::time::{Duration, Instant};

/// For anything that should happen soon, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

pub async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
