//! Quotas in words: what is limited, how much of it is left, and what to do when it is not.

use comfy_table::{Cell, Color};

use ckrv_types::quota::{Measure, Quota, QuotaLimit};

use crate::duration::moment;
use crate::format::{Show, View, lines, short};

/// What a limit counts.
pub const fn label(measure: Measure) -> &'static str {
    match measure {
        Measure::ConcurrentJobs => "jobs at once",
        Measure::OpenJobs => "jobs waiting and running",
        Measure::JobsPerMonth => "jobs this month",
        Measure::MinutesPerMonth => "minutes this month",
        Measure::RequestsPerMinute => "requests a minute",
        Measure::Members => "members",
        Measure::Projects => "projects",
    }
}

/// `jobs this month: 100 of 100 used; counts from nothing again 2026-12-01 00:00:00Z`.
pub fn in_words(limit: &QuotaLimit) -> String {
    let most = limit.limit.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    let again = limit.resets_at.map(|at| format!("; counts from nothing again {}", moment(at))).unwrap_or_default();
    format!("{}: {} of {most} used{again}", label(limit.quota), limit.used)
}

/// What to do about a limit that is reached.
pub const fn advice(measure: Measure) -> &'static str {
    match measure {
        Measure::ConcurrentJobs => "more jobs wait in the queue; `ckrv list --state running` shows what runs",
        Measure::OpenJobs => "wait for jobs to end, or `ckrv cancel` some; `ckrv list --state queued` shows what waits",
        Measure::JobsPerMonth | Measure::MinutesPerMonth => {
            "`ckrv usage` shows by whom it was used; the operator of the control plane gives another tier"
        }
        Measure::RequestsPerMinute => "wait a moment and try again",
        Measure::Members => {
            "`ckrv org members` and `ckrv org invitations` show who counts; the operator gives another tier"
        }
        Measure::Projects => "`ckrv project list` shows them; the operator of the control plane gives another tier",
    }
}

/// What is left of the limits that there are, in one line.
pub fn left(quota: &Quota) -> String {
    let limited = quota.limits.iter().filter_map(|limit| Some((limit, limit.limit?)));
    let parts: Vec<String> = limited
        .map(|(limit, most)| format!("{} of {most} {}", most.saturating_sub(limit.used), label(limit.quota)))
        .collect();
    if parts.is_empty() { "unlimited".to_owned() } else { parts.join(", ") }
}

impl Show for Quota {
    fn table(&self, view: View) -> String {
        let head = view.fields([
            ("tier", Some(short(&format!("{} (weight {})", self.tier, self.weight), 100))),
            ("classes", self.classes.as_ref().map(|classes| Cell::new(lines(classes, ", ")))),
            ("kept", Some(Cell::new(format!("logs and artifacts for {} days", self.retention_days)))),
        ]);
        let rows = self.limits.iter().map(|limit| {
            let left = limit.limit.map(|most| most.saturating_sub(limit.used));
            let cell = Cell::new(left.map(|left| left.to_string()).unwrap_or_default());
            [
                Cell::new(label(limit.quota)),
                Cell::new(limit.used),
                Cell::new(limit.limit.map_or_else(|| "unlimited".to_owned(), |most| most.to_string())),
                if left == Some(0) { cell.fg(Color::Red) } else { cell },
                Cell::new(limit.resets_at.map(moment).unwrap_or_default()),
            ]
        });
        format!("{head}\n\n{}", view.columns(["QUOTA", "USED", "LIMIT", "LEFT", "RESETS"], rows))
    }

    fn names(&self) -> Vec<String> {
        let name = |limit: &QuotaLimit| serde_json::to_value(limit.quota).ok()?.as_str().map(str::to_owned);
        self.limits.iter().filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn limit(quota: Measure, used: u64, limit: Option<u64>) -> QuotaLimit {
        QuotaLimit { quota, used, limit, resets_at: None }
    }

    #[test]
    fn what_is_left_is_told_of_what_is_limited() {
        let limits = vec![
            limit(Measure::ConcurrentJobs, 2, Some(5)),
            limit(Measure::Members, 7, None),
            limit(Measure::JobsPerMonth, 120, Some(100)),
        ];
        let quota = Quota { tier: "free".into(), weight: 1, limits, classes: None, retention_days: 7 };
        assert_eq!(left(&quota), "3 of 5 jobs at once, 0 of 100 jobs this month");
        let quota = Quota { limits: vec![limit(Measure::Members, 7, None)], ..quota };
        assert_eq!(left(&quota), "unlimited");
    }

    #[test]
    fn a_limit_is_told_with_its_reset() {
        let resets_at = Some(OffsetDateTime::from_unix_timestamp(1_796_083_200).unwrap());
        let reached = QuotaLimit { resets_at, ..limit(Measure::JobsPerMonth, 100, Some(100)) };
        assert_eq!(
            in_words(&reached),
            "jobs this month: 100 of 100 used; counts from nothing again 2026-12-01 00:00:00Z"
        );
    }
}
