//! `ckrv-operator`: reads the command line, sets up logging and signals, and hands over to the library.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use ckrv_operator::config::{Cli, Command, LogFormat};
use ckrv_operator::{crd, run};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "failed");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    set_up_logging(&cli)?;
    match cli.command {
        Command::Crds { folder } => write_definitions(&folder),
        Command::Run(config) => {
            ckrv_client::install_crypto_provider();
            tokio::runtime::Runtime::new()?.block_on(async {
                let stop = stop_when_told()?;
                Ok(Box::pin(run::run(*config, stop)).await?)
            })
        }
    }
}

fn write_definitions(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, definition) in crd::all() {
        let path = folder.join(name);
        std::fs::write(&path, crd::print(&definition)?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
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

/// Cancelled at the first SIGTERM or SIGINT.
fn stop_when_told() -> std::io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
            }
            stop.cancel();
        }
    });
    Ok(stop)
}
