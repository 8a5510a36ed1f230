//! Named places at which a test may make the process die, to see what its successor makes of it. Compiled to nothing without
//! the feature `failpoints`; with it, `FAILPOINTS=operator.handed-in=return` in the environment aborts there.

/// Every place.
pub const CRASH_POINTS: &[&str] = &["operator.handed-in"];

/// Aborts here when the test says so: no destructor runs, as with `kill -9`.
#[cfg_attr(not(feature = "failpoints"), expect(unused_variables, clippy::missing_const_for_fn, reason = "empty then"))]
pub fn crash_point(name: &'static str) {
    #[cfg(feature = "failpoints")]
    {
        debug_assert!(CRASH_POINTS.contains(&name), "{name} is not listed");
        fail::fail_point!(name, |_| std::process::abort());
    }
}
