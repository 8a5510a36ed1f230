use ckrv_types::worker::{Appended, LOG_MEDIA_TYPE};
use ckrv_types::{ProblemCode, limits, token};
use reqwest::StatusCode;

use super::{Fixture, frame, line, lines, ndjson, problem};

#[tokio::test]
async fn repeats_are_ignored_overlaps_trimmed_and_a_gap_is_told() {
    let fixture = Fixture::new().await;
    fixture.append(1, &lines(1..=3)).await;
    for (batch, next_seq) in [(lines(1..=3), 4), (lines(2..=2), 4), (lines(2..=5), 6), (lines(6..=6), 7)] {
        let answer = fixture.append_body(1, batch[0].seq, frame(&batch)).await;
        let expected = Appended { next_seq, over_limit: false };
        assert_eq!(answer.json::<Appended>().await.unwrap(), expected);
    }
    let refused = fixture.append_body(1, 9, frame(&lines(9..=9))).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let refused = problem(refused).await;
    assert_eq!((refused.code, refused.expected_seq), (ProblemCode::LogGap, Some(7)));
    assert_eq!(fixture.texts("").await, ["line 1", "line 2", "line 3", "line 4", "line 5", "line 6"]);
}

#[tokio::test]
async fn a_sealed_log_answers_where_it_ends() {
    let fixture = Fixture::new().await;
    fixture.append(1, &lines(1..=3)).await;
    fixture.end(1, None, Some(3)).await;
    for batch in [lines(4..=4), lines(1..=3)] {
        let refused = fixture.append_body(1, batch[0].seq, frame(&batch)).await;
        assert_eq!(refused.status(), StatusCode::GONE);
        let refused = problem(refused).await;
        assert_eq!((refused.code, refused.sealed_seq), (ProblemCode::Sealed, Some(3)));
    }
}

#[tokio::test]
async fn over_the_jobs_limit_lines_are_counted_and_one_line_says_so() {
    let kept = ndjson(&lines(1..=5)).len();
    let fixture = Fixture::with(&["--job-log-bytes", &kept.to_string()]).await;
    fixture.append(1, &lines(1..=3)).await;
    let crossing = fixture.append_body(1, 4, frame(&lines(4..=8))).await;
    assert_eq!(crossing.json::<Appended>().await.unwrap(), Appended { next_seq: 9, over_limit: true });
    let behind = fixture.append_body(1, 9, frame(&lines(9..=20))).await;
    assert_eq!(behind.json::<Appended>().await.unwrap(), Appended { next_seq: 21, over_limit: true });
    fixture.end(1, None, Some(20)).await;

    for store in ["database", "archive"] {
        let events = fixture.events("", None).await;
        let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
        let log = ["log"; 6];
        assert_eq!(names, [&log[..], &["gap", "status", "end"]].concat(), "{store}");
        let system = &events[5];
        assert_eq!((&system.data["seq"], &system.data["stream"]), (&6.into(), &"system".into()));
        assert!(system.data["text"].as_str().unwrap().contains("counted, not kept"), "{system:?}");
        let gap = serde_json::json!({ "attempt": 1, "first_seq": 7, "last_seq": 20 });
        assert_eq!((events[6].id.as_deref(), &events[6].data), (Some("1.20"), &gap));
        assert_eq!(events[8].data["complete"], true);
        fixture.archive().await;
    }
}

#[tokio::test]
async fn the_limit_is_the_jobs_and_not_the_attempts() {
    let fixture = Fixture::with(&["--job-log-bytes", &ndjson(&lines(1..=5)).len().to_string()]).await;
    fixture.append(1, &lines(1..=4)).await;
    fixture.end(1, Some(ckrv_types::Cause::NodeLost), None).await;
    let answer = fixture.append_body(2, 1, frame(&lines(1..=3))).await;
    assert_eq!(answer.json::<Appended>().await.unwrap(), Appended { next_seq: 4, over_limit: true });
}

#[tokio::test]
async fn a_token_in_a_line_is_masked_before_it_is_stored() {
    let fixture = Fixture::new().await;
    let secret = token::compose(token::TokenKind::Live, "x", &[3; token::SECRET_BYTES]);
    fixture.append(1, &[line(1, "before"), line(2, &format!("key={secret}")), line(3, "after")]).await;
    assert_eq!(fixture.texts("").await, ["before", "key=ck_live_[redacted]", "after"]);
}

#[tokio::test]
async fn a_body_that_cannot_be_taken_is_a_problem_that_says_why() {
    let fixture = Fixture::new().await;
    let too_long = vec![0; limits::BATCH_WIRE_BYTES + 1];
    for (body, code) in [
        (b"not zstd".to_vec(), ProblemCode::BadRequest),
        (frame(&lines(2..=2)).to_vec(), ProblemCode::Invalid),
        (too_long, ProblemCode::TooLarge),
    ] {
        let response = fixture.append_body(1, 1, body.into()).await;
        assert_eq!(response.status().as_u16(), code.status());
        assert_eq!(problem(response).await.code, code);
    }
    let as_json = fixture.http.post(fixture.url("/v1/worker/logs?first_seq=1")).header("content-type", "text/plain");
    let as_json = as_json.bearer_auth(fixture.worker_token(1).expose()).body("x").send().await.unwrap();
    assert_eq!(problem(as_json).await.code, ProblemCode::UnsupportedMediaType);
    let zero = fixture.append_body(1, 0, frame(&lines(0..=0))).await;
    assert_eq!(zero.status(), StatusCode::BAD_REQUEST);
    assert_eq!(fixture.chunks().await, 0);
}

#[tokio::test]
async fn a_token_is_good_for_its_own_attempt_alone() {
    let fixture = Fixture::new().await;
    let none = fixture.http.post(fixture.url("/v1/worker/logs?first_seq=1")).header("content-type", LOG_MEDIA_TYPE);
    assert_eq!(none.body(frame(&lines(1..=1))).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    // Signed by us for an attempt that does not exist.
    let missing = fixture.append_body(7, 1, frame(&lines(1..=1))).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    // A user's key is no worker's token.
    let key = fixture.installation.keys().api_key.expose();
    let user = fixture.http.post(fixture.url("/v1/worker/logs?first_seq=1")).bearer_auth(key);
    let user = user.header("content-type", LOG_MEDIA_TYPE).body(frame(&lines(1..=1)));
    assert_eq!(user.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_that_append_at_once_each_line_is_kept_once() {
    let fixture = Fixture::new().await;
    let append = async || {
        for seq in 1..=50 {
            fixture.append(1, &lines(seq..=seq)).await;
        }
    };
    tokio::join!(append(), append(), append());
    assert_eq!(fixture.texts("").await, (1..=50).map(|seq| format!("line {seq}")).collect::<Vec<_>>());
}
