//! The machine that runs the job is not as it should be.

use std::process::Command;

use ckrv_client::LogQuery;
use ckrv_types::log::LogEvent;
use futures::StreamExt as _;
use tempfile::TempDir;
use time::OffsetDateTime;

use super::*;

/// Puts a program's wall clock one day ahead; what measures spans is left alone.
const A_DAY_AHEAD: &str = r"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define DAY 86400

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += DAY;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (result) *result = exact.tv_sec;
    return exact.tv_sec;
}
";

fn a_day_ahead(folder: &TempDir) -> PathBuf {
    let (source, library) = (folder.path().join("clock.c"), folder.path().join("clock.so"));
    std::fs::write(&source, A_DAY_AHEAD).expect("the source can be written");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    assert!(cc.status().expect("cc runs").success());
    library
}

#[tokio::test]
async fn a_runner_whose_clock_is_a_day_ahead_runs_jobs_as_any_other() {
    let folder = TempDir::with_prefix("ckrv-test-clock-").expect("a temporary folder");
    let preload = a_day_ahead(&folder).display().to_string();
    let options = Options { runner: vec![("LD_PRELOAD", preload)], server: quick_leases(), ..Options::default() };
    let (stack, repo) = (Stack::with(options).await, Repo::new());
    let script = format!("{}; echo made > made.txt", count(1, 100, "0.01"));
    let job = stack.submit(&repo.url(), &["--artifact", "made.txt"], &script).await;
    let follower = stack.follow(job);
    let ended = stack.ended(job).await;
    succeeded_at_once(&ended);
    assert_counted(&follower.ended().await.exits(0).out, 1, 100);
    assert_eq!(stack.pull(&repo, job).await.file("made.txt"), "made");
    // Its clock is believed for reading alone.
    let tomorrow = OffsetDateTime::now_utc() + time::Duration::hours(23);
    let lines: Vec<_> = stack.client().logs(job, LogQuery::default()).collect().await;
    let times: Vec<_> = lines
        .into_iter()
        .filter_map(|event| match event.expect("the log can be read") {
            LogEvent::Log(line) => Some(line.line.ts),
            _ => None,
        })
        .collect();
    assert!(times.len() > 100 && times.into_iter().min() > Some(tomorrow), "the library was not used");
    assert!(ended.finished_at < Some(tomorrow), "the job's times are the database's");
    stack.holds(&[job]).await;
}
