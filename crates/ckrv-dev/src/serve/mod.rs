//! `ckrv-dev serve`: PostgreSQL, S3, the control plane and a local runner, composed as production composes them, in
//! one process and its children.
//!
//! Up: state folder, database, schema, object store, first organization, server, runner; then others are told the address.
//! Down, in the other order, so that a running job's last words still find a server and a server its database.

mod database;
mod keys;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ckrv_server::config::Config;
use ckrv_server::db::roles::RoleUrls;
use ckrv_types::Secret;
use ckrv_worker::config::{LocalConfig, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::files;
use crate::s3::{BUCKET, EmbeddedS3};
use crate::state::{Account, HomeArgs, Owner, RunningServer, StateFolder};
use database::Database;
use keys::Keys;

/// `ckrv-dev serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub home: HomeArgs,

    /// Port of the control plane on this machine; 0: the one of last time, or any that is free.
    #[arg(long, env = "CKRV_DEV_PORT", default_value_t = 0)]
    pub port: u16,

    /// Jobs at once.
    #[arg(long, env = "CKRV_SLOTS", default_value_t = 4)]
    pub slots: u32,

    /// A PostgreSQL that is there already: superuser URL of an empty database. Absent: a private one.
    #[arg(long, env = "CKRV_DEV_POSTGRES_URL", hide_env_values = true)]
    pub postgres_url: Option<Secret>,

    /// The worker's executable; absent: `ckrv-worker` beside this one.
    #[arg(long, env = "CKRV_WORKER_EXE")]
    pub worker_exe: Option<PathBuf>,

    #[command(flatten)]
    pub settings: Settings,
}

/// Runs until `stop`, or until a part of it ends by itself. A second one on the same folder says who was first, and ends well.
pub async fn run(args: ServeArgs, stop: CancellationToken) -> anyhow::Result<()> {
    let state = StateFolder::open(args.home.home.as_deref())?;
    let lock = match state.own_or_find().await? {
        Owner::Us(lock) => lock,
        Owner::Other(other) => {
            tracing::info!(server = other.server, pid = other.pid, "already running");
            return Ok(());
        }
    };
    let worker_exe = worker_exe(&args)?;
    let keys = Keys::in_folder(&state.secrets())?;
    let listener = listen(&state, args.port).await?;
    let server_url = format!("http://{}", listener.local_addr()?);

    let database = Database::start(&args, &state).await?;
    let urls = database.prepare(&keys).await?;
    let s3 = EmbeddedS3::start(&state.s3(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let config = server_config(&keys, &urls, &s3, listener.local_addr()?)?;
    let tokens = keys.tokens(&config.database).await?;
    let account = Account { login: keys::LOGIN.to_owned(), password_file: keys.account(&config.database).await? };

    let (stop_server, stop_runner) = (CancellationToken::new(), CancellationToken::new());
    let mut server = tokio::spawn(ckrv_server::serve::serve(config, listener, stop_server.clone()));
    let runner_config = runner_config(&args, &state, &server_url, tokens.runner_token_file, worker_exe)?;
    let mut runner = tokio::spawn(ckrv_worker::local::run(runner_config, stop_runner.clone()));

    let home = state.home();
    write_profile(home, &server_url, &tokens.api_key)?;
    let pid = std::process::id();
    lock.announce(&RunningServer { server: server_url.clone(), pid, account: Some(account) })?;
    tracing::info!(server = server_url, "ready; the local runner is not a sandbox: agents run as you");

    let outcome = tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = database.ended() => Err(anyhow::anyhow!("the database has ended")),
        ended = &mut server => Err(anyhow::anyhow!("the server has ended: {ended:?}")),
        ended = &mut runner => Err(anyhow::anyhow!("the runner has ended: {ended:?}")),
    };
    stop_runner.cancel();
    if !runner.is_finished() {
        runner.await?.context("the runner did not end well")?;
    }
    stop_server.cancel();
    if !server.is_finished() {
        server.await?.context("the server did not end well")?;
    }
    s3.stop().await;
    database.stop().await;
    outcome
}

/// The port of last time keeps workers that outlived a killed `ckrv-dev`, and users' notes of the address, good.
async fn listen(state: &StateFolder, port: u16) -> anyhow::Result<TcpListener> {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let file = state.secrets().join("port");
    let last = files::read(&file)?.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let listener = match port {
        0 => match TcpListener::bind(loopback(last)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(loopback(0)).await.context("cannot listen on loopback")?,
        },
        port => TcpListener::bind(loopback(port)).await.with_context(|| format!("cannot listen on port {port}"))?,
    };
    files::write(&file, listener.local_addr()?.port().to_string().as_bytes())?;
    Ok(listener)
}

/// What the server would be told on its command line. Its other settings may come from the environment as usual.
fn server_config(keys: &Keys, urls: &RoleUrls, s3: &EmbeddedS3, listen: SocketAddr) -> anyhow::Result<Config> {
    let listen = listen.to_string();
    let config = Config::from_args([
        "--listen",
        &listen,
        "--database-url",
        urls.app.expose(),
        "--system-database-url",
        urls.system.expose(),
        "--secret-key",
        keys.secret_key.expose(),
        "--s3-endpoint",
        s3.endpoint(),
        "--s3-bucket",
        BUCKET,
        "--s3-access-key",
        s3.access_key(),
        "--s3-secret-key",
        s3.secret_key().expose(),
        "--allow-local-repos",
        "--org-creation",
        "anyone",
    ])?;
    Ok(config)
}

fn runner_config(
    args: &ServeArgs,
    state: &StateFolder,
    server: &str,
    token_file: PathBuf,
    worker_exe: PathBuf,
) -> anyhow::Result<LocalConfig> {
    let mut settings = args.settings.clone();
    settings.allow_local_repos = true;
    // Where the user keeps the secrets of the embedded default unless told otherwise.
    let secrets = state.home().join("secrets.yaml");
    if settings.secrets.is_empty() && secrets.exists() {
        settings.secrets.push(secrets);
    }
    Ok(LocalConfig {
        server: server.parse()?,
        token_file,
        slots: args.slots,
        home: state.runner(),
        classes: Vec::new(),
        labels: Vec::new(),
        stop_jobs: true,
        stop_limit: 30,
        node: None,
        worker_exe: Some(worker_exe),
        settings,
    })
}

fn worker_exe(args: &ServeArgs) -> anyhow::Result<PathBuf> {
    let exe = match &args.worker_exe {
        Some(exe) => exe.clone(),
        None => std::env::current_exe()?.with_file_name("ckrv-worker"),
    };
    if !exe.exists() {
        bail!("{} is not there; build it with `make build`, or say where it is with --worker-exe", exe.display());
    }
    Ok(exe)
}

/// Logs the CLI in: its profile `dev`.
fn write_profile(home: &Path, server: &str, api_key: &Secret) -> anyhow::Result<()> {
    let folder = home.join("profiles");
    files::create_folder(&folder)?;
    let profile = serde_json::json!({ "server": server, "token": api_key.expose() });
    files::write(&folder.join("dev.json"), &serde_json::to_vec_pretty(&profile)?)?;
    Ok(())
}
