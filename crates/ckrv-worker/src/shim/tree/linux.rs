//! By `/proc` and the child subreaper attribute (prctl(2)).

use std::io;
use std::time::{Duration, Instant};

use nix::sys::prctl;

use crate::proc::{self, Process};

const PAUSE: Duration = Duration::from_millis(2);

pub(super) fn adopt_orphans() -> io::Result<()> {
    prctl::set_child_subreaper(true).map_err(io::Error::from)
}

pub(super) fn reap_orphans(own: &[u32]) {
    let me = std::process::id();
    let dead = proc::all().into_iter().filter(|process| process.parent == me && process.is_dead);
    dead.filter(|process| !own.contains(&process.pid)).for_each(|process| process.reap());
}

pub(super) async fn end_descendants(root: u32, limit: Duration) -> usize {
    let deadline = Instant::now() + limit;
    let me = std::process::id();
    loop {
        let all = proc::all();
        let family = proc::family([root], &all);
        let below = all.into_iter().filter(|process| process.pid != root && family.contains(&process.pid));
        let (dead, alive): (Vec<Process>, Vec<Process>) = below.partition(|process| process.is_dead);
        dead.iter().filter(|process| process.parent == me).for_each(Process::reap);
        if alive.is_empty() || Instant::now() >= deadline {
            return alive.len();
        }
        alive.iter().for_each(Process::kill);
        tokio::time::sleep(PAUSE).await;
    }
}
