//! The log's way from an agent's write to the CLI's print, over 1, 10 and 50 streams at once: how much, and how soon.

use std::ops::Range;
use std::process::Stdio;
use std::time::Instant;

use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{START, Stack};
use ckrv_tests::wait::wait_for;
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinSet;

use crate::emit::{now, written};
use crate::statistics::{count, percentile};
use crate::{floor, stack};

const STREAMS: [usize; 3] = [1, 10, 50];
/// Lines of all streams together in the rows of throughput; bytes of one line's padding.
const LINES: u64 = 1_000_000;
const BYTES: u64 = 80;
/// Lines of each stream in the rows of latency, and how many a second. While the first streams run, the last jobs are
/// still being submitted and cloned on the same machine: what is told apart is the time in which all of them stream.
const PACED_LINES: u64 = 600;
const PER_SECOND: u64 = 10;

/// What followers saw of a run.
struct Seen {
    /// From the first line's writing to the last line's printing.
    seconds: f64,
    lines: u64,
    bytes: u64,
    /// Of each line: when it was written, and how many milliseconds later it was printed.
    latencies: Vec<(i128, f64)>,
    /// When all of the run's streams were at it.
    all: Range<i128>,
}

impl Seen {
    const fn none() -> Self {
        Self { seconds: 0.0, lines: 0, bytes: 0, latencies: Vec::new(), all: 0..i128::MAX }
    }
}

pub async fn throughput() {
    for streams in STREAMS {
        let stack = stack(u32::try_from(streams).unwrap()).await;
        let seen = run(&stack, streams, LINES / streams as u64, BYTES, 0).await;
        let (rows, frames) = stored(&stack).await;
        let each = rows / streams as u64;
        let floor = floor::inserts(&stack, streams, each, usize::try_from(frames / rows.max(1)).unwrap()).await;
        println!(
            "  {streams} streams: {:.0} lines/s, {:.1} MB/s to the reader (bar for one: 100,000 lines/s and 10 MB/s); \
             {:.1} x the time of inserting the same {rows} rows, {:.1} MB",
            count(seen.lines) / seen.seconds,
            count(seen.bytes) / seen.seconds / 1e6,
            seen.seconds / floor,
            count(frames) / 1e6,
        );
    }
}

pub async fn latency() {
    for streams in STREAMS {
        let stack = stack(u32::try_from(streams).unwrap()).await;
        let seen = run(&stack, streams, PACED_LINES, BYTES, PER_SECOND).await;
        let of = |is_counted: &dyn Fn(i128) -> bool| -> Vec<f64> {
            seen.latencies.iter().filter(|(written, _)| is_counted(*written)).map(|(_, millis)| *millis).collect()
        };
        let (mut steady, mut whole) = (of(&|written| seen.all.contains(&written)), of(&|_| true));
        println!(
            "  {streams} streams of {PER_SECOND} lines/s: p50 {:.1} ms, p99 {:.1} ms (bar: 100 ms); with the start of \
             all jobs in it p99 {:.1} ms",
            percentile(&mut steady, 0.5),
            percentile(&mut steady, 0.99),
            percentile(&mut whole, 0.99)
        );
    }
}

/// Runs one job a stream, and follows each by a CLI of its own.
async fn run(stack: &Stack, streams: usize, lines: u64, bytes: u64, per_second: u64) -> Seen {
    let (repo, emitter) = (Repo::new(), std::env::current_exe().unwrap().display().to_string());
    let (lines_arg, bytes_arg, rate_arg) = (lines.to_string(), bytes.to_string(), per_second.to_string());
    let emit = [emitter.as_str(), "emit", &lines_arg, &bytes_arg, &rate_arg];
    let mut followers = JoinSet::new();
    for _ in 0..streams {
        let url = repo.url();
        let arguments = [&["run", "--repo", &url, "--branch", "main", "--"], &emit[..]].concat();
        let job = stack.ckrv(&arguments).await;
        let follower =
            stack.ckrv_command(&["logs", "--follow", &job]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        followers.spawn(follow(follower.unwrap()));
    }
    let (mut first, mut last, mut total) = (i128::MAX, 0, Seen::none());
    let begun = Instant::now();
    for (written, printed, seen) in followers.join_all().await {
        assert_eq!(seen.lines, lines, "a follower did not see each line once, {:?} after the start", begun.elapsed());
        (first, last) = (first.min(written), last.max(printed));
        total.lines += seen.lines;
        total.bytes += seen.bytes;
        total.all = total.all.start.max(seen.all.start)..total.all.end.min(seen.all.end);
        total.latencies.extend(seen.latencies);
    }
    total.seconds = millis(last - first) / 1e3;
    total
}

/// Reads one CLI to its end: the first line's time of writing, the last one's of printing, and what came between.
async fn follow(mut follower: tokio::process::Child) -> (i128, i128, Seen) {
    let mut lines = BufReader::with_capacity(256 * 1024, follower.stdout.take().unwrap()).lines();
    let (mut first, mut last, mut last_written, mut seen) = (i128::MAX, 0, 0, Seen::none());
    while let Some(line) = lines.next_line().await.unwrap() {
        let Some(at) = written(&line) else { continue };
        (first, last, last_written) = (first.min(at), now(), at);
        seen.lines += 1;
        seen.bytes += line.len() as u64 + 1;
        seen.latencies.push((at, millis(last - at)));
    }
    follower.wait().await.unwrap();
    seen.all = first..last_written;
    (first, last, seen)
}

/// Rows that were inserted for all logs, and their frames' bytes, wherever they lie by now.
async fn stored(stack: &Stack) -> (u64, u64) {
    let mut connection = PgConnection::connect(stack.superuser_url().expose()).await.unwrap();
    let bytes: i64 = sqlx::query_scalar(
        "select coalesce((select sum(length(frame)) from log_chunks), 0)::bigint
              + coalesce((select sum((archive ->> 'size')::bigint) from log_heads), 0)::bigint",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    let rows = "select n_tup_ins from pg_stat_user_tables where relname = 'log_chunks'";
    // Sessions tell what they did about once a second.
    let rows = wait_for("the inserts are counted", START, async || {
        let rows: i64 = sqlx::query_scalar(rows)
            .fetch_one(&mut PgConnection::connect(stack.superuser_url().expose()).await.ok()?)
            .await
            .ok()?;
        (rows > 0).then_some(rows)
    })
    .await;
    (rows.cast_unsigned(), bytes.cast_unsigned())
}

#[expect(clippy::cast_precision_loss, reason = "a difference of times")]
fn millis(nanos: i128) -> f64 {
    nanos as f64 / 1e6
}
