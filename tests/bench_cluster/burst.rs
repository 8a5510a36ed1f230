//! Many jobs submitted at once: pods a second, beside the same objects made by a loop with as many connections.

use std::time::Instant;

use crate::Counts;
use crate::seen::Seen;
use crate::site::{LONG, Site, clear};
use crate::statistics::count;

pub async fn measure(counts: &Counts) {
    let site = Site::new(counts.burst).await;
    let before = raw(&site, counts.burst).await;
    let ours = {
        let _operator = site.operator(counts.burst).await;
        let seen = Seen::start(&site.installation.jobs).await;
        let begun = Instant::now();
        site.submit_many(counts.burst).await;
        let last = seen.count(counts.burst, LONG).await;
        count(counts.burst as u64) / (last - begun).as_secs_f64()
    };
    clear(&site.installation.jobs).await;
    let after = raw(&site, counts.burst).await;
    let floor = f64::midpoint(before, after);
    println!(
        "  {} jobs at once: {ours:.1} pods/s; {:.2} x making the same three objects by hand ({before:.1}/s before, {after:.1}/s \
         after; bar: 0.8)",
        counts.burst,
        ours / floor
    );
}

async fn raw(site: &Site, burst: usize) -> f64 {
    let rate = site.raw().await.rate(burst).await;
    clear(&site.beside).await;
    rate
}
