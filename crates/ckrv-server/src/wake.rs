//! Wake-ups: who waits for a job, a runner's list or admission is woken when something may have changed.
//!
//! A wake-up is a hint and carries no data: whoever is woken looks at the database. Waiters of this process are woken at
//! once; those of other replicas by NOTIFY, sent after commit from a connection of its own and coalesced over
//! [`COALESCE`]. A lost hint costs delay, never work: every waiter also looks each [`LOOK`], and a worker, of which there
//! may be thousands with nothing to hear, with its next beat.
//!
//! NOTIFY's payload is `<origin> <topic>`, so that a replica does not wake its own waiters twice.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ckrv_types::{JobId, RunnerId};
use sqlx::postgres::PgListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::db::Db;

/// How long hints to other replicas are collected before they are sent.
pub const COALESCE: Duration = Duration::from_millis(20);
/// How long a waiter waits at most before it looks for itself.
pub const LOOK: Duration = Duration::from_secs(1);

const CHANNEL: &str = "ckrv";
/// Hints that may wait to be sent; more are dropped, as hints may be.
const BACKLOG: usize = 10_000;

/// What one can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Topic {
    /// A job's state, events or log.
    Job(JobId),
    /// A runner's list of assignments.
    Runner(RunnerId),
    /// What a job's worker should hear: a request to cancel, a cause that its runner has noted.
    Worker(JobId),
    /// Work or room for admission.
    Admission,
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(id) => id.fmt(f),
            Self::Runner(id) => id.fmt(f),
            Self::Worker(id) => write!(f, "worker {id}"),
            Self::Admission => f.write_str("admission"),
        }
    }
}

impl FromStr for Topic {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "admission" {
            return Ok(Self::Admission);
        }
        if let Some(job) = text.strip_prefix("worker ") {
            return job.parse().map(Self::Worker).map_err(drop);
        }
        text.parse().map(Self::Job).or_else(|_| text.parse().map(Self::Runner)).map_err(drop)
    }
}

type Waiters = Arc<Mutex<HashMap<Topic, watch::Sender<()>>>>;

/// The hub. Clones share it.
#[derive(Clone)]
pub struct Wake {
    waiters: Waiters,
    outgoing: mpsc::Sender<Topic>,
    unsent: Arc<Mutex<Option<mpsc::Receiver<Topic>>>>,
}

impl Wake {
    #[expect(clippy::new_without_default, reason = "a hub is made once, on purpose")]
    pub fn new() -> Self {
        let (outgoing, unsent) = mpsc::channel(BACKLOG);
        Self { waiters: Waiters::default(), outgoing, unsent: Arc::new(Mutex::new(Some(unsent))) }
    }

    /// Waits for changes of a job. Take it before looking at the database: what happens in between is not lost.
    pub fn job(&self, job: JobId) -> Waiter {
        self.subscribe(Topic::Job(job))
    }

    /// Waits for changes of a runner's assignments.
    pub fn runner(&self, runner: RunnerId) -> Waiter {
        self.subscribe(Topic::Runner(runner))
    }

    /// Waits for something that a job's worker should hear.
    pub fn worker(&self, job: JobId) -> Waiter {
        self.subscribe(Topic::Worker(job))
    }

    /// Waits for something to admit, or somebody to give it to.
    pub fn admission(&self) -> Waiter {
        self.subscribe(Topic::Admission)
    }

    /// To be called after the commit, as all of these.
    pub fn notify_job(&self, job: JobId) {
        self.notify(Topic::Job(job));
    }

    pub fn notify_runner(&self, runner: RunnerId) {
        self.notify(Topic::Runner(runner));
    }

    pub fn notify_worker(&self, job: JobId) {
        self.notify(Topic::Worker(job));
    }

    pub fn notify_admission(&self) {
        self.notify(Topic::Admission);
    }

    fn subscribe(&self, topic: Topic) -> Waiter {
        let woken = lock(&self.waiters).entry(topic).or_insert_with(|| watch::channel(()).0).subscribe();
        Waiter { topic, woken, waiters: Arc::clone(&self.waiters) }
    }

    fn notify(&self, topic: Topic) {
        self.wake(topic);
        // A full backlog drops the hint: the other replicas' waiters look each second.
        let _ = self.outgoing.try_send(topic);
    }

    fn wake(&self, topic: Topic) {
        if let Some(waiters) = lock(&self.waiters).get(&topic) {
            waiters.send_replace(());
        }
    }

    fn wake_everyone(&self) {
        for waiters in lock(&self.waiters).values() {
            waiters.send_replace(());
        }
    }
}

/// One who waits.
pub struct Waiter {
    topic: Topic,
    woken: watch::Receiver<()>,
    waiters: Waiters,
}

impl Waiter {
    /// Returns at a wake-up since the last call (or since the waiter was made), at the latest after [`LOOK`].
    pub async fn wait(&mut self) {
        // The sender lives as long as this waiter, so the only other outcome is that the time is over.
        let _ = tokio::time::timeout(LOOK, self.woken.changed()).await;
    }

    /// The same without an end of its own: for who looks again anyway, or costs too much in great numbers.
    pub async fn wait_for_hint(&mut self) {
        let _ = self.woken.changed().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = lock(&self.waiters);
        // Ours is still counted: fields are dropped after this.
        if waiters.get(&self.topic).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiters.remove(&self.topic);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Exchanges hints with the other replicas until `shutdown`. Runs once per hub.
pub async fn run(wake: Wake, db: Db, shutdown: CancellationToken) {
    let Some(unsent) = lock(&wake.unsent).take() else { return };
    let origin = format!("{:08x}", rand::random::<u32>());
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = send(&db, &origin, unsent) => {}
        () = listen(&db, &origin, &wake) => {}
    }
}

async fn send(db: &Db, origin: &str, mut unsent: mpsc::Receiver<Topic>) {
    let mut connection = None;
    while let Some(first) = unsent.recv().await {
        let mut topics = HashSet::from([first]);
        tokio::time::sleep(COALESCE).await;
        while let Ok(topic) = unsent.try_recv() {
            topics.insert(topic);
        }
        let payloads: Vec<String> = topics.iter().map(|topic| format!("{origin} {topic}")).collect();
        if let Err(error) = notify_others(db, &mut connection, &payloads).await {
            tracing::debug!(%error, "hints to other replicas were lost");
            connection = None;
        }
    }
}

async fn notify_others(
    db: &Db,
    connection: &mut Option<sqlx::PgConnection>,
    payloads: &[String],
) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(db.connection().await?),
    };
    sqlx::query("select pg_notify($1, payload) from unnest($2::text[]) payload")
        .bind(CHANNEL)
        .bind(payloads)
        .execute(connection)
        .await?;
    Ok(())
}

async fn listen(db: &Db, origin: &str, wake: &Wake) {
    loop {
        if let Err(error) = listen_once(db, origin, wake).await {
            tracing::debug!(%error, "not listening to other replicas at the moment");
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn listen_once(db: &Db, origin: &str, wake: &Wake) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(&db.listener_pool()).await?;
    listener.listen(CHANNEL).await?;
    // What was sent while nobody listened is unknown.
    wake.wake_everyone();
    loop {
        match listener.try_recv().await? {
            Some(notification) => {
                let topic = notification.payload().split_once(' ').filter(|(from, _)| *from != origin);
                if let Some(Ok(topic)) = topic.map(|(_, topic)| topic.parse()) {
                    wake.wake(topic);
                }
            }
            None => wake.wake_everyone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_woken(waiter: &mut Waiter) -> bool {
        tokio::time::timeout(LOOK / 2, waiter.wait()).await.is_ok()
    }

    #[tokio::test]
    async fn a_wake_up_between_subscribing_and_waiting_is_not_lost() {
        let wake = Wake::new();
        let job = JobId::new();
        let mut waiter = wake.job(job);
        wake.notify_job(job);
        assert!(is_woken(&mut waiter).await);
    }

    #[tokio::test]
    async fn others_are_not_woken_and_look_for_themselves_after_a_second() {
        let wake = Wake::new();
        let mut waiter = wake.job(JobId::new());
        wake.notify_job(JobId::new());
        assert!(!is_woken(&mut waiter).await);
        waiter.wait().await;
    }

    #[tokio::test]
    async fn nothing_is_kept_of_waiters_that_are_gone() {
        let wake = Wake::new();
        let job = JobId::new();
        let (first, second) = (wake.job(job), wake.job(job));
        drop(first);
        let mut second = second;
        wake.notify_job(job);
        assert!(is_woken(&mut second).await);
        drop(second);
        assert!(lock(&wake.waiters).is_empty());
    }

    #[test]
    fn topics_survive_the_wire() {
        let job = JobId::new();
        for topic in [Topic::Job(job), Topic::Runner(RunnerId::new()), Topic::Worker(job), Topic::Admission] {
            assert_eq!(topic.to_string().parse(), Ok(topic));
        }
        for unknown in ["nonsense", "worker", "worker nonsense"] {
            assert_eq!(unknown.parse::<Topic>(), Err(()));
        }
    }
}
