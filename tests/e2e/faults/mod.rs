//! What goes wrong with a job in a cluster, each provoked for real: the rows of docs/failures.md, which is written from what
//! these tests print.

mod containers;
mod pods;

use std::time::{Duration, Instant};

use ckrv_tests::stack::Stack;
use ckrv_tests::wait::wait_for;
use ckrv_types::{Cause, Job, JobId};

/// A cause that somebody can see is told within this.
pub const TOLD: Duration = Duration::from_secs(5);
/// A worker that nobody sees dying is ended within this after its last beat.
pub const SILENT: Duration = Duration::from_secs(30);
/// Longer than what has no time of its own takes.
pub const LONG: Duration = Duration::from_mins(3);

/// One row, from the moment at which the fault is there.
pub struct Fault {
    name: &'static str,
    since: Instant,
}

impl Fault {
    pub fn begins(name: &'static str) -> Self {
        Self { name, since: Instant::now() }
    }

    /// Prints how long it took until now, and holds that to `limit`.
    #[track_caller]
    pub fn took(&self, what: &str, limit: Duration) {
        let took = self.since.elapsed();
        println!("failure: {} | {what} | {:.1} s", self.name, took.as_secs_f64());
        assert!(took <= limit, "{}: {what}: {took:?} instead of {limit:?}", self.name);
    }

    /// Waits for the job's end, which has to come within `limit`.
    pub async fn ends(&self, stack: &Stack, job: JobId, limit: Duration) -> Job {
        let ended = wait_for(self.name, LONG, async || over(stack, job).await).await;
        self.took("ended", limit);
        ended
    }

    /// The same with a cause, after which `ckrv explain` says all of `texts` and the cause's hint. It has to be the latest.
    pub async fn ends_as(&self, stack: &Stack, job: JobId, cause: Cause, limit: Duration, texts: &[&str]) -> Job {
        let ended = self.ends(stack, job, limit).await;
        let message = ended.message.as_deref().unwrap_or_default();
        println!("failure: {} | {cause} | {message}", self.name);
        assert_eq!((ended.state, ended.cause), (cause.state(), Some(cause)), "{ended:?}");
        stack.says(&["explain", &job.to_string()]).await.exits(0).prints(&[cause.as_str(), cause.hint()]).prints(texts);
        ended
    }
}

/// The job, once it is.
pub async fn over(stack: &Stack, job: JobId) -> Option<Job> {
    stack.client().job(job).await.ok().filter(|job| job.state.is_terminal())
}
