//! Whether the kernel killed something for lack of memory: its counter before and after.

use std::fs;

/// The `oom_kill` counter of this process's cgroup (v2), or of the whole machine where there is none. `None`: not to be
/// read on this system.
pub(super) fn kills() -> Option<u64> {
    let cgroup = || {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        counter(&fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.events")).ok()?)
    };
    cgroup().or_else(|| counter(&fs::read_to_string("/proc/vmstat").ok()?))
}

fn counter(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_among_others() {
        assert_eq!(counter("low 0\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!(counter("oom 3\n"), None);
    }
}
