//! How soon an accepted job is given to its runner and worked on, and how soon a change is seen at the CLI.

use ckrv_tests::repo::Repo;
use ckrv_types::Job;

use crate::emit::now;
use crate::stack;
use crate::statistics::percentile;

const RUNS: usize = 30;

pub async fn measure() {
    let (stack, repo) = (stack(4).await, Repo::new());
    let (mut assigned, mut first_line, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let begun = now();
        // The agent's only line says when it was written.
        let script = "date +%s%N";
        let job = stack.ckrv(&["run", "--repo", &repo.url(), "--branch", "main", "--", "sh", "-c", script]).await;
        let text = stack.ckrv(&["logs", "--follow", &job]).await;
        let ended_at_cli = now();
        let line: i128 = text.lines().last().unwrap().trim().parse().unwrap();
        let job: Job = serde_json::from_str(&stack.ckrv(&["status", &job, "-o", "json"]).await).unwrap();
        let attempt = &job.attempts[0];
        let waited = attempt.assigned_at.unwrap() - attempt.queued_at;
        assigned.push(waited.as_seconds_f64() * 1e3);
        first_line.push(millis(line - begun));
        seen.push(millis(ended_at_cli - job.finished_at.unwrap().unix_timestamp_nanos()));
    }
    for (what, values, bar) in [
        ("accepted to assigned", &mut assigned, "bar: 250 ms to the pod object"),
        ("`ckrv run` to the agent's first line", &mut first_line, "no bar without a cluster"),
        ("end of the job to the end of `ckrv logs --follow`", &mut seen, "bar: 1,000 ms"),
    ] {
        println!("  {what}: p50 {:.0} ms, p99 {:.0} ms ({bar})", percentile(values, 0.5), percentile(values, 0.99));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a difference of times")]
fn millis(nanos: i128) -> f64 {
    nanos as f64 / 1e6
}
