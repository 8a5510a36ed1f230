//! S3 in this process, on loopback, its objects as files below a folder of ours.
//!
//! Narrower than S3, since keys are file names: a key has 164 bytes at most (in the bucket [`BUCKET`]; longer ones
//! are answered 500), and `a` cannot be an object beside `a/b`.

mod digest;
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ckrv_types::Secret;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::files::{self, FileError};

/// The bucket that is always there.
pub const BUCKET: &str = "ckrv";

#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot listen on {addr}")]
    Listen { addr: SocketAddr, source: std::io::Error },
    #[error("{} is not a loopback address", .0.ip())]
    NotLoopback(SocketAddr),
    #[error("cannot understand the S3 keys in {}", path.display())]
    Keys { path: PathBuf },
    #[error("cannot serve {}", folder.display())]
    Folder { folder: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
}

/// A running S3 server. Ask for path-style addresses. It stops when this value is dropped.
pub struct EmbeddedS3 {
    endpoint: String,
    keys: Keys,
    objects: PathBuf,
    refusing: Arc<AtomicBool>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

struct Keys {
    access: String,
    secret: Secret,
}

impl EmbeddedS3 {
    /// Serves `root` (`objects/`, and `keys.json` with mode 0600) on a loopback address; port 0: any that is free.
    pub async fn start(root: &Path, addr: SocketAddr) -> Result<Self, S3Error> {
        if !addr.ip().is_loopback() {
            return Err(S3Error::NotLoopback(addr));
        }
        let objects = root.join("objects");
        files::create_folder(&objects.join(BUCKET))?;
        let keys = Keys::in_folder(root)?;
        let broken =
            |error: s3s_fs::Error| S3Error::Folder { folder: objects.clone(), source: format!("{error:?}").into() };
        let mut service = S3ServiceBuilder::new(FileSystem::new(&objects).map_err(broken)?);
        service.set_auth(SimpleAuth::from_single(keys.access.as_str(), keys.secret.expose()));

        let listen_error = |source| S3Error::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen_error)?;
        let endpoint = format!("http://{}", listener.local_addr().map_err(listen_error)?);
        let (refusing, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let service = server::Service { s3: service.build(), refusing: refusing.clone() };
        let serving = tokio::spawn(server::serve(listener, service, stop.clone()));
        Ok(Self { endpoint, keys, objects, refusing, stop, serving })
    }

    /// `http://127.0.0.1:<port>`
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn access_key(&self) -> &str {
        &self.keys.access
    }

    pub fn secret_key(&self) -> &Secret {
        &self.keys.secret
    }

    /// Makes a bucket; one that is there is fine. Names as in S3: 3 to 63 of `a-z0-9.-`.
    pub fn create_bucket(&self, name: &str) -> Result<(), FileError> {
        files::create_folder(&self.objects.join(name))
    }

    /// Keys of all objects in a bucket, in no order. s3s-fs keeps what it knows of them in hidden files beside them.
    pub fn object_keys(&self, bucket: &str) -> std::io::Result<Vec<String>> {
        let bucket = self.objects.join(bucket);
        let (mut folders, mut keys) = (vec![bucket.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                    keys.extend(path.strip_prefix(&bucket).ok().and_then(Path::to_str).map(str::to_owned));
                }
            }
        }
        Ok(keys)
    }

    /// From now on every request is answered 503 `SlowDown` (`true`), or served again: for tests of faults.
    pub fn set_refusing(&self, refusing: bool) {
        self.refusing.store(refusing, Ordering::SeqCst);
    }

    /// Stops: running requests end, up to a limit.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // An error would mean that serving panicked; it is over all the same.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for EmbeddedS3 {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Keys {
    /// The folder's keys; random ones are made the first time.
    fn in_folder(root: &Path) -> Result<Self, S3Error> {
        let path = root.join("keys.json");
        if let Some(content) = files::read(&path)? {
            return Self::parse(&content).ok_or(S3Error::Keys { path });
        }
        let access = format!("ckrv{}", &files::random_secret().expose()[..16]);
        let keys = Self { access, secret: files::random_secret() };
        let content = json!({ "access_key": keys.access, "secret_key": keys.secret.expose() });
        files::write(&path, content.to_string().as_bytes())?;
        Ok(keys)
    }

    fn parse(content: &str) -> Option<Self> {
        let content: Value = serde_json::from_str(content).ok()?;
        let (access, secret) = (content["access_key"].as_str()?, content["secret_key"].as_str()?);
        Some(Self { access: access.to_owned(), secret: Secret::new(secret) })
    }
}
