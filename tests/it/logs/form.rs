use ckrv_types::log::JobLine;

use super::{Fixture, line, ndjson};

#[tokio::test]
async fn hostile_text_comes_through_as_it_was_in_every_form() {
    let fixture = Fixture::new().await;
    let texts = ["\u{1b}[2J\u{1b}]0;evil\u{7}", "data: fake\r", "event: end", "\0\u{2028}\u{feff}", "\"\\\u{7f}", ""];
    let lines: Vec<_> = texts.iter().zip(1..).map(|(text, seq)| line(seq, text)).collect();
    fixture.append(1, &lines).await;
    fixture.end(1, None, Some(6)).await;

    let plain = fixture.read("text/plain", "").await.text().await.unwrap();
    assert_eq!(plain.split('\n').collect::<Vec<_>>()[..6], texts);
    let ndjson = fixture.read("application/x-ndjson", "").await.text().await.unwrap();
    let read: Vec<JobLine> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read.iter().map(|line| &line.line).collect::<Vec<_>>(), lines.iter().collect::<Vec<_>>());
    let events = fixture.events("", None).await;
    let logged: Vec<_> = events.iter().filter(|event| event.name == "log").map(|event| &event.data["text"]).collect();
    assert_eq!(logged, texts);
    assert_eq!(events.iter().filter(|event| event.name == "end").count(), 1);
}

#[tokio::test]
async fn lines_in_another_spelling_are_read_like_any_other() {
    let fixture = Fixture::new().await;
    let odd =
        r#"{"text":"spelled\u0020oddly", "stream":"stdout", "ts":"2027-01-15T08:00:01.000Z", "seq":1, "attempt": 9}"#;
    let body = zstd::bulk::compress(odd.as_bytes(), 3).unwrap();
    assert!(fixture.append_body(1, 1, body.into()).await.status().is_success());
    let read = fixture.read("application/x-ndjson", "").await.text().await.unwrap();
    let expected = ndjson(&[line(1, "spelled oddly")]).replace("{\"seq\"", "{\"attempt\":1,\"seq\"");
    assert_eq!(read, expected);
}
