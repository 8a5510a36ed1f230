//! Named places where tests may have the process die at once, to see what a restart makes of what was left.
//!
//! They exist only with the feature `failpoints`, which no released binary has.

/// Every place, for tests to visit.
pub const CRASH_POINTS: &[&str] = &[
    "server.submit.committed",
    "server.hand-in.committed",
    "server.admission.committed",
    "server.start.bound",
    "server.start.committed",
    "server.finish.before-commit",
    "server.finish.committed",
    "server.observation.committed",
    "server.cancel.committed",
    "server.sweeper.between",
    "server.append.before-commit",
    "server.append.committed",
    "server.archive.put",
    "server.archive.verified",
    "server.archive.recorded",
    "server.retention.marked",
    "server.retention.objects-deleted",
];

/// Aborts the process here if the place is armed.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::crash::visit($name);
    };
}

/// What [`crash_point`] does; see there.
#[cfg(feature = "failpoints")]
pub fn visit(name: &'static str) {
    debug_assert!(CRASH_POINTS.contains(&name), "{name} is not in CRASH_POINTS");
    if fail::eval(name, |_| ()).is_some() {
        std::process::abort();
    }
}

/// Arms places: `<name>=<action>` separated by `;`. The action `return` dies at the first visit, `3*off->return` at the
/// fourth, `10%return` at one in ten (the syntax of the crate `fail`).
#[cfg(feature = "failpoints")]
pub fn arm(places: &str) -> Result<(), String> {
    for place in places.split(';').filter(|place| !place.trim().is_empty()) {
        let (name, action) = place.split_once('=').ok_or_else(|| format!("`{place}` is not <name>=<action>"))?;
        if !CRASH_POINTS.contains(&name.trim()) {
            return Err(format!("there is no crash point `{}`", name.trim()));
        }
        fail::cfg(name.trim(), action)?;
    }
    Ok(())
}
