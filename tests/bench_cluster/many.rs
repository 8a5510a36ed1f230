//! Many jobs on one node: from the first submission to the end of the last, beside as many pods of the same shape, and beside
//! pods of one container that does nothing. And what the operator writes for each.

use std::time::Instant;

use ckrv_tests::wait::wait_for;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;

use crate::Counts;
use crate::cluster::Jobs;
use crate::raw::CONCURRENCY;
use crate::real::{Real, image};
use crate::seen::Seen;
use crate::site::{LONG, clear};
use crate::writes::Writes;

pub async fn measure(counts: &Counts) {
    let real = Real::new(counts.real).await;
    let same = same_shape(&real, counts.real).await;
    let writes = Writes::begin(&real.release);
    let ours = ours(&real, counts.real).await;
    writes.print(counts.real);
    let least = busybox(&real.beside, counts.real).await;
    println!(
        "  {} jobs that do nothing, first submitted to last over: {ours:.1} s; {:.2} x pods of the same shape ({same:.1} s; bar: \
         1.10); {:.2} x pods of one busybox container ({least:.1} s; aim: 1.5)",
        counts.real,
        ours / same,
        ours / least
    );
}

async fn ours(real: &Real, jobs: usize) -> f64 {
    let begun = Instant::now();
    real.submit_many(jobs, &["true"]).await;
    wait_for("the jobs are over", LONG, async || {
        (real.count("select count(*) from jobs where finished_at is not null").await == jobs).then_some(())
    })
    .await;
    let took = begun.elapsed().as_secs_f64();
    let succeeded = real.count("select count(*) from jobs where state = 'succeeded'").await;
    assert_eq!(succeeded, jobs, "not all succeeded\n{}", real.release.story().await);
    real.release.clean().await;
    took
}

async fn same_shape(real: &Real, pods: usize) -> f64 {
    let (raw, seen, clone) = (real.raw().await, Seen::start(&real.beside).await, real.clone_script());
    let begun = Instant::now();
    let making = futures::stream::iter((0..pods).map(|_| raw.make_working(&clone, "true")));
    making.buffer_unordered(CONCURRENCY).collect::<Vec<_>>().await;
    let took = (seen.succeeded(pods, LONG).await - begun).as_secs_f64();
    clear(&real.beside).await;
    took
}

async fn busybox(beside: &Jobs, pods: usize) -> f64 {
    let seen = Seen::start(beside).await;
    let api = beside.pods();
    let begun = Instant::now();
    let making = futures::stream::iter((0..pods).map(|number| {
        let (api, pod) = (api.clone(), one_container(number));
        async move { api.create(&PostParams::default(), &pod).await.unwrap() }
    }));
    making.buffer_unordered(CONCURRENCY).collect::<Vec<_>>().await;
    let took = (seen.succeeded(pods, LONG).await - begun).as_secs_f64();
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    took
}

fn one_container(number: usize) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("busybox-{number}")},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 64002, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "only",
                "image": image("ckrv-busybox"),
                "imagePullPolicy": "IfNotPresent",
                "command": ["true"],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}
            }]
        }
    }))
    .unwrap()
}
