//! By `/proc` and the child subreaper attribute (prctl(2)).

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

const PAUSE: Duration = Duration::from_millis(2);

pub(super) fn adopt_orphans() -> io::Result<()> {
    prctl::set_child_subreaper(true).map_err(io::Error::from)
}

pub(super) fn reap_orphans(own: &[u32]) {
    let me = std::process::id();
    let dead = processes().into_iter().filter(|process| process.parent == me && process.is_dead);
    for process in dead.filter(|process| !own.contains(&process.pid)) {
        reap(process.pid);
    }
}

pub(super) async fn end_descendants(root: u32, limit: Duration) -> usize {
    let deadline = Instant::now() + limit;
    let me = std::process::id();
    loop {
        let (dead, alive): (Vec<Process>, Vec<Process>) =
            below(root, processes()).into_iter().partition(|process| process.is_dead);
        for process in dead.iter().filter(|process| process.parent == me) {
            reap(process.pid);
        }
        if alive.is_empty() || Instant::now() >= deadline {
            return alive.len();
        }
        for process in &alive {
            // It may have ended since it was seen, or belong to another user.
            let _ = kill(pid(process.pid), Signal::SIGKILL);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    /// It waits to be reaped.
    is_dead: bool,
}

fn pid(id: u32) -> Pid {
    // The kernel's process ids are below 2^22.
    Pid::from_raw(i32::try_from(id).unwrap_or(i32::MAX))
}

fn reap(id: u32) {
    // Somebody else's, or reaped in between: nothing to do.
    let _ = waitpid(pid(id), Some(WaitPidFlag::WNOHANG));
}

/// Every process that this one may see.
fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            parse(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
        })
        .collect()
}

/// Reads `pid (name) state parent …` (proc_pid_stat(5)); the name may hold anything, so its last `)` counts.
fn parse(pid: u32, stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    Some(Process { pid, parent: fields.next()?.parse().ok()?, is_dead })
}

fn below(root: u32, all: Vec<Process>) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(&process.pid).unwrap_or_default());
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_a_stat_line_fools_nobody() {
        let process = parse(7, "7 (evil) Z 1 () S 42 7 7 0").unwrap();
        assert_eq!(process, Process { pid: 7, parent: 42, is_dead: false });
        assert!(parse(7, "").is_none());
    }

    #[test]
    fn everything_below_is_found_and_nothing_beside() {
        let process = |pid, parent| Process { pid, parent, is_dead: false };
        let all = vec![process(1, 0), process(2, 1), process(5, 4), process(3, 2), process(4, 3), process(9, 1)];
        let mut found: Vec<u32> = below(2, all).into_iter().map(|process| process.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [3, 4, 5]);
    }
}
