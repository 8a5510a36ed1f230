//! Whether the kernel killed something for lack of memory: its counter before and after.

use std::fs;

/// The `oom_kill` counter of this process's cgroup, or of the whole machine where there is none. `None`: not to be read on
/// this system.
pub(super) fn kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = files(&groups).into_iter().chain(["/proc/vmstat".to_owned()]);
    files.into_iter().find_map(|file| counter(&fs::read_to_string(file).ok()?))
}

/// Where the counter may be, by `/proc/self/cgroup` (cgroups(7)). In a container whose own version 1 group is mounted, the
/// path is the machine's and not to be found: there the group is the root.
fn files(groups: &str) -> Vec<String> {
    let path = |is_wanted: &dyn Fn(&str) -> bool| {
        groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            is_wanted(controllers).then_some(path)
        })
    };
    let unified = path(&str::is_empty).map(|path| format!("/sys/fs/cgroup{path}/memory.events"));
    let memory = path(&|controllers| controllers.split(',').any(|name| name == "memory"));
    let memory = memory.into_iter().flat_map(|path| [path, ""]);
    unified.into_iter().chain(memory.map(|path| format!("/sys/fs/cgroup/memory{path}/memory.oom_control"))).collect()
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
        assert_eq!(counter("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"), Some(4));
    }

    #[test]
    fn the_counter_is_looked_for_by_both_versions_of_cgroups() {
        assert_eq!(files("0::/pod/agent\n"), ["/sys/fs/cgroup/pod/agent/memory.events"]);
        let first = "4:memory:/kubepods/x\n3:cpu,cpuacct:/kubepods/x\n0::/\n";
        assert_eq!(
            files(first),
            [
                "/sys/fs/cgroup//memory.events",
                "/sys/fs/cgroup/memory/kubepods/x/memory.oom_control",
                "/sys/fs/cgroup/memory/memory.oom_control"
            ]
        );
    }
}
