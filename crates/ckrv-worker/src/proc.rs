//! The processes of this machine by Linux's `/proc`: who descends from whom, and who waits to be reaped.

use std::collections::{HashMap, HashSet};
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

#[derive(Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub session: u32,
    /// It waits to be reaped.
    pub is_dead: bool,
}

impl Process {
    /// Reaps it if it is dead and this process's child. Somebody else's, or reaped in between: nothing happens.
    pub fn reap(&self) {
        let _ = waitpid(self.id(), Some(WaitPidFlag::WNOHANG));
    }

    /// SIGKILL. It may have ended since it was seen, or belong to another user.
    pub fn kill(&self) {
        let _ = kill(self.id(), Signal::SIGKILL);
    }

    fn id(&self) -> Pid {
        // The kernel's process ids are below 2^22.
        Pid::from_raw(i32::try_from(self.pid).unwrap_or(i32::MAX))
    }
}

/// Every process that this one may see.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let stat = |pid: u32| parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    entries.flatten().filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// `roots`, and everything that descends from them.
pub fn family(roots: impl IntoIterator<Item = u32>, all: &[Process]) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let mut found = HashSet::new();
    let mut unseen: Vec<u32> = roots.into_iter().collect();
    while let Some(pid) = unseen.pop() {
        if found.insert(pid) {
            unseen.extend(children.remove(&pid).unwrap_or_default());
        }
    }
    found
}

/// `pid (name) state parent group session …` (proc_pid_stat(5)); the name may hold anything, so its last `)` counts.
fn parse(pid: u32, stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse().ok();
    let is_dead = matches!(*fields.first()?, "Z" | "X");
    Some(Process { pid, parent: number(1)?, session: number(3)?, is_dead })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_a_stat_line_fools_nobody() {
        let process = parse(7, "7 (a) Z 1 1 1 () S 42 43 44 0").unwrap();
        assert_eq!(process, Process { pid: 7, parent: 42, session: 44, is_dead: false });
        assert!(parse(7, "7 (x").is_none() && parse(7, "").is_none());
    }

    #[test]
    fn a_family_is_everything_below_and_nothing_beside() {
        let process = |pid, parent| Process { pid, parent, session: 1, is_dead: false };
        let all = [process(1, 0), process(2, 1), process(5, 4), process(3, 2), process(4, 3), process(9, 1)];
        assert_eq!(family([2], &all), HashSet::from([2, 3, 4, 5]));
        assert_eq!(family([3, 9], &all), HashSet::from([3, 4, 5, 9]));
    }
}
