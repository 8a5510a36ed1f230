use std::time::Duration;

use ckrv_server::logs::archive;
use ckrv_tests::wait::wait_for;
use ckrv_types::Cause;
use reqwest::StatusCode;
use sha2::{Digest as _, Sha256};

use super::{Fixture, lines, ndjson};

async fn archived(fixture: &Fixture) -> Vec<serde_json::Value> {
    let mut sql = fixture.installation.sql().await;
    sqlx::query_scalar("select archive from log_heads where archive is not null order by attempt")
        .fetch_all(&mut sql)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_archived_log_is_one_zstd_file_of_its_lines_with_an_index() {
    let fixture = Fixture::new().await;
    for first in [1, 6] {
        fixture.append(1, &lines(first..=first + 4)).await;
    }
    fixture.end(1, None, Some(10)).await;
    fixture.archive().await;
    let index = archived(&fixture).await.remove(0);
    let key = format!("logs/{}", fixture.attempt(1));
    assert_eq!(index["key"], *key);
    let state = fixture.installation.state();
    let object = state.s3.get(&key, None).await.unwrap().expect("the object is there");
    let bytes = axum::body::to_bytes(axum::body::Body::new(object.body), usize::MAX).await.unwrap();
    assert_eq!((index["size"].as_u64(), object.length), (Some(bytes.len() as u64), bytes.len() as u64));
    assert_eq!(index["sha256"], hex::encode(Sha256::digest(&bytes)));
    assert_eq!(String::from_utf8(zstd::stream::decode_all(&bytes[..]).unwrap()).unwrap(), ndjson(&lines(1..=10)));
}

#[tokio::test]
async fn archiving_again_or_at_the_same_time_changes_nothing() {
    let fixture = Fixture::new().await;
    fixture.append(1, &lines(1..=10)).await;
    fixture.end(1, None, Some(10)).await;
    let state = fixture.installation.state();
    let (one, two) = tokio::join!(archive::tick(state), archive::tick(state));
    one.and(two).unwrap();
    let before = archived(&fixture).await;
    assert_eq!((before.len(), fixture.chunks().await), (1, 0));
    fixture.archive().await;
    assert_eq!(archived(&fixture).await, before);
    assert_eq!(fixture.texts("tail=1").await, ["line 10"]);
}

#[tokio::test]
async fn a_log_without_a_line_and_a_live_one_leave_no_object() {
    let fixture = Fixture::new().await;
    fixture.end(1, Some(Cause::NodeLost), None).await;
    fixture.append(2, &lines(1..=3)).await;
    archive::tick(fixture.installation.state()).await.unwrap();
    assert_eq!(archived(&fixture).await.len(), 0);
    assert_eq!(fixture.chunks().await, 1, "the live log stays");
    for attempt in [1, 2] {
        let key = format!("logs/{}", fixture.attempt(attempt));
        assert_eq!(fixture.installation.state().s3.head(&key).await.unwrap(), None);
    }
    assert_eq!(fixture.texts("").await, ["line 1", "line 2", "line 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_logs_stay_in_the_database_and_are_read_from_there() {
    let fixture = Fixture::new().await;
    fixture.append(1, &lines(1..=3)).await;
    fixture.end(1, None, Some(3)).await;
    fixture.installation.s3().set_refusing(true);
    archive::tick(fixture.installation.state()).await.unwrap();
    assert_eq!((archived(&fixture).await.len(), fixture.chunks().await), (0, 1));
    assert_eq!(fixture.texts("").await.len(), 3);
    fixture.installation.s3().set_refusing(false);
    fixture.archive().await;
    assert_eq!(fixture.texts("").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_an_archive_is_told_when_the_store_is_away_and_one_that_began_sits_it_out() {
    let fixture = Fixture::new().await;
    let long = "x".repeat(60_000);
    // Incompressible enough that the archive takes several fetches.
    for batch in 0..12_u64 {
        let salt = |seq: u64| hex::encode(Sha256::digest(seq.to_le_bytes())).repeat(800);
        let lines: Vec<_> =
            (1..=10).map(|n| super::line(batch * 10 + n, &salt(batch * 10 + n)[..long.len() - 9000])).collect();
        fixture.append(1, &lines).await;
    }
    fixture.end(1, None, Some(120)).await;
    fixture.archive().await;
    let expected = fixture.texts("").await;
    fixture.installation.s3().set_refusing(true);
    let refused = fixture.read("text/plain", "").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    fixture.installation.s3().set_refusing(false);

    let reading = fixture.read("text/plain", "").await;
    fixture.installation.s3().set_refusing(true);
    let back = async {
        let streams = &fixture.installation.state().metrics.streams;
        wait_for("the reader is at it", Duration::from_secs(5), async || (streams.get() > 0).then_some(())).await;
        fixture.installation.s3().set_refusing(false);
    };
    let (text, ()) = tokio::join!(reading.text(), back);
    let text = text.unwrap();
    assert!(text.lines().eq(expected.iter().map(String::as_str)));
}
