//! One job: from its submission to the first thing that its agent prints, beside a pod of the same shape made by hand.

use ckrv_types::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use time::OffsetDateTime;

use crate::Counts;
use crate::raw::Raw;
use crate::real::Real;
use crate::seen::Seen;
use crate::site::LONG;
use crate::statistics::percentile;

/// Nanoseconds since 1970.
const SAY_NOW: &str = "date +%s%N";
/// Where the floor's containers meet: the agent begins when the clone is there, and nobody polls.
const DOOR: &str = "[ -p /ckrv/work/door ] || mkfifo -m 666 /ckrv/work/door 2>/dev/null || true";

pub async fn measure(counts: &Counts) {
    let real = Real::new(1).await;
    let raw = real.raw().await;
    let (mut ours, mut floor, mut bound) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..counts.real_runs {
        let (whole, job) = ours_once(&real).await;
        ours.push(whole);
        bound.push(until_bound(&job));
        floor.push(raw_once(&real, &raw).await);
    }
    let (p50, p99) = (percentile(&mut ours, 0.5), percentile(&mut ours, 0.99));
    let floor = percentile(&mut floor, 0.5);
    println!(
        "  submit to the agent's first line: p50 {p50:.0} ms, p99 {p99:.0} ms; {:.0} ms over a pod of the same shape by hand \
         ({floor:.0} ms; bar: 150 ms over)",
        p50 - floor
    );
    println!("  of that: p50 {:.0} ms until the worker has bound the attempt", percentile(&mut bound, 0.5));
}

/// Milliseconds until the worker has bound the attempt.
fn until_bound(job: &Job) -> f64 {
    let attempt = &job.attempts[0];
    (attempt.starting_at.unwrap() - attempt.queued_at).as_seconds_f64() * 1e3
}

/// Milliseconds from the submission to the line, and the job.
async fn ours_once(real: &Real) -> (f64, Job) {
    let begun = now();
    let job = real.submit(&["sh", "-c", SAY_NOW]).await.to_string();
    let text = real.release.stack.ckrv(&["logs", "--follow", &job]).await;
    let said = text.lines().find_map(|line| line.trim().parse::<i128>().ok());
    let Some(said) = said else { panic!("it said `{text}`\n{}", real.release.story().await) };
    let job = real.release.stack.client().job(job.parse().unwrap()).await.unwrap();
    real.release.clean().await;
    (millis(said - begun), job)
}

async fn raw_once(real: &Real, raw: &Raw<'_>) -> f64 {
    let seen = Seen::start(&real.beside).await;
    let begun = now();
    let clone = format!("{}; {DOOR}; echo > /ckrv/work/door", real.clone_script());
    let pod = raw.make_working(&clone, &format!("{DOOR}; read line < /ckrv/work/door; {SAY_NOW}")).await;
    seen.until("the pod ends", LONG, |pods| pods.succeeded.contains_key(&pod).then_some(())).await;
    let pods: Api<Pod> = real.beside.pods();
    let agent = LogParams { container: Some("agent".to_owned()), ..LogParams::default() };
    let said: i128 = pods.logs(&pod, &agent).await.unwrap().trim().parse().unwrap();
    pods.delete(&pod, &kube::api::DeleteParams::default()).await.unwrap();
    millis(said - begun)
}

fn now() -> i128 {
    OffsetDateTime::now_utc().unix_timestamp_nanos()
}

#[expect(clippy::cast_precision_loss, reason = "a difference of times")]
fn millis(nanos: i128) -> f64 {
    nanos as f64 / 1e6
}
