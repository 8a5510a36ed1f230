//! Following a log over connections that are cut, silent, refused, or repeat themselves.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ckrv_client::{ClientError, LogQuery};
use ckrv_types::log::{Cursor, JobLine, Line, LogEvent, Status, Stream as Pipe};
use ckrv_types::{JobId, ProblemCode, State};
use futures::{StreamExt as _, TryStreamExt as _};
use time::OffsetDateTime;

use crate::peer::{Peer, Reply, Request, Then};

const LINES: u64 = 200;

fn line(attempt: u32, seq: u64) -> JobLine {
    let text =
        format!("line {seq} of {attempt}: größer als \u{1f980} {}", "x".repeat(usize::try_from(seq % 40).unwrap()));
    JobLine { attempt, line: Line { seq, ts: OffsetDateTime::UNIX_EPOCH, stream: Pipe::Stdout, text } }
}

fn log_event(line: &JobLine) -> String {
    let data = serde_json::to_string(line).unwrap();
    format!("id: {}.{}\nevent: log\ndata: {data}\n\n", line.attempt, line.line.seq)
}

fn status_event(attempt: u32, state: State) -> String {
    let status = Status { attempt, state, cause: None, message: None, at: OffsetDateTime::UNIX_EPOCH };
    format!("event: status\ndata: {}\n\n", serde_json::to_string(&status).unwrap())
}

fn end_event() -> String {
    "event: end\ndata: {\"state\":\"succeeded\",\"complete\":true}\n\n".to_owned()
}

/// What a control plane would send to `request`: two attempts, each with a status before its lines.
fn whole_log(request: &Request) -> Vec<String> {
    let after: Cursor = request.header("last-event-id").map_or(Cursor::default(), |id| id.parse().unwrap());
    let mut events = Vec::new();
    for attempt in [1, 2] {
        events.push(status_event(attempt, State::Running));
        let behind = |seq: &u64| Cursor { attempt, seq: *seq } > after;
        events.extend((1..=LINES).filter(behind).map(|seq| log_event(&line(attempt, seq))));
    }
    events.push(end_event());
    events
}

fn following() -> LogQuery {
    LogQuery { follow: true, give_up: Duration::from_secs(5), ..LogQuery::default() }
}

async fn read_all(peer: &Peer, query: LogQuery) -> Result<Vec<LogEvent>, ClientError> {
    peer.client().logs(JobId::new(), query).try_collect().await
}

fn lines_of(events: &[LogEvent]) -> Vec<JobLine> {
    events.iter().filter_map(|event| if let LogEvent::Log(line) = event { Some(line.clone()) } else { None }).collect()
}

fn expected() -> Vec<JobLine> {
    [1, 2].into_iter().flat_map(|attempt| (1..=LINES).map(move |seq| line(attempt, seq))).collect()
}

#[tokio::test]
async fn cuts_at_any_byte_lose_no_line_and_repeat_none() {
    // Each connection is cut a little later than the one before: in the head, in chunk sizes, ids, data, and between.
    let peer = Peer::start(|number, request| {
        let reply = Reply::events(&whole_log(request));
        let cut = 40 + number * 397;
        if cut < reply.bytes.len() { reply.cut(cut) } else { reply }
    })
    .await;
    let events = read_all(&peer, following()).await.unwrap();
    assert_eq!(lines_of(&events), expected());
    assert!(matches!(events.last(), Some(LogEvent::End(_))));
    let statuses = events.iter().filter(|event| matches!(event, LogEvent::Status(_))).count();
    assert_eq!(statuses, 2, "a resume told a status twice");
    assert!(peer.requests().len() > 10, "only {} connections", peer.requests().len());
}

#[tokio::test]
async fn every_single_byte_of_a_short_log_is_a_safe_place_to_cut() {
    let length = Reply::events(&short_log(Cursor::default())).bytes.len();
    // One job for each place; its first connection is cut there.
    let cuts: BTreeMap<String, usize> = (0..length).map(|at| (JobId::new().to_string(), at)).collect();
    let uncut = Mutex::new(cuts.clone());
    let peer = Peer::start(move |_, request| {
        let after = request.header("last-event-id").map_or(Cursor::default(), |id| id.parse().unwrap());
        let reply = Reply::events(&short_log(after));
        let job = request.target.split('/').nth(3).unwrap();
        match uncut.lock().unwrap().remove(job) {
            Some(at) => reply.cut(at),
            None => reply,
        }
    })
    .await;
    let client = peer.client();
    let reads = cuts.iter().map(|(job, at)| {
        let log = client.logs(job.parse().unwrap(), following());
        async move { (at, log.try_collect::<Vec<_>>().await) }
    });
    for (at, events) in futures::future::join_all(reads).await {
        let events = events.unwrap_or_else(|error| panic!("cut at {at}: {error}"));
        assert_eq!(lines_of(&events), [line(1, 1), line(1, 2)], "cut at {at}");
    }
    assert!(peer.requests().len() > length, "the cuts did not make it connect again");
}

fn short_log(after: Cursor) -> Vec<String> {
    let lines = [line(1, 1), line(1, 2)];
    let mut events: Vec<String> = lines.iter().filter(|line| line.line.seq > after.seq).map(log_event).collect();
    events.push(end_event());
    events
}

#[tokio::test]
async fn lines_that_a_peer_repeats_are_dropped() {
    let peer = Peer::start(|_, _| {
        let numbers = [1, 2, 2, 1, 3, 3, 2];
        let mut events: Vec<String> = numbers.into_iter().map(|seq| log_event(&line(1, seq))).collect();
        events.push(end_event());
        Reply::events(&events)
    })
    .await;
    let events = read_all(&peer, following()).await.unwrap();
    assert_eq!(lines_of(&events), [line(1, 1), line(1, 2), line(1, 3)]);
}

#[tokio::test]
async fn a_silent_connection_is_given_up_and_resumed() {
    let peer = Peer::start(|number, request| match number {
        0 => Reply::events(&[log_event(&line(1, 1))]).endless(Then::Hold),
        _ => Reply::events(&whole_log(request)),
    })
    .await;
    let events = read_all(&peer, following()).await.unwrap();
    assert_eq!(lines_of(&events), expected());
    assert_eq!(peer.requests()[1].header("last-event-id"), Some("1.1"));
}

#[tokio::test]
async fn heartbeats_keep_a_quiet_connection() {
    let peer =
        Peer::start(|_, _| Reply::events(&[log_event(&line(1, 1))]).endless(Then::Beat(Duration::from_millis(50))))
            .await;
    let mut log = Box::pin(peer.client().logs(JobId::new(), following()));
    assert!(matches!(log.next().await, Some(Ok(LogEvent::Log(_)))));
    // Three times the silence that would end it.
    let quiet = tokio::time::timeout(Duration::from_millis(900), log.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn no_content_is_the_end() {
    let peer = Peer::start(|number, request| match number {
        0 => Reply::events(&whole_log(request)[..3]),
        _ => Reply::status("204 No Content", &[], ""),
    })
    .await;
    let events = read_all(&peer, following()).await.unwrap();
    assert_eq!(lines_of(&events), [line(1, 1), line(1, 2)]);
}

#[tokio::test]
async fn without_follow_it_ends_where_nothing_more_comes_and_not_at_a_cut() {
    let peer = Peer::start(|number, request| {
        let after: Cursor = request.header("last-event-id").map_or(Cursor::default(), |id| id.parse().unwrap());
        let lines: Vec<String> = (1..=4).filter(|seq| *seq > after.seq).map(|seq| log_event(&line(1, seq))).collect();
        match number {
            // Cut off in the third line; then ended properly too early, as by a server that stops.
            0 => {
                let reply = Reply::events(&lines[..3]);
                let cut = reply.bytes.len() - 20;
                reply.cut(cut)
            }
            1 => Reply::events(&lines[..1]),
            _ => Reply::events(&lines),
        }
    })
    .await;
    let events = read_all(&peer, LogQuery { follow: false, ..following() }).await.unwrap();
    assert_eq!(lines_of(&events), [line(1, 1), line(1, 2), line(1, 3), line(1, 4)]);
    assert_eq!(peer.requests().last().unwrap().header("last-event-id"), Some("1.4"));
}

#[tokio::test]
async fn the_tail_is_asked_for_until_a_line_was_seen() {
    let peer = Peer::start(|number, request| match number {
        0 => Reply::events(&[status_event(1, State::Running)]).endless(Then::Close),
        1 => Reply::events(&[log_event(&line(1, 90))]).endless(Then::Close),
        _ => Reply::events(&whole_log(request)),
    })
    .await;
    let query = LogQuery { tail: Some(5), attempt: Some(1), ..following() };
    read_all(&peer, query).await.unwrap();
    let requests = peer.requests();
    assert_eq!(requests[0].query("follow").as_deref(), Some("true"));
    assert_eq!(requests[0].query("attempt").as_deref(), Some("1"));
    assert_eq!(requests[1].query("tail").as_deref(), Some("5"), "nothing was seen yet");
    assert_eq!(requests[2].query("tail"), None, "lines behind the first one seen would be lost");
    assert_eq!(requests[2].query("after").as_deref(), Some("1.90"));
}

#[tokio::test]
async fn a_server_that_is_restarting_is_waited_for() {
    let peer = Peer::start(|number, request| match number {
        0 => Reply::events(&[log_event(&line(1, 1))]).endless(Then::Close),
        1 => Reply::status("502 Bad Gateway", &[("content-type", "text/html")], "<h1>oops</h1>"),
        2 => Reply::problem(
            "503 Service Unavailable",
            &[("retry-after", "1")],
            r#"{"title":"t","status":503,"code":"unavailable","retryable":true}"#,
        ),
        _ => Reply::events(&whole_log(request)),
    })
    .await;
    let started = Instant::now();
    let events = read_all(&peer, following()).await.unwrap();
    assert_eq!(lines_of(&events), expected());
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After was not honoured");
}

#[tokio::test]
async fn a_refusal_on_the_way_ends_the_stream() {
    let peer = Peer::start(|number, _| match number {
        0 => Reply::events(&[log_event(&line(1, 1))]).endless(Then::Close),
        _ => Reply::problem("401 Unauthorized", &[], r#"{"title":"t","status":401,"code":"unauthenticated"}"#),
    })
    .await;
    let error = read_all(&peer, following()).await.unwrap_err();
    assert_eq!(error.problem_code(), Some(ProblemCode::Unauthenticated));
}

#[tokio::test]
async fn it_gives_up_only_after_the_time_it_was_given() {
    let peer = Peer::start(|_, _| Reply::status("200 OK", &[], "").cut(0)).await;
    let started = Instant::now();
    let query = LogQuery { give_up: Duration::from_millis(800), ..following() };
    let error = read_all(&peer, query).await.unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    assert!(peer.requests().len() > 2);
    assert!(started.elapsed() < Duration::from_secs(3));
}
