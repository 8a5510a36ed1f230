//! The agent of the log rows: `emit COUNT BYTES PER_SECOND` prints numbered lines, each with the time of its writing.

use std::io::Write as _;
use std::time::Duration;

use time::OffsetDateTime;

/// `COUNT BYTES PER_SECOND`; 0 a second: as fast as they are taken.
pub fn run(arguments: &[String]) {
    let numbers: Vec<u64> = arguments.iter().take(3).map(|argument| argument.parse().unwrap()).collect();
    let [count, bytes, per_second] = numbers[..] else { panic!("emit COUNT BYTES PER_SECOND") };
    let padding = "x".repeat(usize::try_from(bytes).unwrap());
    let pause = 1_000_000_000_u64.checked_div(per_second).map(Duration::from_nanos);
    let mut out = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    for number in 1..=count {
        writeln!(out, "{} {number} {padding}", now()).unwrap();
        if let Some(pause) = pause {
            out.flush().unwrap();
            // The pace is the point here; nothing is waited for.
            std::thread::park_timeout(pause);
        }
    }
}

/// Nanoseconds since 1970.
pub fn now() -> i128 {
    OffsetDateTime::now_utc().unix_timestamp_nanos()
}

/// When a line that [`run`] has printed was written; `None`: another line.
pub fn written(line: &str) -> Option<i128> {
    line.split_once(' ')?.0.parse().ok()
}
