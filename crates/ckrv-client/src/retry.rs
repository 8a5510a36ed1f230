//! How often and how fast a request is sent again.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};

use crate::ClientError;

/// Patience: growing pauses with jitter, until a time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// No further try begins later than this after the first one. Zero: one try.
    pub limit: Duration,
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Retry {
    pub const NEVER: Self = Self { limit: Duration::ZERO };

    pub const fn within(limit: Duration) -> Self {
        Self { limit }
    }

    /// Calls `attempt` until it succeeds, is refused for good, or the limit is reached; the last error is returned.
    pub(crate) async fn run<T, F, Fut>(self, attempt: F) -> Result<T, ClientError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, ClientError>>,
    {
        let started = Instant::now();
        attempt
            .retry(pauses())
            .when(ClientError::is_retryable)
            .adjust(|error, pause| {
                let pause = pause?.max(error.retry_after().unwrap_or_default());
                (started.elapsed() + pause <= self.limit).then_some(pause)
            })
            .notify(|error, pause| tracing::debug!(%error, ?pause, "trying again"))
            .await
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::within(Duration::from_secs(10))
    }
}

/// Endless growing pauses with jitter, seeded so that no two processes march in step.
pub(crate) fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .with_jitter()
        .with_jitter_seed(rand::random())
}

/// Pauses between the connections of one stream; they begin anew once a connection was worth something.
#[derive(Debug)]
pub(crate) struct Pauses(backon::ExponentialBackoff);

impl Pauses {
    pub(crate) fn new() -> Self {
        Self(pauses().build())
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.0.next().unwrap_or(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ckrv_types::{Problem, ProblemCode};

    use super::*;

    fn problem(code: ProblemCode, retry_after: Option<Duration>) -> ClientError {
        ClientError::Problem { problem: Box::new(Problem::new(code)), retry_after }
    }

    async fn tries(retry: Retry, error: impl Fn() -> ClientError) -> u32 {
        let count = Cell::new(0);
        let attempt = || {
            count.set(count.get() + 1);
            std::future::ready(Err::<(), _>(error()))
        };
        retry.run(attempt).await.unwrap_err();
        count.get()
    }

    #[tokio::test]
    async fn a_definitive_refusal_is_not_repeated() {
        assert_eq!(tries(Retry::default(), || problem(ProblemCode::Invalid, None)).await, 1);
    }

    #[tokio::test]
    async fn a_passing_problem_is_repeated_within_the_limit() {
        let limit = Retry::within(Duration::from_millis(500));
        assert!(tries(limit, || problem(ProblemCode::Unavailable, None)).await > 1);
        assert_eq!(tries(Retry::NEVER, || problem(ProblemCode::Unavailable, None)).await, 1);
    }

    #[tokio::test]
    async fn a_wait_that_the_server_asks_for_past_the_limit_ends_the_tries() {
        let limit = Retry::within(Duration::from_millis(500));
        let after = Some(Duration::from_mins(1));
        assert_eq!(tries(limit, || problem(ProblemCode::RateLimited, after)).await, 1);
    }
}
