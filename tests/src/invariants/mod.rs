//! What must hold once everything has settled, whatever died in between: looked up in the database as its superuser, in the
//! object store, through the API, and on the machine that ran the jobs.
//!
//! It shares no code with what it judges but the types of the API and the object store's client.

mod api;
mod database;
mod storage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ckrv_client::Client;
use ckrv_server::config::S3Config;
use ckrv_server::s3::S3;
use ckrv_types::JobId;
use sqlx::{Connection as _, PgConnection};

use crate::processes;
use crate::stack::{JOB, Stack};
use crate::wait::wait_for;

/// How long a runner may take to clear up behind an attempt.
const CLEANED: Duration = Duration::from_secs(20);

/// One thing that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// What the client was told is accepted has a row.
    AcceptedIsThere,
    /// Every job was accepted by somebody's request, once.
    NobodyAsked,
    /// At most one attempt of a job succeeded.
    OneResult,
    /// A job's attempts are numbered from 1 to its latest.
    AttemptsInARow,
    /// All but the latest failed for a cause that is retried.
    EarlierFailed,
    /// The job says what its latest attempt says.
    JobIsLatest,
    /// An attempt that is given out has a runner, or a worker, that lives.
    HeldByTheLiving,
    /// By the events, no attempt ever fell in rank.
    RanksRise,
    /// An attempt that is over has one final event, with its state; another has none.
    OneEnd,
    /// An attempt that is over has a sealed log, and no other has.
    SealedAtTheEnd,
    /// Chunks follow each other from line 1 to the last that was kept.
    ChunksInARow,
    /// Nothing is stored behind the seal.
    NothingBehindTheSeal,
    /// A frame has the lines that its row says.
    FramesAsCounted,
    /// An archived log is in the object store, with its hash and its lines, and no longer in the database.
    ArchiveWhole,
    /// An artifact that is said to be stored is, with its size and hash.
    ArtifactsStored,
    /// An attempt that is over has an outcome for each of its artifacts.
    ArtifactsSettled,
    /// What counts as used is what jobs and attempts say, each once.
    UsageAsAttemptsSay,
    /// The API shows the job and its log as the database has them.
    ApiAgrees,
    /// Nothing of any attempt is left on the machine.
    NothingLeft,
}

impl Rule {
    pub const ALL: [Self; 19] = [
        Self::AcceptedIsThere,
        Self::NobodyAsked,
        Self::OneResult,
        Self::AttemptsInARow,
        Self::EarlierFailed,
        Self::JobIsLatest,
        Self::HeldByTheLiving,
        Self::RanksRise,
        Self::OneEnd,
        Self::SealedAtTheEnd,
        Self::ChunksInARow,
        Self::NothingBehindTheSeal,
        Self::FramesAsCounted,
        Self::ArchiveWhole,
        Self::ArtifactsStored,
        Self::ArtifactsSettled,
        Self::UsageAsAttemptsSay,
        Self::ApiAgrees,
        Self::NothingLeft,
    ];
}

/// A rule that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Who is judged.
pub struct Judged {
    pub client: Client,
    pub s3: S3,
    /// Folders of the runners.
    pub homes: Vec<PathBuf>,
    /// The ids of all jobs that clients were told are accepted.
    pub accepted: Vec<JobId>,
    /// Silence after which a runner or worker is lost, as the server was told.
    pub lease: Duration,
}

impl Judged {
    /// Everything that does not hold, as `sql` (the superuser's) sees the database.
    pub async fn violations(&self, sql: &mut PgConnection) -> Vec<Violation> {
        let mut found = database::violations(sql, &self.accepted, self.lease).await;
        found.extend(storage::violations(sql, &self.s3).await);
        found.extend(api::violations(sql, &self.client, &self.accepted).await);
        found.extend(self.left_behind());
        found
    }

    fn left_behind(&self) -> Vec<Violation> {
        let folders = self.homes.iter().flat_map(|home| {
            let entries = std::fs::read_dir(home.join("work")).into_iter().flatten().flatten();
            entries.map(|entry| format!("the folder {}", entry.path().display()))
        });
        let works = self.homes.iter().flat_map(|home| processes::below(&home.join("work")));
        let by_pid: BTreeMap<i32, String> =
            works.chain(processes::of_jobs(&self.accepted)).map(|process| (process.pid, process.command)).collect();
        let living = by_pid.into_iter().map(|(pid, command)| format!("process {pid}: {command}"));
        folders.chain(living).map(|what| Violation { rule: Rule::NothingLeft, what }).collect()
    }
}

impl Stack {
    /// SQL as the superuser.
    pub async fn sql(&self) -> PgConnection {
        PgConnection::connect(self.superuser_url().expose()).await.expect("the database answers")
    }

    /// This stack with its own runner, and the jobs that its clients were told are accepted.
    pub fn judged(&self, accepted: &[JobId]) -> Judged {
        let endpoint: url::Url = self.s3.endpoint().parse().expect("an endpoint is a URL");
        let s3 = S3::new(&S3Config {
            public_endpoint: Some(endpoint.clone()),
            endpoint,
            bucket: ckrv_dev::s3::BUCKET.to_owned(),
            region: "us-east-1".to_owned(),
            access_key: ckrv_types::Secret::new(self.s3.access_key()),
            secret_key: self.s3.secret_key().clone(),
            encryption: None,
        });
        let lease = Duration::from_secs(ckrv_types::limits::LEASE_SECONDS);
        Judged { client: self.client(), s3, homes: vec![self.runner_home()], accepted: accepted.to_vec(), lease }
    }

    /// Waits until the jobs are over and cleared away, and panics with every rule that does not hold then.
    pub async fn holds(&self, accepted: &[JobId]) {
        self.all_hold(&self.judged(accepted)).await;
    }

    /// The same, of something else than the stack's usual parts.
    pub async fn all_hold(&self, judged: &Judged) {
        let mut sql = self.sql().await;
        over(&mut sql, &judged.accepted).await;
        let begun = Instant::now();
        while !judged.left_behind().is_empty() && begun.elapsed() < CLEANED {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let found = judged.violations(&mut sql).await;
        let text: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(text.is_empty(), "{}\n--- server\n{}", text.join("\n"), self.log("server.log"));
    }
}

async fn over(sql: &mut PgConnection, jobs: &[JobId]) {
    let ids: Vec<_> = jobs.iter().map(|job| job.uuid()).collect();
    let sql = tokio::sync::Mutex::new(sql);
    wait_for("the jobs are over", JOB, async || {
        let running: i64 = sqlx::query_scalar("select count(*) from jobs where id = any ($1) and finished_at is null")
            .bind(&ids)
            .fetch_one(&mut **sql.lock().await)
            .await
            .expect("the database answers");
        (running == 0).then_some(())
    })
    .await;
}
