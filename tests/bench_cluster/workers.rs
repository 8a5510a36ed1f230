//! The workers of pods that do not run: this program speaks their protocol.

use std::collections::HashSet;
use std::time::Duration;

use ckrv_client::ClientConfig;
use ckrv_client::worker::WorkerClient;
use ckrv_server::auth::tokens::Signer;
use ckrv_tests::stack::Stack;
use ckrv_types::worker::{Finish, Outcome, Start, WorkerHeartbeat, WorkerPhase};
use ckrv_types::{AttemptId, Secret};
use futures::StreamExt as _;
use tokio::task::JoinHandle;

/// Requests at once.
const AT_ONCE: usize = 16;

/// All workers of a site.
pub struct Workers {
    client: WorkerClient,
    signer: Signer,
    org: ckrv_types::OrgId,
    live: Vec<Worker>,
    /// Names of the pods whose worker has ever begun.
    begun: HashSet<String>,
}

/// One, which beats until it finishes.
struct Worker {
    client: WorkerClient,
    instance: String,
    beating: JoinHandle<()>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

impl Workers {
    pub fn new(stack: &Stack) -> Self {
        let none = Secret::new("none-yet");
        let config = ClientConfig::new(stack.server_url().parse().unwrap(), none, "ckrv-bench");
        // What the operator puts into the pod's secret.
        let signer = Signer::new(&stack.secret_key()).unwrap();
        let client = WorkerClient::new(config).unwrap().with_retry(Duration::from_secs(20));
        Self { client, signer, org: stack.keys.org, live: Vec::new(), begun: HashSet::new() }
    }

    /// Begins the attempts of these pods, but of those that it has begun before; they beat from now on.
    pub async fn start(&mut self, pods: impl IntoIterator<Item = String>) {
        let new = pods.into_iter().filter(|pod| self.begun.insert(pod.clone())).collect::<Vec<_>>();
        let starting = futures::stream::iter(new.iter().map(|pod| self.start_one(pod)));
        let started: Vec<_> = starting.buffer_unordered(AT_ONCE).collect().await;
        self.live.extend(started);
    }

    async fn start_one(&self, pod: &str) -> Worker {
        let attempt: AttemptId = pod.parse().unwrap();
        let boot = self.client.with_token(&self.signer.bootstrap_token(self.org, attempt)).unwrap();
        let instance = format!("{:032x}", rand::random::<u128>());
        let start = Start { instance: instance.clone(), version: "0.0.0".to_owned(), node: Some("fake".to_owned()) };
        let started = boot.start(&start).await.unwrap();
        let client = boot.with_token(&started.attempt_token.0).unwrap();
        let beating = tokio::spawn(beat(client.clone(), instance.clone(), started.beat_seconds));
        Worker { client, instance, beating }
    }

    /// Ends one of them, whichever.
    pub async fn finish_one(&mut self) {
        self.live.pop().unwrap().finish().await;
    }

    pub async fn finish_all(&mut self) {
        let finishing = futures::stream::iter(self.live.drain(..).map(Worker::finish));
        finishing.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    }
}

impl Worker {
    async fn finish(self) {
        self.beating.abort();
        let outcome = Outcome { cause: None, message: None, exit_code: Some(0) };
        let finish = Finish {
            instance: self.instance.clone(),
            outcome,
            last_seq: 0,
            artifacts: Vec::new(),
            summary: None,
            usage: None,
        };
        self.client.finish(&finish).await.unwrap();
    }
}

async fn beat(client: WorkerClient, instance: String, seconds: u64) {
    let wait = Duration::from_secs(seconds);
    loop {
        let beat = WorkerHeartbeat { instance: instance.clone(), phase: WorkerPhase::Running, usage: None };
        // The answer comes when it is time for the next.
        if client.heartbeat(&beat, wait).await.is_err() {
            return;
        }
    }
}
