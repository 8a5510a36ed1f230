//! Numbers and errors as people read them.

use std::time::Duration;

/// `512 B`, `12 KiB`, `3.4 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut unit, mut size) = (0, 1);
    while count / size >= 1024 && unit + 1 < UNITS.len() {
        unit += 1;
        size *= 1024;
    }
    let (whole, tenths) = (count / size, count % size * 10 / size);
    // Below ten of a unit one decimal says more.
    if whole < 10 && tenths > 0 {
        format!("{whole}.{tenths} {}", UNITS[unit])
    } else {
        format!("{whole} {}", UNITS[unit])
    }
}

/// `45 s`, `30 min`, `1 h 30 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let parts: Vec<String> = [(hours, "h"), (minutes, "min"), (rest, "s")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// `$12.30`, `$0.0021`.
pub fn dollars(usd: f64) -> String {
    // What is below a dollar is mostly far below.
    if usd >= 1.0 { format!("${usd:.2}") } else { format!("${usd:.4}") }
}

/// An error with what caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_that_fits() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (12 * 1024, "12 KiB"),
            (1536, "1.5 KiB"),
            (3_650_722_202, "3.4 GiB"),
            (20 * 1024 * 1024 * 1024, "20 GiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn times_have_the_units_that_they_need() {
        for (seconds, text) in [(0, "0 s"), (45, "45 s"), (1800, "30 min"), (5400, "1 h 30 min"), (90, "1 min 30 s")] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn small_sums_are_not_rounded_to_nothing() {
        assert_eq!([12.3, 1.0, 0.0021].map(dollars), ["$12.30", "$1.00", "$0.0021"]);
    }
}
