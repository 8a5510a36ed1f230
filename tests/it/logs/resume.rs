use ckrv_types::Cause;
use ckrv_types::log::Line;
use sha2::{Digest as _, Sha256};

use super::{Fixture, line, lines};

/// Batches of uneven sizes over two attempts, some long lines among them.
async fn written(fixture: &Fixture) {
    let mut first = 1;
    for size in [1, 7, 250, 3, 1000, 40] {
        let batch: Vec<Line> =
            (first..first + size).map(|seq| line(seq, &"long ".repeat(usize::try_from(seq % 100).unwrap()))).collect();
        fixture.append(1, &batch).await;
        first += size;
    }
    fixture.end(1, Some(Cause::NodeLost), None).await;
    fixture.append(2, &lines(1..=20)).await;
    fixture.end(2, None, Some(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_read_during_and_the_read_after_have_one_hash_from_rows_and_from_the_archive() {
    let fixture = Fixture::new().await;
    let during = async { fixture.read("application/x-ndjson", "follow=true").await.bytes().await.unwrap() };
    let (during, ()) = tokio::join!(during, written(&fixture));
    let hash = Sha256::digest(&during);
    assert_eq!(std::str::from_utf8(&during).unwrap().lines().count(), 1301 + 20);
    for store in ["database", "archive"] {
        let after = fixture.read("application/x-ndjson", "").await.bytes().await.unwrap();
        assert_eq!(Sha256::digest(&after), hash, "from the {store}");
        fixture.archive().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_cut_anywhere_goes_on_with_the_next_line() {
    let fixture = Fixture::new().await;
    written(&fixture).await;
    let whole = fixture.events("", None).await;
    let logged: Vec<_> = whole.iter().filter(|event| event.name == "log").cloned().collect();
    assert_eq!(logged.len(), 1301 + 20);
    for store in ["database", "archive"] {
        // Every 97th place meets all batches, both attempts and the borders between.
        let near_the_border = 1295..1310;
        for index in (0..logged.len()).step_by(97).chain(near_the_border) {
            let rest = fixture.events("", logged[index].id.as_deref()).await;
            let rest: Vec<_> = rest.into_iter().filter(|event| event.name == "log").collect();
            assert!(rest == logged[index + 1..], "behind {:?} from the {store}", logged[index].id);
        }
        fixture.archive().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_while_its_log_moves_to_the_archive() {
    let fixture = Fixture::new().await;
    // More than one fetch and the sockets' buffers hold.
    let text = |seq: u64| format!("{seq} ").repeat(10_000);
    for first in (1..=800).step_by(100) {
        let batch: Vec<Line> = (first..first + 100).map(|seq| line(seq, &text(seq))).collect();
        fixture.append(1, &batch).await;
    }
    fixture.end(1, None, Some(800)).await;
    let expected = Sha256::digest(fixture.read("application/x-ndjson", "").await.bytes().await.unwrap());

    let mut reading = fixture.read("application/x-ndjson", "").await;
    let mut read = Sha256::new();
    read.update(reading.chunk().await.unwrap().unwrap());
    fixture.archive().await;
    while let Some(chunk) = reading.chunk().await.unwrap() {
        read.update(&chunk);
    }
    assert_eq!(read.finalize(), expected);
}
