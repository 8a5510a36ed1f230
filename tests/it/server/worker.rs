//! The worker's protocol: one instance holds the attempt, and its first last word counts.

use std::time::Duration;

use ckrv_tests::acting::{assignment_of, instance, refused, start, work_on};
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_types::usage::Usage;
use ckrv_types::worker::{Finish, WorkerHeartbeat, WorkerPhase};
use ckrv_types::{Cause, ProblemCode, Secret, State, token};
use futures::future::join_all;

#[tokio::test]
async fn the_first_instance_takes_the_attempt_and_only_it_gets_the_answer_again() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    let assignment = assignment_of(&runner, job).await;
    let tries = join_all((0..8).map(|number| start(&on.replica, &assignment, number % 4))).await;
    let taken: Vec<_> = tries.iter().flatten().collect();
    let holder = taken[0].instance.clone();
    assert_eq!(taken.len(), 2, "both calls of one instance");
    assert!(taken.iter().all(|worker| worker.instance == holder));
    assert_eq!(taken[0].started.attempt_token, taken[1].started.attempt_token);
    for refusal in tries.into_iter().filter(Result::is_err) {
        assert_eq!(refused(refusal), ProblemCode::OtherInstance);
    }
    let job = on.client().job(job).await.unwrap();
    assert_eq!((job.state, job.attempts[0].node.as_deref()), (State::Starting, Some("test-node")));
    assert!(runner.assignments(Duration::ZERO, None).await.unwrap().items[0].started);
}

#[tokio::test]
async fn finish_answers_the_same_again_and_again_and_start_too() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    let assignment = assignment_of(&runner, job).await;
    let worker = start(&on.replica, &assignment, 1).await.unwrap();
    worker.beat(WorkerPhase::Running).await.unwrap();
    let answers = join_all((0..6).map(|_| worker.finish(None))).await;
    let first = *answers[0].as_ref().unwrap();
    assert_eq!((first.state, first.sealed_seq), (State::Succeeded, 0));
    assert!(answers.into_iter().all(|answer| answer.unwrap() == first));
    // Another outcome comes too late.
    assert_eq!(worker.finish(Some(Cause::AgentExit)).await.unwrap(), first);
    let again = start(&on.replica, &assignment, 1).await.unwrap();
    assert_eq!(again.started.attempt_token, worker.started.attempt_token);
    assert_eq!(refused(start(&on.replica, &assignment, 2).await.map(drop)), ProblemCode::OtherInstance);
    assert_eq!(refused(worker.beat(WorkerPhase::Running).await), ProblemCode::Sealed);

    let shown = on.client().job(job).await.unwrap();
    assert_eq!((shown.state, shown.cause), (State::Succeeded, None));
    let result = shown.result.unwrap();
    assert_eq!((result.branch, result.files_changed), (format!("ckrv/{job}"), 1));
}

#[tokio::test]
async fn the_phase_only_goes_on_and_usage_is_kept() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    let worker = work_on(&on.replica, &runner, job).await;
    for (phase, expected) in [
        (WorkerPhase::Starting, State::Starting),
        (WorkerPhase::Running, State::Running),
        (WorkerPhase::Starting, State::Running),
        (WorkerPhase::Finishing, State::Finishing),
        (WorkerPhase::Running, State::Finishing),
    ] {
        let usage = Some(Usage { model: Some("m\0".into()), output_tokens: 7, ..Usage::default() });
        let beat = WorkerHeartbeat { instance: worker.instance.clone(), phase, usage };
        worker.client.heartbeat(&beat, Duration::ZERO).await.unwrap();
        assert_eq!(on.client().job(job).await.unwrap().state, expected);
    }
    worker.beat(WorkerPhase::Finishing).await.unwrap();
    let usage = on.client().job(job).await.unwrap().attempts[0].usage.clone().unwrap();
    assert_eq!((usage.output_tokens, usage.model.as_deref()), (7, Some("m\u{fffd}")));
}

#[tokio::test]
async fn a_hostile_last_word_is_kept_without_harm() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    let worker = work_on(&on.replica, &runner, job).await;
    let mut finish = worker.last_word(Some(Cause::AgentExit));
    finish.outcome.message = Some("nul \0 ".to_owned() + &"x".repeat(10_000));
    finish.outcome.exit_code = Some(i32::MIN);
    finish.last_seq = u64::MAX;
    finish.summary.as_mut().unwrap().branch = "\0".repeat(1000);
    worker.client.finish(&finish).await.unwrap();
    let job = on.client().job(job).await.unwrap();
    assert_eq!(job.message.unwrap().chars().count(), 2000);
    assert_eq!(job.attempts[0].log.unwrap().last_seq, 0);
}

#[tokio::test]
async fn a_workers_token_is_good_for_its_own_attempt_and_instance_alone() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(2).await;
    let (mine, other) = (submit(&on.client(), spec()).await.id, submit(&on.client(), spec()).await.id);
    let worker = work_on(&on.replica, &runner, mine).await;
    let others = work_on(&on.replica, &runner, other).await;
    // Another's instance in the body.
    let wrong = Finish { instance: instance(9), ..worker.last_word(None) };
    assert_eq!(refused(worker.client.finish(&wrong).await), ProblemCode::OtherInstance);
    // A token with another attempt's subject and this one's secret.
    let token = worker.started.attempt_token.0.expose();
    let parsed = token::parse(token).unwrap();
    let foreign = token::parse(others.started.attempt_token.0.expose()).unwrap();
    let mut secret = [0; token::SECRET_BYTES];
    for (byte, pair) in secret.iter_mut().zip(parsed.secret.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    }
    let forged = token::compose(token::TokenKind::Attempt, foreign.subject, &secret);
    let forged = worker.client.with_token(&Secret::new(forged)).unwrap();
    assert_eq!(refused(forged.finish(&others.last_word(None)).await), ProblemCode::Unauthenticated);
    // An attempt's token is no bootstrap token, and no API key.
    let start = ckrv_types::worker::Start { instance: instance(1), version: "0".into(), node: None };
    assert_eq!(refused(worker.client.start(&start).await), ProblemCode::Unauthenticated);
    let user = on.replica.client(&worker.started.attempt_token.0);
    assert_eq!(refused(user.whoami().await), ProblemCode::Unauthenticated);
    assert_eq!(on.client().job(other).await.unwrap().state, State::Starting);
}
