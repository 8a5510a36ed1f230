//! Files that came open from whoever started this process (a shell's, a build's) and are nobody's here: the agent must not
//! get them either. All that Rust opens is closed on exec by itself.

#[cfg(target_os = "linux")]
pub(super) fn close() {
    /// The flag of a file that an executed program does not get (proc_pid_fdinfo(5); 0o2000000 on every architecture that
    /// ckrv is built for).
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let flags = |fd: i32| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        u32::from_str_radix(flags.trim(), 8).ok()
    };
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        if flags(fd).is_some_and(|flags| flags & CLOSE_ON_EXEC == 0) {
            // Closed in between: as wanted.
            let _ = nix::unistd::close(fd);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn close() {}
