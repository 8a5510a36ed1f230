//! Real PostgreSQL and S3 for tests, of any crate of the workspace.
//!
//! - [`database`]: a fresh, empty database. All tests of one test binary share one server, started by the first; it
//!   and its folder are gone when the binary ends, however it ends.
//! - [`s3`]: an S3 server of the test's own (it starts in milliseconds), with one empty bucket.
//! - [`cluster_settings`]: for tests that stop or kill a database, which then must have a server of their own.
//!
//! All of them panic when they cannot serve: a test without its database is a failed test.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use ckrv_types::Secret;
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::files;
use crate::postgres::{ClusterSettings, EmbeddedPostgres};
use crate::s3::EmbeddedS3;
use crate::state;

static SHARED: OnceCell<EmbeddedPostgres> = OnceCell::const_new();

/// A fresh database of the shared server: its name, and its superuser URL.
pub struct TestDatabase {
    pub name: String,
    pub url: Secret,
}

/// Makes a fresh, empty database. Roles belong to the server: give yours names that no other test has.
pub async fn database() -> TestDatabase {
    let postgres = postgres().await;
    let name = format!("test_{}", &files::random_secret().expose()[..16]);
    let url = postgres.create_database(&name).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
    TestDatabase { name, url }
}

/// The server that the tests of this binary share.
pub async fn postgres() -> &'static EmbeddedPostgres {
    SHARED
        .get_or_init(|| async {
            let root = tempfile::Builder::new().prefix("ckrv-test-postgres-").tempdir_in(quick_folder());
            // Not removed by us, who may be killed, but by the database's guard.
            start(&cluster_settings(&root.expect("a temporary folder").keep())).await
        })
        .await
}

/// Linux's folder in memory if it is large (containers have a small one): databases are made four times as fast in it.
fn quick_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = statvfs(memory).map_or(0, |folder| folder.blocks_available() * folder.fragment_size());
    if free > 4 << 30 { memory.to_owned() } else { std::env::temp_dir() }
}

/// Starts a server with these settings.
pub async fn start(settings: &ClusterSettings) -> EmbeddedPostgres {
    let started = EmbeddedPostgres::start(&program(), settings).await;
    started.unwrap_or_else(|error| panic!("{error}: {error:?}; hint: {}", error.hint()))
}

/// A database in `root` that is removed, with `root`, when it stops; quick, since it need not survive a power cut.
pub fn cluster_settings(root: &Path) -> ClusterSettings {
    let cache = state::postgres_cache().unwrap_or_else(|error| panic!("{error}"));
    let quick = [("fsync", "off"), ("full_page_writes", "off")];
    ClusterSettings {
        configuration: quick.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        temporary: true,
        ..ClusterSettings::new(root, cache)
    }
}

/// An S3 server, and the folder that goes with it.
pub struct TestS3 {
    s3: EmbeddedS3,
    folder: TempDir,
}

impl TestS3 {
    /// Where the objects lie, each a file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Deref for TestS3 {
    type Target = EmbeddedS3;

    fn deref(&self) -> &EmbeddedS3 {
        &self.s3
    }
}

/// Starts an S3 server on the caller's runtime. It ends when dropped.
pub async fn s3() -> TestS3 {
    let folder = tempfile::Builder::new().prefix("ckrv-test-s3-").tempdir().expect("a temporary folder");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let s3 = EmbeddedS3::start(folder.path(), any_port).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
    TestS3 { s3, folder }
}

/// The `ckrv-dev` executable of this build (a test binary is `target/<profile>/deps/<name>`), built if it is not there:
/// cargo does not build the executables of a test's dependencies.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test binary has a path");
    let profile = test.parent().and_then(Path::parent).expect("a test binary is in target/<profile>/deps");
    let program = profile.join("ckrv-dev");
    if !program.exists() {
        build(profile);
    }
    program
}

fn build(profile: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "ckrv-dev", "--bin", "ckrv-dev"]);
    cargo.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "--target-dir"]);
    cargo.arg(profile.parent().expect("a profile is in target/"));
    let name = profile.file_name().unwrap_or_default();
    // The one profile whose folder has another name.
    cargo.arg("--profile").arg(if name == "debug" { "dev".as_ref() } else { name });
    assert!(cargo.status().is_ok_and(|status| status.success()), "cargo cannot build ckrv-dev");
}
