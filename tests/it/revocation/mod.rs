//! Whoever loses access loses it on every path within a minute: requests, logs and events that are being followed, artifacts, and
//! at a replica that has just let them in.

mod ways;

use std::time::Duration;

use ckrv_server::admission;
use ckrv_server::auth::KeyOwner;
use ckrv_server::auth::tokens;
use ckrv_server::db::keys::{self, NewKey};
use ckrv_server::oauth::access_tokens::Issuing;
use ckrv_tests::acting::{Worker, assignment_of, start};
use ckrv_tests::people;
use ckrv_tests::replica::{Installation, Loops, Replica, spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::{Role, Scope};
use ckrv_types::log::{Line, Stream};
use ckrv_types::token::TokenKind;
use ckrv_types::worker::WorkerPhase;
use ckrv_types::{JobId, KeyId, LoginId, Problem, ProblemCode, ProjectId, ServiceAccountId, UserId};
use futures::StreamExt as _;
use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use tokio::task::JoinHandle;

/// The time in which it must be felt everywhere. Streams look again after 30 s; here after one.
const EVERYWHERE: Duration = Duration::from_secs(25);
const RECHECK: [&str; 2] = ["--stream-recheck-seconds", "1"];

/// Two replicas, and a job that runs and has a log.
pub struct Scene {
    pub on: Installation,
    pub other: Replica,
    pub job: JobId,
    http: reqwest::Client,
    _worker: Worker,
}

/// A stream that somebody reads.
struct Followed {
    what: String,
    reading: JoinHandle<Ended>,
}

/// How a stream ended.
struct Ended {
    text: String,
    /// As one that must not pass for whole.
    broken: bool,
}

impl Scene {
    pub async fn new() -> Self {
        let on = Installation::with(Loops::Off, &RECHECK).await;
        let other = on.another_replica_with(Loops::Off, &RECHECK).await;
        let job = submit(&on.client(), spec()).await.id;
        let runner = on.runner(1).await;
        admission::pass(on.state()).await.unwrap();
        let worker = start(&on.replica, &assignment_of(&runner, job).await, 1).await.unwrap();
        worker.beat(WorkerPhase::Running).await.unwrap();
        let line = Line { seq: 1, ts: OffsetDateTime::now_utc(), stream: Stream::Stdout, text: "begun".to_owned() };
        let line = serde_json::to_string(&line).unwrap() + "\n";
        worker.client.append(1, zstd::bulk::compress(line.as_bytes(), 3).unwrap().into()).await.unwrap();
        Self { on, other, job, http: reqwest::Client::new(), _worker: worker }
    }

    pub async fn sql(&self, statement: &str) {
        let mut sql = self.on.sql().await;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut sql).await.unwrap();
    }

    // Credentials.

    pub async fn person(&self, login: &str) -> UserId {
        people::add(&mut self.on.sql().await, self.on.keys().org, login, Role::Editor).await
    }

    pub async fn account(&self) -> ServiceAccountId {
        let id = ServiceAccountId::new();
        let (uuid, org) = (id.uuid(), self.on.keys().org.uuid());
        self.sql(&format!(
            "insert into service_accounts (id, org_id, name, role) values ('{uuid}', '{org}', 'machine', 'editor')"
        ))
        .await;
        id
    }

    pub async fn key(&self, owner: KeyOwner, projects: &[ProjectId]) -> (KeyId, String) {
        let (id, org) = (KeyId::new(), self.on.keys().org);
        let token = tokens::random(TokenKind::Live, id);
        let hash = tokens::hash(token.expose());
        let scopes = &Scope::ALL;
        let new =
            NewKey { id, org, owner, name: "key", scopes, projects, hash, expires_in_days: None, rotated_from: None };
        let mut tx = self.on.state().db.tenant(org).await.unwrap();
        keys::create(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        (id, token.expose().to_owned())
    }

    pub async fn login(&self, user: UserId) -> (LoginId, String) {
        let id = LoginId::new();
        let (login, user_id, org) = (id.uuid(), user.uuid(), self.on.keys().org.uuid());
        self.sql(&format!(
            "insert into logins (id, user_id, org_id, client, scopes, host, address, expires_at)
             values ('{login}', '{user_id}', '{org}', 'ckrv-cli', '{{read,run}}', 'laptop', '127.0.0.1', now() + interval '1 hour')"
        ))
        .await;
        let scopes = [Scope::Read, Scope::Run];
        (id, Issuing::new(self.on.state()).await.unwrap().token(id, user, "ckrv-cli", &scopes).unwrap())
    }

    // What they are good for.

    fn replicas(&self) -> [&Replica; 2] {
        [&self.on.replica, &self.other]
    }

    async fn get(&self, replica: &Replica, path: &str, accept: &str, token: &str) -> reqwest::Response {
        let url = replica.url().join(&format!("/v1/jobs/{}{path}", self.job)).unwrap();
        self.http.get(url).bearer_auth(token).header("accept", accept).send().await.unwrap()
    }

    /// Lets `tokens` in everywhere, has `lose` take their right, and sees them refused everywhere with `code`.
    pub async fn is_felt_everywhere(&self, tokens: &[&str], code: ProblemCode, lose: impl AsyncFnOnce()) {
        let mut followed = Vec::new();
        for (number, replica) in self.replicas().into_iter().enumerate() {
            for token in tokens {
                for path in PATHS {
                    let answer = self.get(replica, path, "application/json", token).await;
                    assert_eq!(answer.status(), 200, "{path} at replica {number}, before");
                }
                for (path, accept) in STREAMS {
                    followed.push(self.follow(replica, number, path, accept, token).await);
                }
            }
        }
        lose().await;
        for followed in followed {
            followed.gets_cut().await;
        }
        for (number, replica) in self.replicas().into_iter().enumerate() {
            for token in tokens {
                for path in PATHS {
                    self.is_refused(replica, number, path, token, code).await;
                }
                // What a reader hears that comes back after its stream has ended.
                for (path, accept) in STREAMS {
                    let answer = self.get(replica, path, accept, token).await;
                    let problem: Problem = answer.json().await.expect("the refusal is a problem");
                    assert_eq!(problem.code, code, "{path} at replica {number}");
                }
            }
        }
    }

    async fn is_refused(&self, replica: &Replica, number: usize, path: &str, token: &str, code: ProblemCode) {
        wait_for(&format!("{path} is refused at replica {number}"), EVERYWHERE, async || {
            let answer = self.get(replica, path, "application/json", token).await;
            (answer.status() == code.status()).then_some(())
        })
        .await;
    }

    /// Opens a stream, which has begun when this returns.
    async fn follow(&self, replica: &Replica, number: usize, path: &str, accept: &str, token: &str) -> Followed {
        let what = format!("{path} as {accept} at replica {number}");
        let answer = self.get(replica, path, accept, token).await;
        assert_eq!(answer.status(), 200, "{what}, before");
        let mut chunks = answer.bytes_stream();
        let first = chunks.next().await.expect("it begins").expect("it begins well");
        let reading = tokio::spawn(async move {
            let mut ended = Ended { text: String::from_utf8_lossy(&first).into_owned(), broken: false };
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(bytes) => ended.text.push_str(&String::from_utf8_lossy(&bytes)),
                    Err(_) => ended.broken = true,
                }
            }
            ended
        });
        Followed { what, reading }
    }
}

const PATHS: [&str; 3] = ["", "/explain", "/artifacts"];
const STREAMS: [(&str, &str); 4] = [
    ("/logs", "text/event-stream"),
    ("/logs?follow=true", "application/x-ndjson"),
    ("/logs?follow=true", "text/plain"),
    ("/events", "text/event-stream"),
];

impl Followed {
    /// It ends in time, and not as if all had been told.
    async fn gets_cut(self) {
        let ended = tokio::time::timeout(EVERYWHERE, self.reading).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} goes on", self.what)).expect("it is read");
        assert!(!ended.text.contains("event: end"), "{} says that the job is over: {}", self.what, ended.text);
        let is_events = self.what.contains("event-stream");
        assert_eq!(
            ended.broken, !is_events,
            "{} ends as if it were whole, or breaks where a reader comes back",
            self.what
        );
    }
}
