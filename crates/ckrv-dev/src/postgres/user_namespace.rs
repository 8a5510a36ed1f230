//! PostgreSQL refuses to run as root. A root user's database therefore runs in a user namespace in which root has
//! another number: to the kernel it is root still, so that it can use folders that only root can enter.
//!
//! user_namespaces(7), sections "User and group ID mappings" and "The /proc/[pid]/setgroups file".

/// The number that root has inside. Any but 0 would do.
#[cfg(target_os = "linux")]
const INSIDE: u32 = 1000;

/// What was tried, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}; PostgreSQL refuses to run as root, and a user namespace is how a root user runs it")]
pub struct UserNamespaceError {
    action: &'static str,
    #[source]
    source: std::io::Error,
}

/// When the effective user is root: enters a user namespace that maps it to another number, for this process and
/// all it starts. Otherwise does nothing. The kernel allows it only while the process has one thread.
pub fn enter_if_root() -> Result<(), UserNamespaceError> {
    if nix::unistd::geteuid().is_root() { enter() } else { Ok(()) }
}

#[cfg(target_os = "linux")]
fn enter() -> Result<(), UserNamespaceError> {
    use nix::sched::{CloneFlags, unshare};

    let failed = |action| move |source| UserNamespaceError { action, source };
    let group = nix::unistd::getegid();
    unshare(CloneFlags::CLONE_NEWUSER).map_err(std::io::Error::from).map_err(failed("create a user namespace"))?;
    std::fs::write("/proc/self/setgroups", "deny").map_err(failed("close setgroups in the user namespace"))?;
    std::fs::write("/proc/self/uid_map", format!("{INSIDE} 0 1")).map_err(failed("map root in the user namespace"))?;
    std::fs::write("/proc/self/gid_map", format!("{INSIDE} {group} 1"))
        .map_err(failed("map root's group in the user namespace"))
}

#[cfg(not(target_os = "linux"))]
fn enter() -> Result<(), UserNamespaceError> {
    Err(UserNamespaceError {
        action: "create a user namespace on this system",
        source: std::io::ErrorKind::Unsupported.into(),
    })
}
