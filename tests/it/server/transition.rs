//! The one function that changes an attempt's state, under contention.

use ckrv_server::db::transition::{Moved, Transition};
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::{AttemptId, Cause, JobId, State};
use futures::future::join_all;

async fn queued_job(on: &Installation) -> AttemptId {
    AttemptId { job: submit(&on.client(), spec()).await.id, number: 1 }
}

async fn apply(on: &Installation, transition: Transition<'_>) -> Moved {
    let mut tx = on.state().db.tenant(on.keys().org).await.unwrap();
    let moved = transition.apply(&mut tx).await.unwrap().expect("there is such an attempt");
    tx.commit().await.unwrap();
    moved
}

/// States of the job's events, in order.
async fn history(on: &Installation, job: JobId) -> Vec<State> {
    let mut sql = on.sql().await;
    let states: Vec<String> = sqlx::query_scalar("select state from job_events where job_id = $1 order by id")
        .bind(job.uuid())
        .fetch_all(&mut sql)
        .await
        .unwrap();
    states.iter().map(|state| state.parse().unwrap()).collect()
}

#[tokio::test]
async fn of_many_who_end_an_attempt_at_once_exactly_one_wins() {
    let on = Installation::new(Loops::Off).await;
    for _ in 0..5 {
        let attempt = queued_job(&on).await;
        let contenders = [
            Transition::to(attempt, State::Succeeded),
            Transition::end(attempt, Cause::AgentExit, Some("a")),
            Transition::end(attempt, Cause::CancelledByUser, None),
            Transition::end(attempt, Cause::RunLimit, Some("b")),
        ];
        let moved = join_all((0..16).map(|number| apply(&on, contenders[number % contenders.len()]))).await;
        assert_eq!(moved.iter().filter(|moved| moved.applied).count(), 1);
        let winner = moved.iter().find(|moved| moved.applied).unwrap().state;
        assert!(moved.iter().all(|moved| moved.state == winner && moved.sealed_seq == Some(0)), "{moved:?}");
        assert_eq!(history(&on, attempt.job).await, [State::Queued, winner]);
        assert_eq!(on.client().job(attempt.job).await.unwrap().state, winner);
    }
}

#[tokio::test]
async fn an_attempt_never_goes_back_whatever_the_order_of_the_calls() {
    let on = Installation::new(Loops::Off).await;
    let calls = [
        State::Starting,
        State::Assigned,
        State::Running,
        State::Starting,
        State::Queued,
        State::Finishing,
        State::Running,
        State::Succeeded,
        State::Finishing,
        State::Failed,
    ];
    let attempt = queued_job(&on).await;
    for state in calls {
        apply(&on, Transition::to(attempt, state)).await;
    }
    let expected = [State::Queued, State::Starting, State::Running, State::Finishing, State::Succeeded];
    assert_eq!(history(&on, attempt.job).await, expected);

    let attempt = queued_job(&on).await;
    join_all((0..40).map(|number| apply(&on, Transition::to(attempt, calls[number % calls.len()])))).await;
    let ranks: Vec<i16> = history(&on, attempt.job).await.into_iter().map(State::rank).collect();
    assert!(ranks.windows(2).all(|pair| pair[0] < pair[1]), "{ranks:?}");
    assert_eq!(ranks.last(), Some(&100));
}

#[tokio::test]
async fn an_attempt_that_is_not_there_is_an_answer_and_not_an_error() {
    let on = Installation::new(Loops::Off).await;
    let mut tx = on.state().db.tenant(on.keys().org).await.unwrap();
    let nowhere = AttemptId { job: JobId::new(), number: 1 };
    assert_eq!(Transition::to(nowhere, State::Running).apply(&mut tx).await.unwrap(), None);
}
