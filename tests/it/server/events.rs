//! A job's events as a stream.

use std::time::Duration;

use ckrv_tests::acting::{SOON, work_on};
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::State;
use ckrv_types::worker::WorkerPhase;
use futures::{StreamExt as _, TryStreamExt as _};

#[tokio::test]
async fn each_event_comes_once_as_it_happens_and_the_stream_ends_with_the_job() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    let mut follow = Box::pin(on.client().events(job, SOON));
    assert_eq!(follow.next().await.unwrap().unwrap().state, State::Queued);
    let worker = work_on(&on.replica, &runner, job).await;
    worker.beat(WorkerPhase::Running).await.unwrap();
    for expected in [State::Assigned, State::Starting, State::Running] {
        let event = tokio::time::timeout(Duration::from_secs(5), follow.next()).await.expect("it comes as it happens");
        assert_eq!(event.unwrap().unwrap().state, expected);
    }
    worker.finish(None).await.unwrap();
    let rest: Vec<_> = follow.try_collect().await.unwrap();
    assert_eq!(rest.iter().map(|event| event.state).collect::<Vec<_>>(), [State::Succeeded]);
}

#[tokio::test]
async fn a_reader_resumes_behind_the_last_event_and_is_sent_away_at_the_end() {
    let on = Installation::new(Loops::Off).await;
    let job = submit(&on.client(), spec()).await.id;
    on.client().cancel(job).await.unwrap();
    let events: Vec<_> = on.client().events(job, SOON).try_collect().await.unwrap();
    assert_eq!(events.len(), 3, "{events:?}");
    let http = reqwest::Client::new();
    let from = async |id: &str| {
        let url = on.replica.url().join(&format!("/v1/jobs/{job}/events")).unwrap();
        let request = http.get(url).bearer_auth(on.keys().api_key.expose()).header("last-event-id", id);
        request.send().await.unwrap()
    };
    let answer = from(&events[0].id.to_string()).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let text = answer.text().await.unwrap();
    assert_eq!(text.matches("event: event\n").count(), 2, "{text}");
    assert!(text.contains(&format!("id: {}\n", events[1].id)), "{text}");
    assert_eq!(from(&events[2].id.to_string()).await.status(), 204);
    for wrong in ["x", "-1", "1.5"] {
        assert_eq!(from(wrong).await.status(), 400, "{wrong}");
    }
}
