//! Times and rights in words.

use std::time::Duration;

use ckrv_types::identity::{Role, Scope};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// A time for `<time datetime="…">…</time>`.
pub struct Moment {
    /// RFC 3339.
    pub machine: String,
    /// UTC: the server does not know the reader's zone.
    pub human: String,
}

impl Moment {
    pub fn new(at: OffsetDateTime) -> Self {
        let at = at.to_offset(time::UtcOffset::UTC);
        let form = format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute] UTC");
        let human = at.format(&form).unwrap_or_default();
        let machine = at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default();
        Self { machine, human }
    }
}

/// What a program with this scope can do.
pub const fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "See jobs, their logs and results, and what else the organization has",
        Scope::Run => "Submit, cancel and retry jobs",
        Scope::Manage => "Manage API keys, runners, projects and members",
    }
}

/// What a member of this role can do.
pub const fn role(role: Role) -> &'static str {
    match role {
        Role::Owner => "You will own it: do everything in it, with everybody in it",
        Role::Admin => "You will manage its members, projects, keys and runners, and run jobs",
        Role::Editor => "You will submit, cancel and retry jobs, and see what there is",
        Role::Viewer => "You will see jobs, their logs and results, and what else there is",
    }
}

/// How long to wait, rounded up.
pub fn wait(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    match seconds {
        0..=1 => "1 second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_by_people_and_by_machines() {
        let moment = Moment::new(time::macros::datetime!(2026-11-03 09:05:07.123 +2));
        assert_eq!(moment.human, "3 Nov 2026, 07:05 UTC");
        assert_eq!(moment.machine, "2026-11-03T07:05:07Z");
    }

    #[test]
    fn nobody_is_told_to_come_back_too_early() {
        for (seconds, said) in [(0.2, "1 second"), (1.5, "2 seconds"), (90.0, "90 seconds"), (121.0, "3 minutes")] {
            assert_eq!(wait(Duration::from_secs_f64(seconds)), said);
        }
    }
}
