//! Waiting on a condition, never on time alone.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const TICK: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer, or until `limit` is over (`None`). The first time it asks before it yields.
pub(crate) async fn until<T, E>(
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let deadline = Instant::now() + limit;
    loop {
        let answer = probe()?;
        if answer.is_some() || Instant::now() >= deadline {
            return Ok(answer);
        }
        sleep(TICK).await;
    }
}
