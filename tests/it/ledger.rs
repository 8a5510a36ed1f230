//! Many jobs while the server is killed again and again: what was accepted is there, once, with one result, and what was read
//! of its log while it ran is what is read afterwards.

use std::time::Duration;

use ckrv_client::{Client, LogQuery};
use ckrv_tests::gate::{assert_counted, count};
use ckrv_tests::random::Random;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{JOB, Options, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::job::SubmitJob;
use ckrv_types::log::{JobLine, LogEvent, Stream};
use ckrv_types::{JobId, JobSpec, Secret, State};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

const SEED: u64 = 0x636b_7276;
const JOBS: u32 = 50;
const KILLS: u32 = 20;
const LINES: u32 = 60;
/// How long a client goes on trying.
const PATIENCE: Duration = Duration::from_mins(2);

/// One accepted job: what its follower saw, and what was there right after its end.
struct Entry {
    job: JobId,
    followed: Vec<JobLine>,
    after: Vec<u8>,
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_jobs_lose_nothing_and_repeat_nothing_while_the_server_is_killed_at_twenty_random_moments() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    let (mut stack, repo) = (Stack::with(Options { slots: 6, ..Options::default() }).await, Repo::new());
    let client = stack.patient_client(PATIENCE);
    let raw = RawLogs::of(&stack);
    let mut clients = JoinSet::new();
    let mut killed_with = Vec::new();
    for kill in 0..KILLS {
        // Spread over the kills, so that each meets jobs in all their states.
        for number in kill * JOBS / KILLS..(kill + 1) * JOBS / KILLS {
            let delay = Duration::from_millis(random.between(0, 1500));
            clients.spawn(user(client.clone(), spec(&repo, number), delay, raw.clone()));
        }
        tokio::time::sleep(Duration::from_millis(random.between(100, 2000))).await;
        stack.kill_server().await;
        killed_with.push(unfinished(&stack).await);
        stack.start_server().await;
    }
    println!("unfinished jobs at each kill: {killed_with:?}");
    let all = tokio::time::timeout(2 * JOB, clients.join_all()).await;
    let ledger = all.unwrap_or_else(|_| panic!("the jobs do not end\n{}", stack.log("server.log")));
    let accepted: Vec<JobId> = ledger.iter().map(|entry| entry.job).collect();

    assert_eq!(accepted.len(), JOBS as usize);
    for job in &accepted {
        let job = client.job(*job).await.expect("the job is there");
        assert_eq!((job.state, job.attempt), (State::Succeeded, 1), "{}: {:?}", job.id, job.message);
    }
    // No row is missing, none is too many, no job has two results; and much else.
    stack.holds(&accepted).await;
    assert!(killed_with.iter().all(|jobs| *jobs > 0), "a kill met no job: {killed_with:?}");

    archived(&stack).await;
    for entry in ledger {
        check_log(&entry, &raw.read(entry.job).await);
    }
}

fn spec(repo: &Repo, number: u32) -> JobSpec {
    let script = format!("{}; echo {number} > made.txt", count(1, LINES, "0.03"));
    let command = ["sh", "-c", &script].map(str::to_owned).into();
    JobSpec { command, labels: [("number".to_owned(), number.to_string())].into(), ..JobSpec::new(repo.url()) }
}

/// Hands in a job and follows it to its end.
async fn user(client: Client, spec: JobSpec, delay: Duration, raw: RawLogs) -> Entry {
    tokio::time::sleep(delay).await;
    let job = client.submit(&SubmitJob { spec, project: None }).await.expect("the job is accepted").id;
    let query = LogQuery { follow: true, give_up: PATIENCE, ..LogQuery::default() };
    let mut events = std::pin::pin!(client.logs(job, query));
    let mut followed = Vec::new();
    while let Some(event) = events.next().await {
        match event.unwrap_or_else(|error| panic!("{job} cannot be followed: {error}")) {
            LogEvent::Log(line) => followed.push(line),
            LogEvent::End(end) => assert!(end.complete, "{job} ends {end:?}"),
            LogEvent::Gap(gap) => panic!("{job} has {gap:?}"),
            LogEvent::Status(_) => {}
        }
    }
    let after = raw.read(job).await;
    Entry { job, followed, after }
}

/// Reads whole logs as the bytes of their NDJSON.
#[derive(Clone)]
struct RawLogs {
    http: reqwest::Client,
    server: String,
    token: Secret,
}

impl RawLogs {
    fn of(stack: &Stack) -> Self {
        Self { http: reqwest::Client::new(), server: stack.server_url(), token: stack.keys.api_key.clone() }
    }

    async fn read(&self, job: JobId) -> Vec<u8> {
        let get = self.http.get(format!("{}/v1/jobs/{job}/logs", self.server));
        let get = get.bearer_auth(self.token.expose()).header("accept", "application/x-ndjson");
        wait_for("the log can be read", JOB, async || {
            let answer = get.try_clone().expect("it has no body").send().await.ok()?;
            let answer = Some(answer).filter(|answer| answer.status().is_success())?;
            // The server may be killed while it answers.
            Some(answer.bytes().await.ok()?.to_vec())
        })
        .await
    }
}

fn check_log(entry: &Entry, archived: &[u8]) {
    let job = entry.job;
    let numbers: Vec<u64> = entry.followed.iter().map(|line| line.line.seq).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{job} was followed as {numbers:?}");
    let texts = entry.followed.iter().filter(|line| line.line.stream == Stream::Stdout);
    let printed = texts.fold(String::new(), |text, line| text + &line.line.text + "\n");
    assert_counted(&printed, 1, LINES);

    let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let line = |line: &[u8]| serde_json::from_slice::<JobLine>(line).expect("a line of a log");
    let after: Vec<JobLine> = entry.after.split_inclusive(|byte| *byte == b'\n').map(line).collect();
    assert_eq!(hash(&ndjson(&entry.followed)), hash(&ndjson(&after)), "{job} during and after");
    assert_eq!(hash(&entry.after), hash(archived), "{job} before and after it was archived");
}

fn ndjson(lines: &[JobLine]) -> Vec<u8> {
    serde_json::to_vec(lines).expect("lines can be written as JSON")
}

async fn unfinished(stack: &Stack) -> i64 {
    let count = sqlx::query_scalar("select count(*) from jobs where finished_at is null");
    count.fetch_one(&mut stack.sql().await).await.expect("the database answers")
}

/// Waits until every log is an object.
async fn archived(stack: &Stack) {
    wait_for("all logs are archived", JOB, async || {
        let left: i64 = sqlx::query_scalar("select count(*) from log_heads where archived_at is null")
            .fetch_one(&mut stack.sql().await)
            .await
            .expect("the database answers");
        (left == 0).then_some(())
    })
    .await;
}
