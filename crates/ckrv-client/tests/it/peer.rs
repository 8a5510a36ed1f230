//! A TCP peer that speaks just enough HTTP/1.1 to fail at any byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ckrv_client::{Client, ClientConfig, Retry, Timeouts};
use ckrv_types::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn query(&self, name: &str) -> Option<String> {
        let url = Url::parse(&format!("http://x{}", self.target)).unwrap();
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// Bytes to send, and what to do with the connection then.
pub struct Reply {
    pub bytes: Vec<u8>,
    pub then: Then,
}

#[derive(Clone, Copy)]
pub enum Then {
    Close,
    /// Say nothing more and stay.
    Hold,
    /// Stay, and send a comment each so often.
    Beat(Duration),
}

impl Reply {
    pub fn status(line: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
        for (name, value) in headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        Self { bytes: format!("{text}\r\n{body}").into_bytes(), then: Then::Close }
    }

    pub fn json(body: &str) -> Self {
        Self::status("200 OK", &[("content-type", "application/json")], body)
    }

    pub fn problem(line: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut all = vec![("content-type", "application/problem+json")];
        all.extend_from_slice(headers);
        Self::status(line, &all, body)
    }

    /// A stream of events, each its own chunk, whole up to its proper end.
    pub fn events(events: &[String]) -> Self {
        let mut text = String::from(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        );
        for event in events {
            write!(text, "{:x}\r\n{event}\r\n", event.len()).unwrap();
        }
        text.push_str("0\r\n\r\n");
        Self { bytes: text.into_bytes(), then: Then::Close }
    }

    /// Without the last chunk, so that more could follow.
    pub fn endless(mut self, then: Then) -> Self {
        self.bytes.truncate(self.bytes.len() - "0\r\n\r\n".len());
        self.then = then;
        self
    }

    /// Cut off after so many bytes.
    pub fn cut(mut self, at: usize) -> Self {
        self.bytes.truncate(at);
        self
    }
}

/// The peer, until it is dropped.
pub struct Peer {
    pub url: Url,
    requests: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Peer {
    /// Answers the n-th request (from 0) by `answer`.
    pub async fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, seen.clone(), answer.clone()));
            }
        });
        Self { url, requests, task }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn config(&self) -> ClientConfig {
        ckrv_client::install_crypto_provider();
        ClientConfig {
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                request: Duration::from_secs(5),
                silence: Duration::from_millis(300),
            },
            retry: Retry::within(Duration::from_secs(5)),
            ..ClientConfig::new(self.url.clone(), Secret::new("ck_live_test"), "ckrv-tests/1")
        }
    }

    pub fn client(&self) -> Client {
        Client::new(self.config()).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Request>>>, answer: Arc<impl Fn(usize, &Request) -> Reply>) {
    let Some(request) = read(&mut stream).await else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let reply = answer(number, &request);
    // The client may have gone away, which is its right.
    let _ = stream.write_all(&reply.bytes).await;
    match reply.then {
        Then::Close => {
            let _ = stream.shutdown().await;
        }
        Then::Hold => {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Then::Beat(every) => {
            while stream.write_all(b"3\r\n:\n\n\r\n").await.is_ok() {
                tokio::time::sleep(every).await;
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<_, _> =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |value| value.parse().unwrap());
    while bytes.len() < head + 4 + length {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    let body = String::from_utf8_lossy(&bytes[head + 4..head + 4 + length]).into_owned();
    Some(Request { method, target, headers, body })
}
