use ckrv_types::identity::CreateKey;
use ckrv_types::{Cause, ProblemCode};
use futures::StreamExt as _;
use reqwest::StatusCode;
use serde_json::json;

use super::{Fixture, events, lines, problem};
use ckrv_tests::replica::{spec, submit};

#[tokio::test]
async fn a_follower_waits_while_queued_and_gets_every_attempt_in_order_then_the_end() {
    let fixture = Fixture::new().await;
    let follow = async {
        let response = fixture.read("text/event-stream", "").await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        events(&response.text().await.unwrap())
    };
    let run = async {
        fixture.bind(1).await;
        fixture.append(1, &lines(1..=2)).await;
        fixture.append(1, &lines(3..=3)).await;
        fixture.end(1, Some(Cause::NodeLost), None).await;
        fixture.append(2, &lines(1..=1)).await;
        fixture.end(2, None, Some(1)).await;
    };
    let (events, ()) = tokio::join!(follow, run);
    let logged: Vec<_> = events.iter().filter(|event| event.name == "log").collect();
    let ids: Vec<_> = logged.iter().filter_map(|event| event.id.as_deref()).collect();
    assert_eq!(ids, ["1.1", "1.2", "1.3", "2.1"]);
    let expected =
        json!({ "attempt": 1, "seq": 1, "ts": "2027-01-15T08:00:01Z", "stream": "stdout", "text": "line 1" });
    assert_eq!(logged[0].data, expected);

    let end = events.last().unwrap();
    assert_eq!((end.name.as_str(), end.id.as_deref()), ("end", Some("2.1")));
    assert_eq!(end.data, json!({ "state": "succeeded", "complete": false }), "the first attempt's log was cut off");
    let told = |state: &str, attempt: u32| {
        let same = |event: &super::Event| event.data["state"] == state && event.data["attempt"] == attempt;
        events.iter().position(|event| event.name == "status" && same(event))
    };
    let third = events.iter().position(|event| event.id.as_deref() == Some("1.3"));
    assert!(told("queued", 1) == Some(0) && told("failed", 1) > third && told("succeeded", 2).is_some(), "{events:?}");
}

#[tokio::test]
async fn a_line_reaches_its_reader_well_within_a_second() {
    let fixture = Fixture::new().await;
    let mut stream = fixture.read("application/x-ndjson", "follow=true").await.bytes_stream();
    // The reader waits by now, for it has looked once; the second look would come a second later.
    for seq in 1..=5 {
        let sent = std::time::Instant::now();
        fixture.append(1, &lines(seq..=seq)).await;
        let got = stream.next().await.unwrap().unwrap();
        assert!(std::str::from_utf8(&got).unwrap().contains(&format!("line {seq}\"")));
        assert!(sent.elapsed().as_millis() < 700, "line {seq} took {:?}", sent.elapsed());
    }
}

#[tokio::test]
async fn tail_since_and_attempt_combine_and_read_the_same_from_both_stores() {
    let fixture = Fixture::new().await;
    for first in [1, 11, 21] {
        fixture.append(1, &lines(first..=first + 9)).await;
    }
    fixture.end(1, Some(Cause::NodeLost), Some(30)).await;
    fixture.append(2, &lines(1..=4)).await;
    fixture.end(2, None, Some(4)).await;
    let numbers = |attempt: &[std::ops::RangeInclusive<u64>]| -> Vec<String> {
        attempt.iter().cloned().flatten().map(|seq| format!("line {seq}")).collect()
    };
    // Line 28's time; attempt 2's lines are older again, as a clock may go, and are still behind it.
    let since = "since=2027-01-15T08:00:28Z";
    for store in ["database", "archive"] {
        for (query, expected) in [
            ("", vec![1..=30, 1..=4]),
            ("attempt=1", vec![1..=30]),
            ("attempt=2", vec![1..=4]),
            ("tail=2", vec![3..=4]),
            ("tail=9", vec![26..=30, 1..=4]),
            ("tail=0", vec![]),
            ("tail=1000", vec![1..=30, 1..=4]),
            ("tail=12&attempt=1", vec![19..=30]),
            ("after=1.29", vec![30..=30, 1..=4]),
            ("after=1.29&tail=2", vec![3..=4]),
            ("after=1.5&attempt=2", vec![1..=4]),
            (since, vec![28..=30, 1..=4]),
            (&format!("{since}&attempt=1"), vec![28..=30]),
            (&format!("{since}&tail=5"), vec![30..=30, 1..=4]),
            ("since=2040-01-01T00:00:00Z", vec![]),
        ] {
            assert_eq!(fixture.texts(query).await, numbers(&expected), "{query} from the {store}");
        }
        fixture.archive().await;
    }
}

#[tokio::test]
async fn at_the_end_a_reconnect_is_told_that_nothing_is_left() {
    let fixture = Fixture::new().await;
    fixture.append(1, &lines(1..=2)).await;
    fixture.end(1, None, Some(2)).await;
    for (query, last_event_id) in [("", Some("1.2")), ("after=1.2", None), ("", Some("9.9")), ("tail=1", Some("1.2"))] {
        let response = fixture.read_with("text/event-stream", query, last_event_id).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{query} {last_event_id:?}");
    }
    let events = fixture.events("tail=0", None).await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["status", "end"], "who has read nothing is told how it ended");
}

#[tokio::test]
async fn a_job_that_never_printed_ends_its_stream_once() {
    let fixture = Fixture::new().await;
    fixture.end(1, Some(Cause::CancelledByUser), None).await;
    let events = fixture.events("", None).await;
    let end = events.last().unwrap();
    let data = json!({ "state": "cancelled", "cause": "cancelled:user", "complete": true });
    assert_eq!((end.name.as_str(), end.id.as_deref(), &end.data), ("end", Some("1.0"), &data));
    let again = fixture.read_with("text/event-stream", "", end.id.as_deref()).await;
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_is_not_there_not_yours_or_no_longer_kept_is_told_apart() {
    let fixture = Fixture::new().await;
    fixture.append(1, &lines(1..=1)).await;
    let get = async |job: &str, query: &str, key: &ckrv_types::Secret| {
        let url = fixture.url(&format!("/v1/jobs/{job}/logs?{query}"));
        fixture.http.get(url).bearer_auth(key.expose()).header("accept", "text/plain").send().await.unwrap()
    };
    let (job, own) = (fixture.job.to_string(), &fixture.installation.keys().api_key);
    let stranger = fixture.installation.organization("strangers").await.api_key;
    for (job, query, key, status) in [
        (job.as_str(), "", own, 200),
        (&job, "", &stranger, 404),
        (&ckrv_types::JobId::new().to_string(), "", own, 404),
        ("job-nonsense", "", own, 404),
        (&job, "attempt=2", own, 404),
        (&job, "attempt=0", own, 404),
        (&job, "after=nonsense", own, 400),
        (&job, "since=yesterday", own, 400),
        (&job, "tial=5", own, 400),
    ] {
        let response = get(job, query, key).await;
        assert_eq!(response.status().as_u16(), status, "{job} {query}");
    }
    assert_eq!(fixture.read("image/png", "").await.status(), StatusCode::NOT_ACCEPTABLE);

    fixture.end(1, None, Some(1)).await;
    let mut sql = fixture.installation.sql().await;
    sqlx::query("update jobs set purged_at = now()").execute(&mut sql).await.unwrap();
    let expired = get(&job, "", own).await;
    assert_eq!(expired.status(), StatusCode::GONE);
    assert_eq!(problem(expired).await.code, ProblemCode::Expired);
}

#[tokio::test]
async fn a_key_of_another_project_sees_no_log() {
    let fixture = Fixture::new().await;
    let mut sql = fixture.installation.sql().await;
    let project = ckrv_types::ProjectId::new();
    sqlx::query("insert into projects (id, org_id, name) values ($1, $2, 'other')")
        .bind(project.uuid())
        .bind(fixture.installation.keys().org.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let wanted = CreateKey { name: "narrow".into(), projects: vec![project], ..CreateKey::default() };
    let token = fixture.installation.client().create_key(&wanted).await.unwrap().token;
    let url = fixture.url(&format!("/v1/jobs/{}/logs", fixture.job));
    let response = fixture.http.get(url).bearer_auth(token).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn two_jobs_logs_are_apart() {
    let fixture = Fixture::new().await;
    let other = submit(&fixture.installation.client(), spec()).await.id;
    fixture.append(1, &lines(1..=3)).await;
    let url = fixture.url(&format!("/v1/jobs/{other}/logs"));
    let other = fixture.http.get(url).bearer_auth(fixture.installation.keys().api_key.expose());
    let other = other.header("accept", "text/plain").send().await.unwrap();
    assert_eq!(other.text().await.unwrap(), "");
}

#[tokio::test]
async fn when_the_server_stops_events_end_and_bare_lines_break_off() {
    let fixture = Fixture::new().await;
    fixture.append(1, &lines(1..=2)).await;
    let following = fixture.read("text/event-stream", "").await;
    let lines = fixture.read("application/x-ndjson", "follow=true").await;
    fixture.installation.state().shutdown.cancel();
    let events = events(&following.text().await.expect("the stream ends in order"));
    assert!(events.iter().all(|event| event.name != "end"), "{events:?}");
    assert!(lines.text().await.is_err(), "a cut log must not pass for a whole one");
}
