//! A git host, with a password or open to all: real `git http-backend` behind a small CGI bridge (RFC 3875). The tests of the whole path
//! use it, too.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use ckrv_types::RepoUrl;
use ckrv_types::repo_url::RepoPolicy;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

pub struct GitHost {
    port: u16,
    logins: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

struct Host {
    folder: PathBuf,
    /// The `Authorization` that opens the door; none: it stands open.
    login: Option<String>,
    logins: Arc<AtomicUsize>,
    /// The port to which those who were let in are sent on.
    elsewhere: Option<u16>,
}

impl GitHost {
    /// Serves the repositories in `folder` to those who show `login`, the Base64 of `user:password`, or to all
    /// if that is empty; `/moved/…` redirects to them.
    pub async fn start(folder: &Path, login: &str) -> Self {
        Self::with(folder, login, None).await
    }

    /// Has nothing itself: wants `login`, and sends on to another.
    #[allow(dead_code, reason = "not every suite has redirects between hosts")]
    pub async fn redirecting(login: &str, to: &Self) -> Self {
        Self::with(Path::new("/nonexistent"), login, Some(to.port)).await
    }

    async fn with(folder: &Path, login: &str, elsewhere: Option<u16>) -> Self {
        let logins = Arc::new(AtomicUsize::new(0));
        let login = (!login.is_empty()).then(|| format!("Basic {login}"));
        let host = Host { folder: folder.to_owned(), login, logins: Arc::clone(&logins), elsewhere };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let router = Router::new().fallback(answer).with_state(Arc::new(host));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the server runs") });
        Self { port, logins, server }
    }

    pub fn url(&self, path: &str) -> RepoUrl {
        let text = format!("http://127.0.0.1:{}/{path}", self.port);
        RepoUrl::parse(&text, &RepoPolicy::embedded()).expect("a URL")
    }

    /// Requests that carried an `Authorization`.
    pub fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }
}

impl Drop for GitHost {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(host): State<Arc<Host>>, request: Request) -> Response<Body> {
    let login = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    host.logins.fetch_add(usize::from(login.is_some()), Ordering::SeqCst);
    let answer = Response::builder();
    if let Some(there) = request.uri().path().strip_prefix("/moved") {
        let query = request.uri().query().unwrap_or_default();
        let answer = answer.status(StatusCode::MOVED_PERMANENTLY).header("location", format!("{there}?{query}"));
        return answer.body(Body::empty()).expect("an answer");
    }
    if host.login.is_some() && login != host.login.as_deref() {
        let answer = answer.status(StatusCode::UNAUTHORIZED).header("www-authenticate", "Basic realm=\"git\"");
        return answer.body(Body::empty()).expect("an answer");
    }
    if let Some(port) = host.elsewhere {
        let there = format!("http://127.0.0.1:{port}{}", request.uri());
        let answer = answer.status(StatusCode::TEMPORARY_REDIRECT).header("location", there);
        return answer.body(Body::empty()).expect("an answer");
    }
    run(&host, request).await
}

async fn run(host: &Host, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a small body");
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .envs([("PATH", PATH), ("GIT_HTTP_EXPORT_ALL", "1"), ("GIT_CONFIG_NOSYSTEM", "1"), ("HOME", "/nonexistent")])
        .env("GIT_PROJECT_ROOT", &host.folder)
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&body).await.expect("it reads its input");
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends").stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("headers");
    let mut answer = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        answer = match name {
            "Status" => answer.status(value[..3].parse::<u16>().expect("a status")),
            _ => answer.header(name, value),
        };
    }
    answer.body(Body::from(output[end + 4..].to_vec())).expect("an answer")
}
