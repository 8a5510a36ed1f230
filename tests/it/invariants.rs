//! The checker of invariants is itself checked: it says nothing of a sound installation, and names the rule that each seeded
//! corruption breaks.

use std::collections::BTreeSet;
use std::process::Stdio;

use ckrv_tests::gate::Gate;
use ckrv_tests::invariants::{Judged, Rule, Violation};
use ckrv_tests::processes::kill_hard;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{JOB, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::{JobId, State};
use sqlx::types::Uuid;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Rules, and statements that break them. `:one` is a job whose log is in the database, `:two` one that took two attempts and
/// whose logs are archived.
const SEEDS: &[(Rule, &str)] = &[
    (Rule::OneResult, "update attempts set state = 'succeeded' where job_id = :two and number = 1"),
    (Rule::AttemptsInARow, "update jobs set attempt = 3 where id = :two"),
    (Rule::AttemptsInARow, "delete from attempts where job_id = :two and number = 1"),
    (Rule::EarlierFailed, "update attempts set cause = 'agent:exit' where job_id = :two and number = 1"),
    (Rule::EarlierFailed, "update attempts set state = 'cancelled' where job_id = :two and number = 1"),
    (Rule::JobIsLatest, "update jobs set state = 'failed' where id = :one"),
    (Rule::JobIsLatest, "update jobs set finished_at = null where id = :one"),
    (Rule::JobIsLatest, "update jobs set cause = 'agent:exit' where id = :one"),
    (
        Rule::HeldByTheLiving,
        "update attempts set state = 'running', rank = 30, beat_at = now() - interval '1 hour' where job_id = :one",
    ),
    (
        Rule::HeldByTheLiving,
        "update attempts set state = 'assigned', rank = 10 where job_id = :one; update runners set beat_at = null",
    ),
    (
        Rule::RanksRise,
        "insert into job_events (org_id, job_id, attempt, kind, state) select org_id, id, 1, 'state', 'running' from jobs where id = :one",
    ),
    (Rule::RanksRise, "update job_events set state = 'finishing' where job_id = :one and state = 'starting'"),
    (
        Rule::OneEnd,
        "insert into job_events (org_id, job_id, attempt, kind, state) select org_id, id, 1, 'state', 'failed' from jobs where id = :one",
    ),
    (Rule::OneEnd, "delete from job_events where job_id = :one and state = 'succeeded'"),
    (Rule::OneEnd, "update job_events set state = 'cancelled' where job_id = :one and state = 'succeeded'"),
    (Rule::SealedAtTheEnd, "update log_heads set sealed_seq = null, seal = null, sealed_at = null where job_id = :one"),
    (Rule::SealedAtTheEnd, "update log_heads set sealed_seq = sealed_seq - 1 where job_id = :one"),
    (Rule::SealedAtTheEnd, "delete from log_heads where job_id = :two and attempt = 1"),
    (Rule::ChunksInARow, "delete from log_chunks where job_id = :one"),
    (Rule::ChunksInARow, "update log_chunks set first_seq = 2 where job_id = :one"),
    (
        Rule::ChunksInARow,
        "insert into log_chunks select job_id, attempt, 2, org_id, count, bytes, last_ts, frame from log_chunks where job_id = :one",
    ),
    (
        Rule::NothingBehindTheSeal,
        "insert into log_chunks select job_id, attempt, first_seq + count, org_id, count, bytes, last_ts, frame
         from log_chunks where job_id = :one",
    ),
    (Rule::FramesAsCounted, r"update log_chunks set frame = '\xdeadbeef' where job_id = :one"),
    (Rule::FramesAsCounted, "update log_chunks set count = count + 1 where job_id = :one"),
    (Rule::ArchiveWhole, r#"update log_heads set archive = archive || '{"key": "logs/nowhere"}' where job_id = :two"#),
    (Rule::ArchiveWhole, r#"update log_heads set archive = archive || '{"sha256": "00"}' where job_id = :two"#),
    (Rule::ArchiveWhole, r#"update log_heads set archive = archive || '{"size": 1}' where job_id = :two"#),
    (Rule::ArchiveWhole, "update log_heads set next_seq = next_seq + 1, sealed_seq = next_seq where job_id = :two"),
    (Rule::ArchiveWhole, "update log_heads set archive = null where job_id = :two"),
    (
        Rule::ArchiveWhole,
        "insert into log_chunks select :two, 1, first_seq, org_id, count, bytes, last_ts, frame from log_chunks where job_id = :one",
    ),
    (Rule::ArtifactsStored, "update artifacts set object_key = 'nowhere' where job_id = :one and status = 'stored'"),
    (Rule::ArtifactsStored, "update artifacts set size = size + 1 where job_id = :one and status = 'stored'"),
    (Rule::ArtifactsStored, "update artifacts set sha256 = repeat('0', 64) where job_id = :one and status = 'stored'"),
    (Rule::ArtifactsSettled, "update artifacts set status = 'pending' where job_id = :one"),
    (Rule::UsageAsAttemptsSay, "delete from usage_events where job_id = :one and attempt = 0"),
    (Rule::UsageAsAttemptsSay, "update usage_events set seconds = seconds + 1 where job_id = :one and attempt = 1"),
    (
        Rule::UsageAsAttemptsSay,
        "insert into usage_events (org_id, month, job_id, attempt, project_id, seconds)
         select org_id, usage_month(now()), id, 1, project_id, 5 from jobs where id = :two",
    ),
    (
        Rule::UsageAsAttemptsSay,
        "update usage_months set jobs = jobs + 1 where jobs = (select max(jobs) from usage_months)",
    ),
    (
        Rule::UsageAsAttemptsSay,
        "insert into usage_events select org_id, month - 31, job_id, attempt, at, project_id from usage_events where job_id = :one",
    ),
    (Rule::ApiAgrees, "update attempts set state = 'timed_out' where job_id = :two and number = 1"),
    (Rule::ApiAgrees, "update jobs set message = 'something else' where id = :one"),
    (Rule::ApiAgrees, "update log_heads set next_seq = next_seq - 1 where job_id = :one"),
];

#[tokio::test]
async fn the_checker_names_the_rule_that_each_seeded_corruption_breaks() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let (one, two) = tokio::join!(job(&stack, &repo), job_of_two_attempts(&stack, &repo));
    let judged = stack.judged(&[one, two]);
    stack.all_hold(&judged).await;

    let mut sql = stack.sql().await;
    archived(&mut sql).await;
    let frame = archive_of(&mut sql, &stack, one).await;
    let mut shown = BTreeSet::new();
    for (rule, statement) in SEEDS {
        let mut tx = sql.begin().await.expect("the database answers");
        back_from_the_archive(&mut tx, one, &frame).await;
        if shown.is_empty() {
            assert_eq!(judged.violations(&mut tx).await, [], "before anything was seeded");
        }
        let statement = statement.replace(":one", &quoted(one)).replace(":two", &quoted(two));
        // References between rows are for the database to keep; this is about what it cannot.
        let statement = format!("set local session_replication_role = replica; {statement}");
        sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .execute(&mut *tx)
            .await
            .unwrap_or_else(|e| panic!("{statement}: {e}"));
        expect(*rule, &judged.violations(&mut tx).await, &statement);
        shown.insert(*rule);
        tx.rollback().await.expect("the database answers");
    }
    shown.extend(seeds_of_the_ledger(&mut sql, &stack, one, two).await);
    shown.insert(seed_left_behind(&mut sql, &judged, one).await);
    assert_eq!(shown, BTreeSet::from(Rule::ALL), "a rule was never shown to be broken");
    assert_eq!(judged.violations(&mut sql).await, [], "it stays so");
}

#[track_caller]
fn expect(rule: Rule, found: &[Violation], seed: &str) {
    assert!(found.iter().any(|violation| violation.rule == rule), "{rule:?} is not named: {found:?}\nafter {seed}");
}

async fn seeds_of_the_ledger(sql: &mut PgConnection, stack: &Stack, one: JobId, two: JobId) -> [Rule; 2] {
    let lost = stack.judged(&[one, two, JobId::new()]).violations(sql).await;
    expect(Rule::AcceptedIsThere, &lost, "a job was lost");
    let more = stack.judged(&[one]).violations(sql).await;
    expect(Rule::NobodyAsked, &more, "a job was made twice");
    [Rule::AcceptedIsThere, Rule::NobodyAsked]
}

async fn seed_left_behind(sql: &mut PgConnection, judged: &Judged, job: JobId) -> Rule {
    let folder = judged.homes[0].join("work").join(format!("{job}-1"));
    std::fs::create_dir(&folder).expect("the folder can be made");
    expect(Rule::NothingLeft, &judged.violations(sql).await, "a folder");
    std::fs::remove_dir(&folder).expect("the folder can be removed");
    let mut daemon = tokio::process::Command::new("sleep")
        .arg("600")
        .env("CKRV_ATTEMPT", format!("{job}-1"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    expect(Rule::NothingLeft, &judged.violations(sql).await, "a process");
    daemon.kill().await.expect("it can be killed");
    Rule::NothingLeft
}

async fn job(stack: &Stack, repo: &Repo) -> JobId {
    let said = stack.wait(&repo.url(), &["--artifact", "made.txt"], "echo hello; echo made > made.txt").await;
    said.exits(0).job()
}

async fn job_of_two_attempts(stack: &Stack, repo: &Repo) -> JobId {
    let gate = Gate::new();
    let job = stack.submit(&repo.url(), &[], &format!("echo hello; {}; echo made > made.txt", gate.stop("run"))).await;
    gate.reached("run").await;
    let alive = stack.runner_home().join("work").join(format!("{job}-1")).join("alive");
    kill_hard(std::fs::read_to_string(alive).expect("it lives").trim().parse().expect("a process id"));
    gate.open("run");
    let ended = stack.ended(job).await;
    assert_eq!((ended.state, ended.attempt), (State::Succeeded, 2));
    job
}

async fn archived(sql: &mut PgConnection) {
    let sql = tokio::sync::Mutex::new(sql);
    wait_for("the logs are archived", JOB, async || {
        let count = sqlx::query_scalar("select count(*) from log_heads where archived_at is null");
        let left: i64 = count.fetch_one(&mut **sql.lock().await).await.expect("the database answers");
        (left == 0).then_some(())
    })
    .await;
}

async fn archive_of(sql: &mut PgConnection, stack: &Stack, job: JobId) -> Vec<u8> {
    let key: String = sqlx::query_scalar("select archive ->> 'key' from log_heads where job_id = $1")
        .bind(job.uuid())
        .fetch_one(sql)
        .await
        .expect("it is archived");
    let s3 = stack.judged(&[]).s3;
    let place = s3.presign_get(&key, "attachment").await.expect("it can be signed").expect("the store is public");
    reqwest::get(place.url).await.expect("the store answers").bytes().await.expect("all of it").to_vec()
}

/// Makes the log again what it was before it was archived: here, one chunk.
async fn back_from_the_archive(sql: &mut PgConnection, job: JobId, frame: &[u8]) {
    let id: Uuid = job.uuid();
    sqlx::query("update log_heads set archive = null, archived_at = null where job_id = $1")
        .bind(id)
        .execute(&mut *sql)
        .await
        .expect("the head can be changed");
    sqlx::query(
        "insert into log_chunks (job_id, attempt, first_seq, org_id, count, bytes, last_ts, frame)
         select job_id, attempt, 1, org_id, next_seq - 1, bytes, now(), $2 from log_heads where job_id = $1",
    )
    .bind(id)
    .bind(frame)
    .execute(sql)
    .await
    .expect("the chunk can be put back");
}

fn quoted(job: JobId) -> String {
    format!("'{}'::uuid", job.uuid())
}
