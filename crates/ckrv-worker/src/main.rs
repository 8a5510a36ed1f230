//! `ckrv-worker`: reads the command line, sets up logging and signals, and hands over to the library.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use ckrv_types::State;
use ckrv_worker::config::{
    Cli, Command, InstallConfig, LocalConfig, LogFormat, ShimConfig, SuperviseConfig, container_environment,
};
use ckrv_worker::install;
use ckrv_worker::local::{self, processes};
use ckrv_worker::shim::{self, Connect};
use ckrv_worker::supervise;
use ckrv_worker::supervise::control::{Control, Stop};
use clap::Parser;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// A thread that waits for the disk must not keep the heartbeat waiting, on however small a machine.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    set_up_logging(&cli)?;
    ckrv_client::install_crypto_provider();
    match cli.command {
        Command::Supervise(config) => runtime(THREADS)?.block_on(supervise(config)),
        Command::Shim(config) => runtime(1)?.block_on(shim(config)),
        Command::Install(InstallConfig { path }) => {
            install::install(&path).with_context(|| format!("cannot copy this program to {}", path.display()))
        }
        Command::Local(config) => runtime(THREADS)?.block_on(run_local(config)),
    }
}

fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    Ok(builder.worker_threads(threads).enable_all().build()?)
}

fn set_up_logging(cli: &Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&cli.log).with_context(|| format!("`{}` is not a log filter", cli.log))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A log that cannot be written must not end what it tells of.
        .log_internal_errors(false);
    match cli.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

async fn supervise(config: SuperviseConfig) -> anyhow::Result<()> {
    supervise::hide_from_other_processes();
    let control = Control::new();
    tokio::spawn({
        let control = control.clone();
        let told = told_to_end()?;
        async move {
            control.stop(if told.await == SignalKind::interrupt() { Stop::Abandoned } else { Stop::Told });
        }
    });
    let finished = Box::pin(supervise::run(config, control)).await?;
    tracing::info!(state = State::as_str(finished.state), sealed_seq = finished.sealed_seq, "finished");
    Ok(())
}

async fn shim(config: ShimConfig) -> anyhow::Result<()> {
    let connect =
        config.socket.map_or(Connect::Inherited, |path| Connect::Socket { path, environment: container_environment() });
    shim::serve(connect).await?;
    Ok(())
}

async fn run_local(config: LocalConfig) -> anyhow::Result<()> {
    processes::adopt_orphans()?;
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        let told = told_to_end()?;
        async move {
            told.await;
            stop.cancel();
        }
    });
    local::run(config, stop).await?;
    Ok(())
}

/// Ends at the first SIGTERM or SIGINT, and says which.
fn told_to_end() -> std::io::Result<impl Future<Output = SignalKind> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        }
    })
}
