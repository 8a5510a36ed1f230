//! The listener for measurements, and what they and readiness tell while a part is away: of a server that is a process.

use std::net::TcpListener;
use std::time::Duration;

use ckrv_tests::replica::{spec, submit};
use ckrv_tests::stack::{Options, START, Stack, free_address};
use ckrv_tests::wait::wait_for;
use ckrv_types::{JobId, State};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A server with a metrics listener, and somebody who asks and has little patience.
struct Watched {
    stack: Stack,
    metrics: String,
    http: reqwest::Client,
}

impl Watched {
    async fn start(mut server: Vec<(&'static str, String)>) -> Self {
        let address = free_address().to_string();
        server.push(("CKRV_METRICS_LISTEN", address.clone()));
        let stack = Stack::with(Options { slots: 0, server, ..Options::default() }).await;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
        Self { stack, metrics: format!("http://{address}"), http }
    }

    async fn get(&self, url: &str) -> (StatusCode, String) {
        let answer = self.http.get(url).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn measurements(&self) -> String {
        self.get(&format!("{}/metrics", self.metrics)).await.1
    }

    /// What `/readyz` says of a ready server, which is the same on both listeners.
    async fn health(&self) -> Value {
        let [main, metrics] = [self.stack.server_url(), self.metrics.clone()].map(|server| format!("{server}/readyz"));
        for url in [main, metrics.clone()] {
            let (status, body) = self.get(&url).await;
            assert_eq!(status, StatusCode::OK, "{url}: {body}");
        }
        serde_json::from_str(&self.get(&metrics).await.1).unwrap()
    }

    async fn until(&self, status: &str, storage: u8) -> Value {
        let measured = format!("ckrv_component_up{{component=\"storage\"}} {storage}\n");
        wait_for(&format!("it is {status}, and measured as {storage}"), Duration::from_secs(30), async || {
            let health = self.health().await;
            (health["status"] == status && self.measurements().await.contains(&measured)).then_some(health)
        })
        .await
    }
}

#[tokio::test]
async fn measurements_have_few_labels_no_ids_and_a_listener_of_their_own() {
    let on = Watched::start(Vec::new()).await;
    let job = JobId::new();
    let _ = on.stack.client().job(job).await.unwrap_err();
    let server = on.stack.server_url();
    on.get(&format!("{server}/scan/me?x=1")).await;
    assert_eq!(on.get(&format!("{server}/metrics")).await.0, StatusCode::NOT_FOUND);
    let text = on.measurements().await;
    assert!(text.contains(r#"ckrv_http_requests_total{route="/v1/jobs/{id}",method="GET",status="4xx"} 1"#), "{text}");
    assert!(text.contains(r#"route="none""#) && !text.contains("scan"), "{text}");
    assert!(!text.contains(&job.to_string()));
    assert!(text.contains(r#"ckrv_database_connections{pool="app""#), "{text}");
    assert_eq!(on.get(&format!("{}/healthz", on.metrics)).await.0, StatusCode::OK);
    assert_eq!(on.get(&format!("{}/v1/whoami", on.metrics)).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_server_whose_object_store_refuses_is_degraded_and_takes_jobs() {
    let on = Watched::start(Vec::new()).await;
    on.until("ok", 1).await;
    on.stack.s3.set_refusing(true);
    let health = on.until("degraded", 0).await;
    assert_eq!(health["degraded"][0]["component"], "storage", "{health}");
    let client = on.stack.client();
    let job = submit(&client, spec()).await;
    assert_eq!(client.job(job.id).await.unwrap().state, State::Queued);
    on.stack.s3.set_refusing(false);
    let health = on.until("ok", 1).await;
    assert!(health.get("degraded").is_none(), "{health}");
    let log = on.stack.log("server.log");
    for said in ["artifacts, archived logs and the archiving of others wait", "is as it should be again"] {
        assert_eq!(log.matches(said).count(), 1, "a change is told once\n{log}");
    }
}

#[tokio::test]
async fn an_object_store_that_hangs_holds_up_nobody_who_asks() {
    // It takes connections, and that is all.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    let on = Watched::start(vec![("CKRV_S3_ENDPOINT", endpoint)]).await;
    on.until("degraded", 0).await;
}

#[tokio::test]
async fn a_server_that_drains_is_not_ready_and_is_measured_to_the_end() {
    let mut on = Watched::start(Vec::new()).await;
    let key = on.stack.keys.api_key.expose();
    let request = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut sending = TcpStream::connect(on.stack.address()).await.unwrap();
    sending.write_all(request.as_bytes()).await.unwrap();
    let mut asked = [0; 12];
    sending.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100", "the request is not being read");

    on.stack.terminate_server();
    let ready = format!("{}/readyz", on.metrics);
    let body = wait_for("the server is not ready", START, async || {
        let (status, body) = on.get(&ready).await;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(body)
    })
    .await;
    assert!(body.contains(r#""field":"server""#), "{body}");
    assert!(on.measurements().await.contains("# EOF"));
    // The last request ends, and with it the server.
    drop(sending);
    assert!(on.stack.server_died(START).await.success());
}

#[tokio::test]
async fn a_server_that_leaves_takes_new_jobs_until_nobody_is_sent_to_it() {
    let mut on = Watched::start(vec![("CKRV_LEAVE_SECONDS", "3".to_owned())]).await;
    on.stack.terminate_server();
    let ready = format!("{}/readyz", on.stack.server_url());
    wait_for("the server is not ready", START, async || {
        (on.get(&ready).await.0 == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    submit(&on.stack.client(), spec()).await;
    assert!(on.stack.server_died(START).await.success());
}
