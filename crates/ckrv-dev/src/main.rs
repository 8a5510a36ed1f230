//! `ckrv-dev`: the embedded default as a program.

use std::process::ExitCode;

use anyhow::Context as _;
use ckrv_dev::postgres::{ClusterSettings, guard};
use ckrv_dev::serve::{self, ServeArgs};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(name = "ckrv-dev", version, about = "The embedded control plane of ckrv, on this machine alone")]
struct Cli {
    /// What to log to stderr, such as `info` or `ckrv_server=debug,warn`.
    #[arg(long, env = "CKRV_LOG", default_value = "info", global = true)]
    log: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the control plane and a local runner until told to end; `ckrv dev` calls this
    Serve(Box<ServeArgs>),
    /// Guard a private PostgreSQL (`ckrv-dev` calls this itself)
    #[command(hide = true)]
    Postgres {
        /// The settings, as JSON
        settings: String,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command {
        // Enters a user namespace where it has to: no thread may exist before.
        Command::Postgres { settings } => {
            let settings: ClusterSettings =
                serde_json::from_str(&settings).context("cannot understand the settings")?;
            Ok(guard::run(&settings))
        }
        Command::Serve(args) => {
            let filter = EnvFilter::try_new(&cli.log).context("cannot understand --log")?;
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
            serve(*args)
        }
    }
}

#[tokio::main]
async fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        told.cancel();
    });
    serve::run(args, stop).await?;
    Ok(ExitCode::SUCCESS)
}
