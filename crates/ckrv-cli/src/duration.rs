//! Times as people write and read them.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads `90s`, `15m`, `2h`, `1d` or `1h30m`. A number alone is refused: of what?
pub fn parse(text: &str) -> Result<Duration, String> {
    let mut seconds: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("expected a time such as 90s, 15m, 2h or 1h30m".into());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 =
            rest[..digits].parse().map_err(|_| format!("`{text}` is not a time such as 90s, 15m or 2h"))?;
        let letters = &rest[digits..];
        let unit = match letters.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            None => return Err(format!("`{text}` needs a unit: {text}s, {text}m or {text}h")),
            Some(other) => return Err(format!("`{other}` is not a unit of time (use s, m, h or d)")),
        };
        let more = number.checked_mul(unit).and_then(|part| seconds.checked_add(part));
        seconds = more.ok_or_else(|| format!("`{text}` is too long"))?;
        rest = &letters[1..];
    }
    Ok(Duration::from_secs(seconds))
}

/// The same in whole seconds, as the API counts.
pub fn parse_seconds(text: &str) -> Result<u64, String> {
    parse(text).map(|duration| duration.as_secs())
}

/// Reads a point in time: RFC 3339, the beginning of a day (UTC), or how long ago.
pub fn parse_since(text: &str) -> Result<OffsetDateTime, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    if let Ok(time) = OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339) {
        return Ok(time);
    }
    let ago = parse(text).map_err(|_| format!("`{text}` is neither a time such as 10m nor RFC 3339"))?;
    OffsetDateTime::now_utc().checked_sub(ago.try_into().map_err(|_| "too long ago")?).ok_or("too long ago".into())
}

/// `3.2s`, `4m 10s`, `2h 5m`, `3d 4h`: two units at most.
pub fn show(duration: time::Duration) -> String {
    let seconds = duration.whole_seconds().max(0);
    match seconds {
        0..10 => format!("{:.1}s", duration.as_seconds_f64().max(0.0)),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long ago, to the nearest unit: `12s`, `4m`, `2h`, `3d`.
pub fn age(since: OffsetDateTime) -> String {
    let seconds = (OffsetDateTime::now_utc() - since).whole_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `2026-11-21 12:34:56Z`.
pub fn moment(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02}Z", time.date(), time.hour(), time.minute(), time.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7200), ("1h30m", 5400), ("1d", 86_400), ("0s", 0)] {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_a_word_about_it() {
        for (text, word) in [
            ("", "expected"),
            ("90", "needs a unit"),
            ("1x", "not a unit"),
            ("m", "not a time"),
            ("-5m", "not a time"),
            ("99999999999999999999d", "not a time"),
            ("999999999999999999d", "too long"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn since_takes_a_moment_or_a_while() {
        let moment = OffsetDateTime::from_unix_timestamp(0).unwrap();
        assert_eq!(parse_since("1970-01-01T00:00:00Z"), Ok(moment));
        assert_eq!(parse_since("1970-01-01"), Ok(moment));
        let since = parse_since("10m").unwrap();
        assert_eq!((OffsetDateTime::now_utc() - since).whole_minutes(), 10);
        assert!(parse_since("yesterday").is_err());
    }

    #[test]
    fn times_are_shown_in_two_units_at_most() {
        for (millis, text) in [(3240, "3.2s"), (59_900, "59s"), (250_000, "4m 10s"), (7_500_000, "2h 5m"), (-5, "0.0s")]
        {
            assert_eq!(show(time::Duration::milliseconds(millis)), text);
        }
        assert_eq!(show(time::Duration::hours(76)), "3d 4h");
    }
}
