//! The operator's memory: with nothing, with thousands of live jobs, and when they are over.

use ckrv_tests::wait::wait_for;

use crate::Counts;
use crate::cluster::Operator;
use crate::seen::Seen;
use crate::site::{LONG, Site};
use crate::statistics::count;
use crate::workers::Workers;

/// Times that as many jobs come and go.
const ROUNDS: usize = 2;

pub async fn measure(counts: &Counts) {
    let site = Site::new(counts.live).await;
    let operator = site.operator(counts.live).await;
    let idle = resident(&operator);
    println!("  idle: {idle:.1} MB");
    for round in 1..=ROUNDS {
        let mut workers = Workers::new(&site.installation.stack);
        let seen = Seen::start(&site.installation.jobs).await;
        site.submit_many(counts.live).await;
        seen.count(counts.live, LONG).await;
        workers.start(seen.names()).await;
        all_run(&operator, counts.live).await;
        let live = resident(&operator);
        println!(
            "  round {round}: {} live jobs: {live:.1} MB, {:.1} MB for a thousand (bar: 30 MB)",
            counts.live,
            (live - idle) / count(counts.live as u64) * 1e3
        );
        workers.finish_all().await;
        site.is_empty().await;
        let after = resident(&operator);
        println!("  round {round}: when they are over: {after:.1} MB; at most {:.1} MB", peak(&operator));
    }
}

/// Waits until the operator holds all of them, and has no more to write.
async fn all_run(operator: &Operator, jobs: usize) {
    wait_for("the operator has them all", LONG, async || {
        let held = operator.metric("ckrv_operator_held_attempts").await?;
        (held >= count(jobs as u64)).then_some(())
    })
    .await;
}

/// Megabytes in memory.
fn resident(operator: &Operator) -> f64 {
    status(operator, "VmRSS:")
}

fn peak(operator: &Operator) -> f64 {
    status(operator, "VmHWM:")
}

/// A line of /proc/PID/status (proc_pid_status(5)), which is in KiB.
fn status(operator: &Operator, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", operator.child.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    count(kibibytes) * 1024.0 / 1e6
}
