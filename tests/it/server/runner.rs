//! The runner's protocol: one instance, a list that can be repeated, observations that count once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ckrv_client::runner::RunnerClient;
use ckrv_tests::acting::{assignment_of, refused, start, work_on};
use ckrv_tests::pod::noted;
use ckrv_tests::replica::{Installation, Loops, MACHINE, beat, offer, spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::CreateRunner;
use ckrv_types::limits::ASSIGNMENTS_WAIT_SECONDS;
use ckrv_types::runner::{Observation, Observations, Phase, Register, RunnerHeartbeat};
use ckrv_types::worker::WorkerPhase;
use ckrv_types::{AttemptId, Cause, JobId, ProblemCode, Secret, State};

fn seen(attempt: AttemptId, phase: Phase, message: Option<&str>) -> Observations {
    let message = message.map(str::to_owned);
    let item = Observation { attempt, phase, cause: None, exit_code: None, message, node: None };
    Observations { instance: MACHINE.into(), items: vec![item] }
}

#[tokio::test]
async fn a_token_is_bound_to_the_first_instance_until_the_runner_is_revoked() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    let elsewhere = Register { instance: "another-machine".into(), offer: offer(1, &[]) };
    assert_eq!(refused(runner.register(&elsewhere).await), ProblemCode::OtherInstance);
    let foreign_beat = RunnerHeartbeat { instance: "another-machine".into(), ..beat(9) };
    assert_eq!(refused(runner.heartbeat(&foreign_beat).await), ProblemCode::OtherInstance);
    let nothing = Observations { instance: "another-machine".into(), items: Vec::new() };
    assert_eq!(refused(runner.observations(&nothing).await), ProblemCode::OtherInstance);
    let again = Register { instance: MACHINE.into(), offer: offer(2, &[]) };
    assert_eq!(runner.register(&again).await.unwrap().runner, on.keys().runner);
    let shown = &on.client().runners().await.unwrap().items[0];
    assert_eq!((shown.instance.as_deref(), shown.capacity, shown.alive), (Some(MACHINE), 2, true));

    on.client().revoke_runner(on.keys().runner).await.unwrap();
    assert_eq!(refused(runner.register(&again).await), ProblemCode::Unauthenticated);
    let shown = &on.client().runners().await.unwrap().items[0];
    assert_eq!((shown.instance.as_deref(), shown.alive), (None, false));
    // The name is free again.
    on.client().create_runner(&CreateRunner { name: shown.name.clone(), allow: BTreeMap::new() }).await.unwrap();
    let taken = on.client().create_runner(&CreateRunner { name: shown.name.clone(), allow: BTreeMap::new() }).await;
    assert_eq!(refused(taken), ProblemCode::Conflict);
}

#[tokio::test]
async fn the_list_is_the_same_at_every_look_and_a_wait_ends_at_the_next_change() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    let first = assignment_of(&runner, job).await;
    let list = runner.assignments(Duration::ZERO, None).await.unwrap();
    assert_eq!(list.items[0].bootstrap_token, first.bootstrap_token);
    assert_eq!((list.items[0].started, list.items[0].agent.as_str()), (false, "command"));

    let worker = start(&on.replica, &first, 1).await.unwrap();
    let (waited, finished) =
        tokio::join!(runner.assignments(Duration::from_secs(20), Some(list.version)), worker.finish(None));
    finished.unwrap();
    let waited = waited.unwrap();
    assert!(waited.items.is_empty() && waited.version > list.version);
    // Nothing happens: the wait is as long as asked for, and the answer is the whole list.
    let begun = std::time::Instant::now();
    let quiet = runner.assignments(Duration::from_secs(1), Some(waited.version)).await.unwrap();
    assert_eq!(quiet.version, waited.version);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_heartbeat_names_what_to_stop_and_what_to_forget() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(10).await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(submit(&on.client(), spec()).await.id);
    }
    let attempt = |job: JobId| AttemptId { job, number: 1 };
    let [running, disobeying, unstarted, over] = jobs[..] else { unreachable!() };
    work_on(&on.replica, &runner, running).await;
    work_on(&on.replica, &runner, disobeying).await;
    assignment_of(&runner, unstarted).await;
    work_on(&on.replica, &runner, over).await.finish(None).await.unwrap();
    let unknown = JobId::new();
    let holding = [running, disobeying, unstarted, over, unknown].map(attempt).to_vec();
    let heartbeat = RunnerHeartbeat { holding, ..beat(10) };
    let answer = runner.heartbeat(&heartbeat).await.unwrap();
    assert_eq!((answer.stop, answer.forget), (vec![], vec![attempt(over), attempt(unknown)]));

    for job in [running, disobeying, unstarted] {
        on.client().cancel(job).await.unwrap();
    }
    // At first only the one that nobody else can tell.
    assert_eq!(runner.heartbeat(&heartbeat).await.unwrap().stop, [attempt(unstarted)]);
    let mut sql = on.sql().await;
    sqlx::query("update jobs set cancel_requested_at = now() - interval '61 seconds' where id = $1")
        .bind(disobeying.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    assert_eq!(runner.heartbeat(&heartbeat).await.unwrap().stop, [attempt(disobeying), attempt(unstarted)]);
}

#[tokio::test]
async fn notes_are_told_once_and_the_end_of_an_attempt_without_a_finish_is_its_workers_loss() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    let attempt = assignment_of(&runner, job).await.attempt;
    let waiting = seen(attempt, Phase::Waiting, Some("pulling image x"));
    assert_eq!(runner.observations(&waiting).await.unwrap().applied, [true]);
    assert_eq!(runner.observations(&waiting).await.unwrap().applied, [false]);
    let explained = on.client().explain(job).await.unwrap();
    assert!(explained.summary.contains("pulling image x"), "{}", explained.summary);

    let ended = seen(attempt, Phase::Ended, None);
    assert_eq!(runner.observations(&ended).await.unwrap().applied, [true]);
    assert_eq!(runner.observations(&ended).await.unwrap().applied, [false]);
    let job = on.client().job(job).await.unwrap();
    assert_eq!((job.state, job.cause), (State::Queued, Some(Cause::WorkerLost)));
}

#[tokio::test]
async fn a_cause_that_is_noted_before_the_end_is_heard_by_the_worker_and_decides_nothing() {
    let on = Installation::new(Loops::On).await;
    let other = on.another_replica(Loops::On).await;
    let runner = on.runner(2).await;
    for replica in [&on.replica, &other] {
        let job = submit(&on.client(), spec()).await.id;
        let worker = work_on(replica, &runner, job).await;
        assert_eq!(worker.beat(WorkerPhase::Running).await.unwrap().noted, None);
        let note = noted(worker.attempt(), Cause::AgentOom);
        let held = Duration::from_secs(20);
        let began = Instant::now();
        let (heard, told) = tokio::join!(worker.attend(WorkerPhase::Running, held), runner.observations(&note));
        assert_eq!((heard.unwrap().noted, told.unwrap().applied), (Some(Cause::AgentOom), vec![true]));
        assert!(began.elapsed() < held / 2, "{:?}", began.elapsed());
        assert_eq!(runner.observations(&note).await.unwrap().applied, [false]);
        // The latest word counts, none takes it back, and the worker's own counts for more.
        runner.observations(&noted(worker.attempt(), Cause::Evicted)).await.unwrap();
        let heard = worker.attend(WorkerPhase::Running, held).await.unwrap();
        let message = Some("noted by a test: infrastructure:evicted");
        assert_eq!((heard.noted, heard.cancel, heard.noted_message.as_deref()), (Some(Cause::Evicted), false, message));
        let hint = on.client().explain(job).await.unwrap().hint;
        assert_eq!(hint.as_deref(), Some(Cause::Evicted.hint()));
        runner.observations(&seen(worker.attempt(), Phase::Launched, None)).await.unwrap();
        assert_eq!(worker.beat(WorkerPhase::Running).await.unwrap().noted, None);
        assert_eq!(on.client().job(job).await.unwrap().state, State::Running);
        worker.finish(None).await.unwrap();
        assert_eq!(on.client().job(job).await.unwrap().state, State::Succeeded);
    }
}

#[tokio::test]
async fn an_end_with_a_cause_that_the_runner_noted_is_told_in_the_runners_words() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(2).await;
    for (cause, expected) in
        [(Cause::Evicted, "noted by a test: infrastructure:evicted"), (Cause::AgentExit, "said by a test: agent:exit")]
    {
        let mut once = spec();
        once.retries.max_attempts = 1;
        let job = submit(&on.client(), once).await.id;
        let worker = work_on(&on.replica, &runner, job).await;
        runner.observations(&noted(worker.attempt(), Cause::Evicted)).await.unwrap();
        worker.finish(Some(cause)).await.unwrap();
        let job = on.client().job(job).await.unwrap();
        assert_eq!((job.cause, job.message.as_deref()), (Some(cause), Some(expected)));
    }
}

#[tokio::test]
async fn what_the_worker_has_finished_stays_and_another_runners_attempt_is_not_ones_to_judge() {
    let on = Installation::new(Loops::On).await;
    let runner = on.runner(2).await;
    let (done, going) = (submit(&on.client(), spec()).await.id, submit(&on.client(), spec()).await.id);
    let worker = work_on(&on.replica, &runner, done).await;
    worker.finish(None).await.unwrap();
    let ended = seen(worker.attempt(), Phase::Ended, Some("exit 1"));
    assert_eq!(runner.observations(&ended).await.unwrap().applied, [false]);
    assert_eq!(on.client().job(done).await.unwrap().state, State::Succeeded);

    let (_, token) = on.platform_runner("other").await;
    let other: RunnerClient = on.replica.runner(&token, 0, &[]).await;
    let attempt = assignment_of(&runner, going).await.attempt;
    let judged = seen(attempt, Phase::Ended, None);
    assert_eq!(other.observations(&judged).await.unwrap().applied, [false]);
    assert_eq!(on.client().job(going).await.unwrap().state, State::Assigned);
}

#[tokio::test]
async fn a_wake_up_reaches_the_long_poll_at_another_replica() {
    let on = Installation::new(Loops::On).await;
    let other = on.another_replica(Loops::On).await;
    on.runner(1).await;
    let runner = other.runner(&on.keys().runner_token, 1, &[]).await;
    let version = runner.assignments(Duration::ZERO, None).await.unwrap().version;
    let client = on.client();
    let poll = runner.assignments(Duration::from_secs(20), Some(version));
    let (list, _) = tokio::join!(poll, submit(&client, spec()));
    assert_eq!(list.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_runner_whose_token_is_revoked_is_refused_and_what_it_had_not_begun_goes_to_others() {
    let on = Installation::with(Loops::On, &["--lease-seconds", "2", "--beat-seconds", "1"]).await;
    let runner = on.runner(1).await;
    let job = submit(&on.client(), spec()).await.id;
    assignment_of(&runner, job).await;
    on.client().revoke_runner(on.keys().runner).await.unwrap();
    assert_eq!(refused(runner.heartbeat(&beat(1)).await), ProblemCode::Unauthenticated);
    wait_for("the attempt is taken away", Duration::from_secs(15), async || {
        let job = on.client().job(job).await.unwrap();
        (job.cause == Some(Cause::RunnerLost)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_runner_that_is_revoked_while_its_long_poll_is_held_is_refused_and_given_no_list() {
    let on = Installation::new(Loops::On).await;
    // There the token is believed for a while after the revocation here.
    let other = on.another_replica(Loops::On).await;
    let runner = on.runner(2).await;
    let elsewhere = other.runner(&on.keys().runner_token, 2, &[]).await;
    let job = submit(&on.client(), spec()).await.id;
    assignment_of(&elsewhere, job).await;
    let version = elsewhere.assignments(Duration::ZERO, None).await.unwrap().version;

    let held = Duration::from_secs(ASSIGNMENTS_WAIT_SECONDS);
    let began = Instant::now();
    let poll = elsewhere.assignments(held, Some(version));
    let client = on.client();
    let revoke = client.revoke_runner(on.keys().runner);
    let (answer, revoked) = tokio::join!(poll, revoke);
    revoked.unwrap();
    assert_eq!(refused(answer), ProblemCode::Unauthenticated);
    assert!(began.elapsed() < held, "only when the wait was over: {:?}", began.elapsed());
    // With a list to come at once, too, and with what would be given to it now.
    submit(&on.client(), spec()).await;
    for runner in [&runner, &elsewhere] {
        assert_eq!(refused(runner.assignments(Duration::ZERO, None).await), ProblemCode::Unauthenticated);
    }
}

#[tokio::test]
async fn an_offer_that_breaks_a_rule_is_refused_by_field() {
    let on = Installation::new(Loops::Off).await;
    let runner = on.runner(1).await;
    for (field, offer) in [
        ("offer.capacity", offer(10_001, &[])),
        ("offer.classes", offer(1, &["Not A Name"])),
        ("offer.version", ckrv_types::runner::Offer { version: "a\0b".into(), ..offer(1, &[]) }),
    ] {
        let error = runner.heartbeat(&RunnerHeartbeat { offer, ..beat(1) }).await.unwrap_err();
        assert_eq!(error.problem().unwrap().errors[0].field, field);
    }
    let wrong = on.replica.worker(&Secret::new(on.keys().runner_token.expose()));
    let start = ckrv_types::worker::Start { instance: "x".into(), version: "0".into(), node: None };
    assert_eq!(refused(wrong.start(&start).await), ProblemCode::Unauthenticated);
}
