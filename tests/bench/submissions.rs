//! Submissions a second with the queue's runner away, and their latency at half that rate; the floor is the bare insert of
//! a row with the same bytes, over as many connections.

use std::time::{Duration, Instant};

use ckrv_client::Client;
use ckrv_types::JobSpec;
use ckrv_types::job::SubmitJob;
use tokio::task::JoinSet;

use crate::statistics::{count, percentile};
use crate::{floor, stack};

const CLIENTS: u64 = 32;
const EACH: u64 = 150;
const PACED: Duration = Duration::from_secs(5);

pub async fn measure() {
    let stack = stack(0).await;
    let body = SubmitJob {
        spec: JobSpec { command: vec!["true".into()], ..JobSpec::new("https://example.com/team/app.git") },
        project: None,
    };
    let client = stack.client();
    // Connections that were just opened know no table and no statement yet.
    submit(&client, &body, EACH / 3).await;
    let begun = Instant::now();
    submit(&client, &body, EACH).await;
    let rate = count(CLIENTS * EACH) / begun.elapsed().as_secs_f64();
    let bytes = serde_json::to_vec(&body).unwrap().len();
    let floor = count(CLIENTS * EACH) / floor::inserts(&stack, usize::try_from(CLIENTS).unwrap(), EACH, bytes).await;
    println!("  submissions: {rate:.0}/s (bar: 1,000/s); {:.2} x bare inserts ({floor:.0}/s)", rate / floor);

    let mut ticks = tokio::time::interval(Duration::from_secs_f64(2.0 / rate));
    let begun = Instant::now();
    let mut requests = JoinSet::new();
    while begun.elapsed() < PACED {
        ticks.tick().await;
        let (client, body) = (client.clone(), body.clone());
        requests.spawn(async move {
            let begun = Instant::now();
            client.submit(&body).await.unwrap();
            begun.elapsed().as_secs_f64() * 1e3
        });
    }
    let mut latencies = requests.join_all().await;
    let (p50, p99) = (percentile(&mut latencies, 0.5), percentile(&mut latencies, 0.99));
    println!("  at half that rate: p50 {p50:.1} ms, p99 {p99:.1} ms (bar: 50 ms)");
}

/// So many by each client, one after the other.
async fn submit(client: &Client, body: &SubmitJob, each: u64) {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, body) = (client.clone(), body.clone());
        clients.spawn(async move {
            for _ in 0..each {
                client.submit(&body).await.unwrap();
            }
        });
    }
    clients.join_all().await;
}
