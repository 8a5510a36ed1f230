//! The spool under pressure: full, drained, restarted, cut off.

use std::sync::Arc;
use std::time::Duration;

use ckrv_types::log::{Line, Stream};

use futures::FutureExt;

use super::activity::Activity;
use super::lines::Lines;
use super::redact::Redactor;
use super::spool::{Batch, Diverged, MIN_CAPACITY, Peek, Spool};

fn spool() -> Arc<Spool> {
    Arc::new(Spool::create(&std::env::temp_dir(), MIN_CAPACITY, 1).unwrap())
}

fn lines(texts: impl IntoIterator<Item = String>) -> Lines {
    let mut lines = Lines::new(Arc::new(Redactor::default()));
    for text in texts {
        lines.push_text(&text);
    }
    lines
}

/// The next batch as lines; panics when there is none.
fn peek(spool: &Spool, bytes: &mut Vec<u8>) -> (Batch, Vec<Line>) {
    let Peek::Batch(batch) = spool.peek(bytes).unwrap() else { panic!("nothing to send") };
    let lines: Vec<Line> =
        bytes.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, batch.count);
    assert_eq!(lines[0].seq, batch.first_seq);
    (batch, lines)
}

#[tokio::test]
async fn lines_of_all_streams_are_numbered_without_gaps_in_the_order_of_their_bytes() {
    let (spool, activity) = (spool(), Activity::new());
    spool.append(Stream::Stdout, &lines(["a".into(), "b".into()]), &activity).await.unwrap();
    spool.append_system(&lines(["ckrv".into()])).unwrap();
    spool.append(Stream::Stderr, &lines(["c".into()]), &activity).await.unwrap();
    let (_, lines) = peek(&spool, &mut Vec::new());
    let seen: Vec<(u64, Stream, &str)> = lines.iter().map(|line| (line.seq, line.stream, line.text.as_str())).collect();
    let expected =
        [(1, Stream::Stdout, "a"), (2, Stream::Stdout, "b"), (3, Stream::System, "ckrv"), (4, Stream::Stderr, "c")];
    assert_eq!(seen, expected);
    assert_eq!(spool.last_seq(), 4);
}

#[tokio::test]
async fn a_full_spool_makes_the_producer_wait_and_loses_nothing() {
    let (spool, activity) = (spool(), Arc::new(Activity::new()));
    let count = 10_000_u64;
    let producer = tokio::spawn({
        let (spool, activity) = (Arc::clone(&spool), Arc::clone(&activity));
        async move {
            for n in 0..count {
                let text = format!("{n} {}", "x".repeat(1000));
                spool.append(Stream::Stdout, &lines([text]), &activity).await.unwrap();
            }
            spool.close();
        }
    });
    let (mut bytes, mut expected) = (Vec::new(), 1);
    loop {
        match spool.peek(&mut bytes).unwrap() {
            Peek::End => break,
            Peek::Empty => spool.readable().await,
            Peek::Batch(_) => {
                let (batch, lines) = peek(&spool, &mut bytes);
                for line in lines {
                    assert_eq!(line.seq, expected);
                    assert!(line.text.starts_with(&format!("{} x", expected - 1)));
                    expected += 1;
                }
                assert!(spool.backlog() <= MIN_CAPACITY);
                spool.acknowledge(batch, &bytes, expected).unwrap();
            }
        }
        tokio::task::yield_now().await;
    }
    producer.await.unwrap();
    assert_eq!(expected, count + 1);
}

#[tokio::test]
async fn while_the_producer_waits_the_idle_clock_stands_still_and_ckrv_can_still_speak() {
    let (spool, activity) = (spool(), Activity::new());
    let much = lines((0..10_000).map(|n| format!("{n} {}", "x".repeat(1000))));
    let mut append = std::pin::pin!(spool.append(Stream::Stdout, &much, &activity));
    assert!(append.as_mut().now_or_never().is_none(), "the spool was not full");
    assert_eq!(activity.silence(), Duration::ZERO);
    let before = spool.last_seq();
    spool.append_system(&lines(["cancelled".into()])).unwrap();
    assert_eq!(spool.last_seq(), before + 1);
}

#[tokio::test]
async fn a_new_sender_begins_with_the_oldest_line_that_is_not_acknowledged() {
    let (spool, activity) = (spool(), Activity::new());
    spool.append(Stream::Stdout, &lines((1..=9).map(|n| n.to_string())), &activity).await.unwrap();
    let mut bytes = Vec::new();
    let (batch, _) = peek(&spool, &mut bytes);
    // The server took some of it, its answer came; then the sender was lost.
    spool.acknowledge(batch, &bytes, 4).unwrap();
    let (batch, lines) = peek(&spool, &mut Vec::new());
    assert_eq!((batch.first_seq, batch.count), (4, 6));
    assert_eq!(lines[0].text, "4");
}

#[tokio::test]
async fn a_server_that_wants_other_lines_than_there_are_is_told_apart() {
    let (spool, activity) = (spool(), Activity::new());
    spool.append(Stream::Stdout, &lines((1..=9).map(|n| n.to_string())), &activity).await.unwrap();
    let mut bytes = Vec::new();
    let (batch, _) = peek(&spool, &mut bytes);
    spool.acknowledge(batch, &bytes, 4).unwrap();
    let (batch, _) = peek(&spool, &mut bytes);
    for expected in [3, 11] {
        assert_eq!(spool.acknowledge(batch, &bytes, expected), Err(Diverged { expected, first: 4, last: 9 }));
    }
}

#[tokio::test]
async fn an_append_has_at_most_as_many_lines_as_the_protocol_allows() {
    let (spool, activity) = (spool(), Activity::new());
    spool.append(Stream::Stdout, &lines((0..15_000).map(|_| String::new())), &activity).await.unwrap();
    let mut bytes = Vec::new();
    let (batch, _) = peek(&spool, &mut bytes);
    assert_eq!(batch.count, 10_000);
    spool.acknowledge(batch, &bytes, 10_001).unwrap();
    assert_eq!(peek(&spool, &mut bytes).0.count, 5_000);
}

#[tokio::test]
async fn a_spool_that_nobody_empties_any_more_lets_go_and_keeps_counting() {
    let (spool, activity) = (spool(), Arc::new(Activity::new()));
    let much = Arc::new(lines((0..10_000).map(|n| format!("{n} {}", "x".repeat(1000)))));
    let producer = tokio::spawn({
        let (spool, activity, much) = (Arc::clone(&spool), Arc::clone(&activity), Arc::clone(&much));
        async move { spool.append(Stream::Stdout, &much, &activity).await.unwrap() }
    });
    spool.readable().await;
    spool.discard();
    producer.await.unwrap();
    spool.append(Stream::Stdout, &much, &activity).await.unwrap();
    assert_eq!(spool.last_seq(), 20_000);
    spool.close();
    assert_eq!(spool.peek(&mut Vec::new()).unwrap(), Peek::End);
}
