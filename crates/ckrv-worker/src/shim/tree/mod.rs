//! Ending a process with all that it started, also what left its process group or lost its parent.
//!
//! A process that called [`adopt_orphans`] stays the ancestor of everything below it, so that nothing escapes by a double
//! fork or `setsid`. Where the system cannot do that (other than Linux), only process groups are ended, by their leaders'
//! owners. A process that changes its user, or that forks faster than it is found until `limit`, survives: real walls are
//! a container's or a machine's.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
use other as system;

use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Makes this process the parent of every orphan below it.
pub fn adopt_orphans() -> io::Result<()> {
    system::adopt_orphans()
}

/// Reaps dead orphans that came to this process. `own`: children that someone else waits for.
pub fn reap_orphans(own: &[u32]) {
    system::reap_orphans(own);
}

/// SIGKILL to everything below `root` (which lives on) until nothing is alive there, for at most `limit`. Answers how many
/// are left. With `root` being this process it also reaps them.
pub async fn end_descendants(root: u32, limit: Duration) -> usize {
    system::end_descendants(root, limit).await
}

/// SIGKILL to `root` and everything below it, for at most `limit`. Answers how many are left below. The caller reaps `root`.
pub async fn end_tree(root: u32, limit: Duration) -> usize {
    let Ok(pid) = i32::try_from(root).map(Pid::from_raw) else { return 0 };
    // Held, it starts nothing more and stays the parent of what is ended. It may be dead already.
    let _ = kill(pid, Signal::SIGSTOP);
    let left = end_descendants(root, limit).await;
    let _ = kill(pid, Signal::SIGKILL);
    left
}
