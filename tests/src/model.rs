//! A scripted model: a server of Anthropic's Messages API that says what a test wrote, and remembers what it was asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Within this everything that a test waits for must have come.
const LIMIT: Duration = Duration::from_mins(1);

/// Keeps an answer waiting until the test opens it.
#[derive(Clone, Default)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        // The sender lives in `self`.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// One answer of the model.
#[derive(Clone)]
pub struct Turn {
    steps: Vec<Step>,
    usage: Value,
    output_tokens: u64,
    model: Option<String>,
    refusal: Option<(u16, &'static str)>,
}

#[derive(Clone)]
enum Step {
    Block(Value),
    Wait(Gate),
    Cut,
}

impl Default for Turn {
    fn default() -> Self {
        Self::new()
    }
}

impl Turn {
    pub fn new() -> Self {
        Self { steps: Vec::new(), usage: json!({"input_tokens": 1}), output_tokens: 1, model: None, refusal: None }
    }

    /// Says `text`.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.step(Step::Block(json!({"type": "text", "text": text})))
    }

    /// Asks for a tool.
    #[must_use]
    pub fn tool(self, name: &str, input: &Value) -> Self {
        let id = format!("toolu_{:016x}", rand::random::<u64>());
        self.step(Step::Block(json!({"type": "tool_use", "id": id, "name": name, "input": input})))
    }

    /// Goes on only when `gate` is open; never, if nobody opens it.
    #[must_use]
    pub fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// Breaks off the connection here.
    #[must_use]
    pub fn cut(self) -> Self {
        self.step(Step::Cut)
    }

    /// What the prompt used, in the API's own fields; told at the start.
    #[must_use]
    pub fn prompt_usage(mut self, usage: Value) -> Self {
        self.usage = usage;
        self
    }

    /// Tokens of output; told at the end.
    #[must_use]
    pub const fn output_tokens(mut self, tokens: u64) -> Self {
        self.output_tokens = tokens;
        self
    }

    /// Answers as another model than the one that was asked.
    #[must_use]
    pub fn model(mut self, model: &str) -> Self {
        self.model = Some(model.to_owned());
        self
    }

    /// An error of this status and type in place of an answer, such as 529 and `overloaded_error`.
    pub fn refuse(status: u16, kind: &'static str) -> Self {
        Self { refusal: Some((status, kind)), ..Self::new() }
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn stop_reason(&self) -> &'static str {
        let asks = |step: &Step| matches!(step, Step::Block(block) if block["type"] == "tool_use");
        if self.steps.iter().any(asks) { "tool_use" } else { "end_turn" }
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    /// `Null` where it was not JSON.
    pub body: Value,
}

/// The running server; it stops when dropped.
pub struct ModelServer {
    address: String,
    script: Arc<Script>,
    server: JoinHandle<()>,
}

struct Script {
    key: String,
    turns: Mutex<std::vec::IntoIter<Turn>>,
    asked: watch::Sender<Vec<Asked>>,
    /// Streams that the client left before their end.
    left: watch::Sender<usize>,
}

impl ModelServer {
    /// Answers whoever has `key`, one turn for each request for a message. A request past the last turn is an error.
    pub async fn start(key: &str, turns: Vec<Turn>) -> Self {
        let script = Arc::new(Script {
            key: key.to_owned(),
            turns: Mutex::new(turns.into_iter()),
            asked: watch::Sender::default(),
            left: watch::Sender::default(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the scripted model serves");
        });
        Self { address, script, server }
    }

    pub fn url(&self) -> url::Url {
        self.address.parse().expect("an address is a URL")
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.script.asked.borrow().clone()
    }

    /// Waits until there were `count` requests.
    pub async fn wait_until_asked(&self, count: usize) {
        wait(&self.script.asked, |asked| asked.len() >= count).await;
    }

    /// Waits until the client has left `count` streams before their end.
    pub async fn wait_until_left(&self, count: usize) {
        wait(&self.script.left, |left| *left >= count).await;
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn wait<T>(value: &watch::Sender<T>, is_there: impl FnMut(&T) -> bool) {
    let mut value = value.subscribe();
    let waited = tokio::time::timeout(LIMIT, value.wait_for(is_there)).await;
    assert!(waited.is_ok_and(|found| found.is_ok()), "the model was not asked as expected");
}

async fn answer(State(script): State<Arc<Script>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    script.asked.send_modify(|all| all.push(asked.clone()));
    if asked.headers.get("x-api-key").is_none_or(|key| key != script.key.as_str()) {
        return refusal(401, "authentication_error");
    }
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/v1/messages") => message(script, &asked.body),
        ("POST", "/v1/messages/count_tokens") => Json(json!({"input_tokens": 10})).into_response(),
        ("GET", "/v1/models") => Json(json!({"data": [], "has_more": false})).into_response(),
        _ => refusal(404, "not_found_error"),
    }
}

fn refusal(status: u16, kind: &str) -> Response {
    let status = StatusCode::from_u16(status).expect("a test names a real status");
    (status, Json(json!({"type": "error", "error": {"type": kind, "message": "scripted"}}))).into_response()
}

fn message(script: Arc<Script>, body: &Value) -> Response {
    let Some(turn) = lock(&script.turns).next() else { return refusal(400, "invalid_request_error") };
    if let Some((status, kind)) = turn.refusal {
        return refusal(status, kind);
    }
    let model = turn.model.clone().unwrap_or_else(|| body["model"].as_str().unwrap_or_default().to_owned());
    let is_stream = body["stream"] == true;
    let steps = if is_stream { streamed(&turn, &model) } else { in_one_piece(&turn, &model) };
    let kind = if is_stream { "text/event-stream; charset=utf-8" } else { "application/json" };
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(play(script, steps))).into_response()
}

/// What goes over the wire, in order.
enum Piece {
    Send(Bytes),
    Wait(Gate),
    Cut,
}

fn event(value: &Value) -> Piece {
    Piece::Send(format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or_default()).into())
}

fn streamed(turn: &Turn, model: &str) -> Vec<Piece> {
    let mut usage = turn.usage.clone();
    usage["output_tokens"] = json!(1);
    let mut pieces = vec![event(&json!({"type": "message_start", "message": {
        "id": format!("msg_{:016x}", rand::random::<u64>()), "type": "message", "role": "assistant", "model": model,
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage}}))];
    let mut index = 0;
    for step in &turn.steps {
        match step {
            Step::Wait(gate) => pieces.push(Piece::Wait(gate.clone())),
            Step::Cut => pieces.push(Piece::Cut),
            Step::Block(block) => {
                pieces.extend(block_events(index, block).iter().map(event));
                index += 1;
            }
        }
    }
    pieces.push(event(&json!({"type": "message_delta",
        "delta": {"stop_reason": turn.stop_reason(), "stop_sequence": null},
        "usage": {"output_tokens": turn.output_tokens}})));
    pieces.push(event(&json!({"type": "message_stop"})));
    pieces
}

fn block_events(index: usize, block: &Value) -> [Value; 3] {
    let (mut start, delta) = (
        block.clone(),
        match block["type"].as_str() {
            Some("text") => json!({"type": "text_delta", "text": block["text"]}),
            _ => json!({"type": "input_json_delta", "partial_json": block["input"].to_string()}),
        },
    );
    match start["type"].as_str() {
        Some("text") => start["text"] = json!(""),
        _ => start["input"] = json!({}),
    }
    [
        json!({"type": "content_block_start", "index": index, "content_block": start}),
        json!({"type": "content_block_delta", "index": index, "delta": delta}),
        json!({"type": "content_block_stop", "index": index}),
    ]
}

fn in_one_piece(turn: &Turn, model: &str) -> Vec<Piece> {
    let mut usage = turn.usage.clone();
    usage["output_tokens"] = json!(turn.output_tokens);
    let mut pieces = Vec::new();
    let mut content = Vec::new();
    for step in &turn.steps {
        match step {
            Step::Wait(gate) => pieces.push(Piece::Wait(gate.clone())),
            Step::Cut => pieces.push(Piece::Cut),
            Step::Block(block) => content.push(block.clone()),
        }
    }
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": turn.stop_reason(), "stop_sequence": null, "usage": usage});
    pieces.push(Piece::Send(message.to_string().into()));
    pieces
}

/// Counts a stream that is dropped before its end.
struct LeftEarly(Option<Arc<Script>>);

impl LeftEarly {
    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for LeftEarly {
    fn drop(&mut self) {
        if let Some(script) = &self.0 {
            script.left.send_modify(|left| *left += 1);
        }
    }
}

fn play(script: Arc<Script>, pieces: Vec<Piece>) -> BoxStream<'static, Result<Bytes, std::io::Error>> {
    let mut left_early = LeftEarly(Some(script));
    async_stream::stream! {
        for piece in pieces {
            match piece {
                Piece::Send(bytes) => yield Ok(bytes),
                Piece::Wait(gate) => gate.pass().await,
                Piece::Cut => {
                    // A body that is not ready makes the server write out what came before.
                    tokio::task::yield_now().await;
                    left_early.ended();
                    yield Err(std::io::Error::other("cut by the script"));
                    return;
                }
            }
        }
        left_early.ended();
    }
    .boxed()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
