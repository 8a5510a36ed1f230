//! A PostgreSQL of a test's own, which it may take away and bring back.

use std::fs::File;
use std::time::{Duration, Instant};

use ckrv_dev::postgres::{ClusterSettings, EmbeddedPostgres};
use ckrv_dev::testing::{self, TestDatabase};
use tempfile::TempDir;

use crate::stack::free_address;

/// How long the database may take to end.
const END: Duration = Duration::from_secs(30);

/// A database server with a port and data that stay the same over its restarts. All goes when it is dropped.
pub struct OwnPostgres {
    settings: ClusterSettings,
    running: Option<EmbeddedPostgres>,
    folder: TempDir,
}

impl OwnPostgres {
    /// `durable`: with PostgreSQL's usual care for power cuts, as measurements want it and tests need not.
    pub async fn start(durable: bool) -> Self {
        let folder = TempDir::with_prefix("ckrv-test-own-postgres-").expect("a temporary folder");
        let usual = testing::cluster_settings(folder.path());
        let configuration = if durable { Vec::new() } else { usual.configuration };
        let port = Some(free_address().port());
        let settings = ClusterSettings { port, temporary: false, configuration, ..usual };
        let running = Some(testing::start(&settings).await);
        Self { settings, running, folder }
    }

    /// A fresh, empty database.
    pub async fn database(&self) -> TestDatabase {
        let name = "test".to_owned();
        let running = self.running.as_ref().expect("it runs");
        let url = running.create_database(&name).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
        TestDatabase { name, url }
    }

    /// Ends all sessions and stops.
    pub async fn stop(&mut self) {
        self.running.take().expect("it runs").stop().await;
    }

    pub async fn start_again(&mut self) {
        self.running = Some(testing::start(&self.settings).await);
    }
}

impl Drop for OwnPostgres {
    /// Its guard stops it, in a process of its own; the folder can go once that has let go of its lock.
    fn drop(&mut self) {
        drop(self.running.take());
        let begun = Instant::now();
        let lock = File::open(self.folder.path().join("guard.lock"));
        while lock.as_ref().is_ok_and(|lock| lock.try_lock().is_err()) && begun.elapsed() < END {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}
