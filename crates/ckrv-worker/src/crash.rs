//! Named places at which a test may make the process die, to see what the rest of ckrv makes of it. Compiled to nothing
//! without the feature `failpoints`; with it, `FAILPOINTS=worker.after-start=return` in the environment aborts there.

/// Every place, in the order in which an attempt passes them; the runner's last.
pub const CRASH_POINTS: &[&str] = &[
    "worker.before-start",
    "worker.after-start",
    "worker.after-clone",
    "worker.after-agent-start",
    "worker.before-append",
    "worker.after-append",
    "worker.after-agent-exit",
    "worker.after-collect",
    "worker.between-uploads",
    "worker.after-last-append",
    "worker.before-finish",
    "worker.after-finish",
    "runner.before-launch",
    "runner.after-launch",
    "runner.before-cleanup",
    "runner.before-observation",
];

/// Aborts here when the test says so: no destructor runs, as with `kill -9`.
#[cfg_attr(not(feature = "failpoints"), expect(unused_variables, clippy::missing_const_for_fn, reason = "empty then"))]
pub fn crash_point(name: &'static str) {
    #[cfg(feature = "failpoints")]
    {
        debug_assert!(CRASH_POINTS.contains(&name), "{name} is not listed");
        fail::fail_point!(name, |_| std::process::abort());
    }
}
