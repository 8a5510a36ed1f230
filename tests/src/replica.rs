//! `ckrv-server` within the test's process: a replica on a database and an object store of the test's own, its loops on or
//! off, and the means to speak to it as a user, a runner or a worker.

use std::net::SocketAddr;
use std::time::Duration;

use ckrv_client::runner::RunnerClient;
use ckrv_client::worker::WorkerClient;
use ckrv_client::{Client, ClientConfig};
use ckrv_dev::testing::{self, TestS3};
use ckrv_server::auth::tokens;
use ckrv_server::config::Config;
use ckrv_server::db::jobs::{self, NewJob};
use ckrv_server::db::roles::RoleUrls;
use ckrv_server::state::AppState;
use ckrv_server::{background, http, sweeper};
use ckrv_types::identity::Bootstrapped;
use ckrv_types::job::SubmitJob;
use ckrv_types::runner::{Offer, Register, RunnerHeartbeat};
use ckrv_types::token::TokenKind;
use ckrv_types::{Job, JobId, JobSpec, KeyId, OrgId, ProjectId, RunnerId, Secret};
use clap::Parser;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::database::{self, Prepared};

/// The machine that the tests' runners say they are.
pub const MACHINE: &str = "test-machine";

/// One replica. It stops when it is dropped.
pub struct Replica {
    pub state: AppState,
    pub address: SocketAddr,
    _stop: DropGuard,
}

/// A database, an object store, and one replica on them.
pub struct Installation {
    pub replica: Replica,
    prepared: Prepared,
    s3: TestS3,
}

/// Whether a replica runs admission, sweeper and the rest by itself, or the test does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loops {
    On,
    Off,
}

/// What a test says goes before what is usual.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Arguments {
    #[command(flatten)]
    config: Config,
}

impl Installation {
    /// With usual settings.
    pub async fn new(loops: Loops) -> Self {
        Self::with(loops, &[]).await
    }

    /// With further arguments of `ckrv-server serve`.
    pub async fn with(loops: Loops, arguments: &[&str]) -> Self {
        ckrv_client::install_crypto_provider();
        let prepared = database::prepare().await;
        let s3 = testing::s3().await;
        let config = config(&prepared, &s3, arguments);
        let replica = Replica::start(config, loops).await;
        Self { replica, prepared, s3 }
    }

    /// One more replica on the same database and object store.
    pub async fn another_replica(&self, loops: Loops) -> Replica {
        self.another_replica_with(loops, &[]).await
    }

    /// The same, with further arguments.
    pub async fn another_replica_with(&self, loops: Loops, arguments: &[&str]) -> Replica {
        // All are one to their users: what one has issued is good at the others.
        let public_url = self.state().config.issuer();
        let arguments = [&["--public-url", public_url.as_str()], arguments].concat();
        Replica::start(config(&self.prepared, &self.s3, &arguments), loops).await
    }

    pub fn state(&self) -> &AppState {
        &self.replica.state
    }

    /// The object store, which a test may make refuse.
    pub fn s3(&self) -> &TestS3 {
        &self.s3
    }

    /// The first organization, its key and its runner's token.
    pub fn keys(&self) -> &Bootstrapped {
        &self.prepared.keys
    }

    /// The user's API, as the first organization's key.
    pub fn client(&self) -> Client {
        self.replica.client(&self.keys().api_key)
    }

    /// The first organization's runner, registered with room for `capacity`.
    pub async fn runner(&self, capacity: u32) -> RunnerClient {
        self.replica.runner(&self.keys().runner_token, capacity, &[]).await
    }

    /// The URLs of the database's roles.
    pub fn urls(&self) -> &RoleUrls {
        &self.prepared.urls
    }

    pub fn superuser_url(&self) -> &Secret {
        &self.prepared.database.url
    }

    /// SQL as the superuser.
    pub async fn sql(&self) -> PgConnection {
        PgConnection::connect(self.prepared.database.url.expose()).await.expect("the database answers")
    }

    /// SQL as the role that serves tenants.
    pub async fn sql_as_app(&self) -> PgConnection {
        PgConnection::connect(self.prepared.urls.app.expose()).await.expect("the database answers")
    }

    /// Queues so many jobs of an organization by this specification, in one transaction and without a request for each.
    pub async fn queue(&self, org: &Bootstrapped, count: usize, spec: &JobSpec) {
        let mut tx = self.state().db.tenant(org.org).await.expect("the database answers");
        for number in 0..count {
            let new = NewJob {
                id: JobId::new(),
                org: org.org,
                project: org.project,
                key: None,
                user: None,
                service_account: None,
                spec,
                repo: &format!("x{number}"),
                retry_of: None,
                handed_in: None,
                created_at: OffsetDateTime::now_utc(),
                limited: false,
            };
            jobs::submit(&mut tx, &new, None).await.expect("the job is accepted");
        }
        tx.commit().await.expect("the database answers");
    }

    /// One more organization with a project, a key and no runner.
    pub async fn organization(&self, name: &str) -> Bootstrapped {
        let (org, project, key, runner) = (OrgId::new(), ProjectId::new(), KeyId::new(), RunnerId::new());
        let api_key = tokens::random(TokenKind::Live, key);
        let mut sql = self.sql().await;
        sqlx::query(
            "with o as (insert into orgs (id, name, tier) values ($1, $2, 'enterprise') returning id),
                  p as (insert into projects (id, org_id, name) select $3, id, 'default' from o),
                  s as (insert into service_accounts (id, org_id, name, role)
                        select gen_random_uuid(), id, 'test', 'owner' from o returning id, org_id)
             insert into api_keys (id, org_id, service_account_id, name, token_hash) select $4, org_id, id, 'test', $5 from s",
        )
        .bind(org.uuid())
        .bind(name)
        .bind(project.uuid())
        .bind(key.uuid())
        .bind(&tokens::hash(api_key.expose())[..])
        .execute(&mut sql)
        .await
        .expect("the organization can be made");
        Bootstrapped { org, project, api_key, runner, runner_token: Secret::new("") }
    }

    /// A runner of the platform, which serves every organization; its token.
    pub async fn platform_runner(&self, name: &str) -> (RunnerId, Secret) {
        let id = RunnerId::new();
        let token = tokens::random(TokenKind::Runner, id);
        let mut sql = self.sql().await;
        sqlx::query(
            "with r as (insert into runners (id, name, token_hash) values ($1, $2, $3) returning id)
             insert into runner_feeds (runner_id) select id from r",
        )
        .bind(id.uuid())
        .bind(name)
        .bind(&tokens::hash(token.expose())[..])
        .execute(&mut sql)
        .await
        .expect("the runner can be made");
        (id, token)
    }

    /// Has the server's own loops look as if they had never been silent, so that the sweeper judges at once.
    pub async fn let_the_sweeper_judge(&self) {
        let mut sql = self.sql().await;
        sqlx::query(
            "insert into service_beats (name, beat_at, judge_from)
             select name, now(), now() - interval '1 hour' from unnest(array['sweeper', 'way-in']) name
             on conflict (name) do update set beat_at = excluded.beat_at, judge_from = excluded.judge_from",
        )
        .execute(&mut sql)
        .await
        .expect("the beats can be set");
    }
}

impl Replica {
    async fn start(mut config: Config, loops: Loops) -> Self {
        let stop = CancellationToken::new();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        config.listen = address;
        let state = AppState::new(config, stop.clone()).expect("the configuration is good");
        if loops == Loops::On {
            let tracker = TaskTracker::new();
            background::spawn(&state, &tracker, &stop);
            tracker.spawn(sweeper::way_in::run(state.clone(), address, stop.clone()));
        }
        tokio::spawn(http::server::run(listener, http::router(&state), stop.clone(), Duration::from_secs(1)));
        Self { state, address, _stop: stop.drop_guard() }
    }

    pub fn url(&self) -> Url {
        format!("http://{}", self.address).parse().expect("an address is a URL")
    }

    fn client_config(&self, token: &Secret) -> ClientConfig {
        ClientConfig::new(self.url(), token.clone(), "ckrv-tests")
    }

    /// The user's API by an API key.
    pub fn client(&self, api_key: &Secret) -> Client {
        Client::new(self.client_config(api_key)).expect("the configuration is good")
    }

    /// A runner that has registered.
    pub async fn runner(&self, token: &Secret, capacity: u32, classes: &[&str]) -> RunnerClient {
        let client = RunnerClient::new(self.client_config(token)).expect("the configuration is good");
        let register = Register { instance: MACHINE.to_owned(), offer: offer(capacity, classes) };
        client.register(&register).await.expect("the runner can register");
        client
    }

    /// A worker by its bootstrap token.
    pub fn worker(&self, bootstrap_token: &Secret) -> WorkerClient {
        WorkerClient::new(self.client_config(bootstrap_token)).expect("the configuration is good")
    }
}

/// What a test's runner offers.
pub fn offer(capacity: u32, classes: &[&str]) -> Offer {
    let classes = classes.iter().map(|&class| class.to_owned()).collect();
    Offer { capacity, classes, labels: std::collections::BTreeMap::default(), version: "0.0.0".to_owned() }
}

/// A heartbeat of a test's runner that holds nothing.
pub fn beat(capacity: u32) -> RunnerHeartbeat {
    RunnerHeartbeat { instance: MACHINE.to_owned(), offer: offer(capacity, &[]), holding: Vec::new() }
}

/// The smallest good specification.
pub fn spec() -> JobSpec {
    JobSpec { command: vec!["true".to_owned()], ..JobSpec::new("https://example.com/team/app.git") }
}

/// Hands in a job with this specification.
pub async fn submit(client: &Client, spec: JobSpec) -> Job {
    client.submit(&SubmitJob { spec, project: None }).await.expect("the job is accepted")
}

fn config(prepared: &Prepared, s3: &TestS3, arguments: &[&str]) -> Config {
    let own = [
        ("--listen", "127.0.0.1:0".to_owned()),
        ("--database-url", prepared.urls.app.expose().to_owned()),
        ("--system-database-url", prepared.urls.system.expose().to_owned()),
        ("--database-connections", "8".to_owned()),
        ("--s3-endpoint", s3.endpoint().to_owned()),
        ("--s3-access-key", s3.access_key().to_owned()),
        ("--s3-secret-key", s3.secret_key().expose().to_owned()),
        ("--secret-key", "07".repeat(32)),
        ("--rate-per-key", "0".to_owned()),
        ("--rate-per-address", "0".to_owned()),
    ];
    let mut words = vec!["ckrv-server".to_owned()];
    words.extend(own.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
    words.extend(arguments.iter().map(|&word| word.to_owned()));
    Arguments::try_parse_from(words).expect("the arguments are good").config
}
