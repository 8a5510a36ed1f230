//! A line's way from an agent in a pod to the CLI, with many pods streaming; and the operator's memory meanwhile.

use std::ops::Range;
use std::process::Stdio;

use ckrv_tests::wait::wait_for;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinSet;

use crate::Counts;
use crate::cluster::SOON;
use crate::real::Real;
use crate::statistics::{count, percentile};

/// What one follower saw: when each line was written, how many milliseconds later it was printed, and from the first line to
/// the last.
struct Followed {
    lines: Vec<(i128, f64)>,
    whole: Range<i128>,
}

pub async fn measure(counts: &Counts) {
    let real = Real::new(counts.real).await;
    // bash tells microseconds without starting a program for each line.
    let script = format!(
        "exec 3<> <(:); for line in $(seq {}); do echo \"${{EPOCHREALTIME/[.,]/}}000 $line\"; read -rt 1 -u 3 || true; done",
        counts.lines
    );
    let mut followers = JoinSet::new();
    for job in real.submit_many(counts.real, &["bash", "-c", &script]).await {
        let mut follower = real.release.stack.ckrv_command(&["logs", "--follow", &job.to_string()]);
        let follower = follower.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        followers.spawn(follow(follower.unwrap()));
    }
    let running = "select count(*) from attempts where state = 'running'";
    wait_for("all run", crate::site::LONG, async || (real.count(running).await == counts.real).then_some(())).await;
    let memory = operator_memory(&real).await;
    let followed = followers.join_all().await;
    let all = followed.iter().map(|one| one.whole.start).max().unwrap()
        ..followed.iter().map(|one| one.whole.end).min().unwrap();
    let lines = || followed.iter().flat_map(|one| &one.lines);
    let mut steady: Vec<f64> = lines().filter(|(at, _)| all.contains(at)).map(|(_, late)| *late).collect();
    let mut whole: Vec<f64> = lines().map(|(_, late)| *late).collect();
    assert_eq!(whole.len(), counts.real * counts.lines, "a follower did not see each line once");
    println!(
        "  {} pods, a line a second each, written to printed: p50 {:.1} ms, p99 {:.1} ms (bar: 100 ms; {} lines while all \
         streamed); with the start of all jobs in it p99 {:.1} ms",
        counts.real,
        percentile(&mut steady, 0.5),
        percentile(&mut steady, 0.99),
        steady.len(),
        percentile(&mut whole, 0.99)
    );
    println!("  the operator's container with {} live jobs: {memory:.1} MB resident", counts.real);
}

async fn follow(mut follower: Child) -> Followed {
    let mut printed = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut lines = Vec::new();
    while let Some(line) = printed.next_line().await.unwrap() {
        let Some((Ok(written), _)) = line.split_once(' ').map(|(time, rest)| (time.parse::<i128>(), rest)) else {
            continue;
        };
        let late = OffsetDateTime::now_utc().unix_timestamp_nanos() - written;
        #[expect(clippy::cast_precision_loss, reason = "a difference of times")]
        lines.push((written, late as f64 / 1e6));
    }
    follower.wait().await.unwrap();
    let whole = lines.first().unwrap().0..lines.last().unwrap().0;
    Followed { lines, whole }
}

/// Megabytes, as the kubelet says.
async fn operator_memory(real: &Real) -> f64 {
    let pod = &real.release.operators().await[0];
    let (name, node) = (pod.metadata.name.clone().unwrap(), pod.spec.as_ref().unwrap().node_name.clone().unwrap());
    wait_for("the kubelet tells of the operator", SOON, async || {
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        let stats: Value = serde_json::from_str(&real.release.kubectl(&["get", "--raw", &path]).await.out).ok()?;
        let pods = stats["pods"].as_array()?;
        let stats = pods.iter().find(|pod| pod["podRef"]["name"] == name.as_str())?;
        stats["containers"][0]["memory"]["rssBytes"].as_u64().map(|bytes| count(bytes) / 1e6)
    })
    .await
}
