//! How soon an accepted job has its pod: where nothing else is to be done, and where a thousand wait for a place.

use std::time::Instant;

use crate::Counts;
use crate::seen::Seen;
use crate::site::{LONG, Site};
use crate::statistics::percentile;
use crate::workers::Workers;

/// Places in the row with a queue.
const PLACES: usize = 20;

pub async fn measure(counts: &Counts) {
    let site = Site::new(1000).await;
    let mut idle = idle(&site, counts.runs).await;
    let mut queued = queued(&site, counts).await;
    let mut floor = site.raw().await.latencies(counts.runs).await;
    let floor = percentile(&mut floor, 0.5);
    for (what, values) in [
        ("submitted, nothing else going on, to the pod object", &mut idle),
        (&format!("a place gets free, {} wait, to the next one's pod object", counts.queued), &mut queued),
    ] {
        let (p50, p99) = (percentile(values, 0.5), percentile(values, 0.99));
        println!(
            "  {what}: p50 {p50:.0} ms, p99 {p99:.0} ms (bar: 250 ms); {:.1} x making the same three objects by hand ({floor:.0} ms)",
            p50 / floor
        );
    }
}

/// Milliseconds from the beginning of the request to the pod.
async fn idle(site: &Site, runs: usize) -> Vec<f64> {
    let _operator = site.operator(PLACES).await;
    let (seen, mut workers) = (Seen::start(&site.installation.jobs).await, Workers::new(&site.installation.stack));
    let mut latencies = Vec::new();
    for _ in 0..runs {
        let begun = Instant::now();
        let pod = format!("{}-1", site.submit().await.id);
        latencies.push((seen.pod(&pod, LONG).await - begun).as_secs_f64() * 1e3);
        workers.start([pod]).await;
        workers.finish_all().await;
        site.is_empty().await;
    }
    latencies
}

/// Milliseconds from the acknowledged end of one job to the pod of the next.
async fn queued(site: &Site, counts: &Counts) -> Vec<f64> {
    let _operator = site.operator(PLACES).await;
    let (seen, mut workers) = (Seen::start(&site.installation.jobs).await, Workers::new(&site.installation.stack));
    site.submit_many(PLACES + counts.queued).await;
    seen.count(PLACES, LONG).await;
    let mut latencies = Vec::new();
    for run in 0..counts.runs {
        workers.start(seen.names()).await;
        workers.finish_one().await;
        let begun = Instant::now();
        let came = seen.count(PLACES + run + 1, LONG).await;
        latencies.push((came - begun).as_secs_f64() * 1e3);
        // What is left of the last one goes before the next is measured.
        seen.until("only living pods are left", LONG, |pods| {
            (pods.came.len() - pods.gone.len() <= PLACES).then_some(())
        })
        .await;
    }
    latencies
}
