//! People who sign programs in, over and over: each begins a device flow, polls as the server asks, agrees in a browser after a
//! while, and begins again with what they got.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ckrv_server::auth::tokens::{self, Signer};
use ckrv_tests::stack::Stack;
use ckrv_types::{SessionId, UserId};
use reqwest::StatusCode;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// From a program's question to its user's answer.
const THINKS: Duration = Duration::from_secs(20);

/// They go on until they are dropped.
pub struct Crowd {
    pub counted: Arc<Counted>,
    /// An access token of each, as they got the first.
    pub tokens: Vec<String>,
    stop: CancellationToken,
    people: JoinSet<()>,
}

#[derive(Default)]
pub struct Counted {
    pub polls: AtomicU64,
    pub logins: AtomicU64,
}

struct Person {
    http: reqwest::Client,
    server: String,
    org: String,
    cookie: String,
    csrf: String,
    /// As the proxy before the server tells it: each sits at a machine of their own.
    address: String,
}

impl Crowd {
    /// So many members of the stack's organization, all signed in with a browser and each with a program let in.
    pub async fn gather(stack: &Stack, size: usize) -> Self {
        let people = people(stack, size).await;
        let (counted, stop) = (Arc::<Counted>::default(), CancellationToken::new());
        let mut tokens = Vec::new();
        for some in people.chunks(50) {
            let some = some.iter().map(|person| async {
                let asked = person.asks().await;
                person.agrees(asked["user_code"].as_str().unwrap()).await;
                let (_, given) = person.polls(&asked).await;
                given["access_token"].as_str().expect("the program is let in").to_owned()
            });
            tokens.extend(futures::future::join_all(some).await);
        }
        let mut crowd = JoinSet::new();
        for (number, person) in people.into_iter().enumerate() {
            let (counted, stop) = (Arc::clone(&counted), stop.clone());
            // Not all at once, and not in step.
            let delay = THINKS.mul_f64(crate::statistics::count(number as u64) / crate::statistics::count(size as u64));
            crowd.spawn(async move {
                tokio::time::sleep(delay).await;
                stop.run_until_cancelled(person.logs_in_for_ever(&counted)).await;
            });
        }
        Self { counted, tokens, stop, people: crowd }
    }

    pub async fn leave(mut self) {
        self.stop.cancel();
        while self.people.join_next().await.is_some() {}
    }
}

impl Person {
    async fn logs_in_for_ever(&self, counted: &Counted) {
        loop {
            let (asked, begun) = (self.asks().await, Instant::now());
            let pause = Duration::from_secs(asked["interval"].as_u64().unwrap());
            let mut agreed = false;
            loop {
                tokio::time::sleep(pause).await;
                if !agreed && begun.elapsed() > THINKS {
                    self.agrees(asked["user_code"].as_str().unwrap()).await;
                    agreed = true;
                }
                counted.polls.fetch_add(1, Ordering::Relaxed);
                if self.polls(&asked).await.0 == StatusCode::OK {
                    break;
                }
            }
            counted.logins.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn asks(&self) -> Value {
        let form = [("client_id", "ckrv-cli"), ("host", "bench")];
        self.send(self.http.post(format!("{}/oauth/device_authorization", self.server)).form(&form)).await.1
    }

    async fn polls(&self, asked: &Value) -> (StatusCode, Value) {
        let code = asked["device_code"].as_str().unwrap();
        let form = [("grant_type", GRANT), ("client_id", "ckrv-cli"), ("device_code", code)];
        self.send(self.http.post(format!("{}/oauth/token", self.server)).form(&form)).await
    }

    /// Types the code and says yes.
    async fn agrees(&self, code: &str) {
        for (path, more) in [("device", vec![]), ("device/decide", vec![("decision", "approve"), ("org", &self.org)])] {
            let form: Vec<_> = [("csrf", self.csrf.as_str()), ("code", code)].into_iter().chain(more).collect();
            let request = self.http.post(format!("{}/{path}", self.server)).header("cookie", &self.cookie).form(&form);
            let answer = request.header("x-forwarded-for", &self.address).send().await.unwrap();
            assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let answer = request.header("x-forwarded-for", &self.address).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }
}

/// Made by SQL, and signed in: passwords take 20 ms of a processor each by design, and are not what is measured.
async fn people(stack: &Stack, size: usize) -> Vec<Person> {
    let mut sql = PgConnection::connect(stack.superuser_url().expose()).await.unwrap();
    let signer = Signer::new(&stack.secret_key()).unwrap();
    let http = reqwest::Client::new();
    let mut people = Vec::new();
    for number in 0..size {
        let (user, session) = (UserId::new(), SessionId::new());
        let value = hex::encode(rand::random::<[u8; 32]>());
        sqlx::query(
            "with u as (insert into users (id, name) values ($1, 'Somebody') returning id),
                  m as (insert into members (org_id, user_id, role) select $2, id, 'editor' from u)
             insert into web_sessions (id, user_id, token_hash, address, agent, expires_at)
             select $3, id, $4, '127.0.0.1', 'bench', now() + interval '1 day' from u",
        )
        .bind(user.uuid())
        .bind(stack.keys.org.uuid())
        .bind(session.uuid())
        .bind(&tokens::hash(&value)[..])
        .execute(&mut sql)
        .await
        .unwrap();
        people.push(Person {
            http: http.clone(),
            server: stack.server_url(),
            org: stack.keys.org.to_string(),
            cookie: format!("ckrv-session={value}"),
            csrf: hex::encode(signer.hash_short("form of a session", &session.to_string())),
            address: format!("10.1.{}.{}", number / 250, number % 250 + 1),
        });
    }
    people
}
