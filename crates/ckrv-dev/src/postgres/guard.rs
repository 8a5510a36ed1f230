//! The process between us and the database: `ckrv-dev postgres SETTINGS`. It exists for two reasons: PostgreSQL refuses
//! to run as root (see [`super::user_namespace`]), and the database must end with whoever wanted it, also when
//! that one is killed without a chance to clean up.
//!
//! 1. It answers one JSON line on standard output: [`Report`].
//! 2. It stops the database when its standard input reaches the end, or on SIGTERM, SIGINT or SIGHUP.
//! 3. A person may read along on standard error.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::cluster::{Cluster, Server, system};
use super::error::ClusterError;
use super::{ClusterSettings, SUPERUSER, user_namespace};

/// The one line on standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Report {
    /// The database accepts connections. The URL is the superuser's, with the password.
    Ready { url: String, port: u16 },
    /// There will be no database.
    Failed { error: String, hint: String },
}

/// The whole life of the process. To be called before it has a second thread.
pub fn run(settings: &ClusterSettings) -> ExitCode {
    let Err(error) = guard(settings) else { return ExitCode::SUCCESS };
    let text = with_causes(&error);
    match error {
        // After the report.
        ClusterError::Ended { .. } => tell(&text),
        _ => report(&Report::Failed { error: text, hint: error.hint() }),
    }
    ExitCode::FAILURE
}

/// Words for a person.
pub(super) fn tell(text: &str) {
    // With nobody there to read, there is nobody to tell that either.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn report(report: &Report) {
    let line = serde_json::to_string(report).expect("two strings and a number can be written as JSON");
    // Whoever does not read it any more has closed our standard input as well.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn guard(settings: &ClusterSettings) -> Result<(), ClusterError> {
    user_namespace::enter_if_root()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("start the runtime"))?;
    runtime.block_on(async {
        let stop = stop_wanted()?;
        let cluster = tokio::select! {
            // Looked at first: once there is a folder, it is opened, to be removed if it is temporary.
            biased;
            cluster = Cluster::open(settings) => cluster?,
            () = stop.cancelled() => return Ok(()),
        };
        let result = serve(&cluster, &stop).await;
        if settings.temporary {
            cluster.remove()?;
        }
        result
    })
}

async fn serve(cluster: &Cluster<'_>, stop: &CancellationToken) -> Result<(), ClusterError> {
    let Some(programs) = stop.run_until_cancelled(cluster.programs()).await else { return Ok(()) };
    let mut server = cluster.start(&programs?).await?;
    let life = async {
        server.ready().await?;
        report(&ready(&server));
        Err(server.ended().await)
    };
    let ended = stop.run_until_cancelled(life).await;
    server.stop().await?;
    ended.unwrap_or(Ok(()))
}

fn ready(server: &Server) -> Report {
    let (port, password) = (server.port, server.password.expose());
    Report::Ready { url: format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{SUPERUSER}"), port }
}

/// Cancelled at the end of standard input or on a signal.
fn stop_wanted() -> Result<CancellationToken, ClusterError> {
    let stop = CancellationToken::new();
    let at_end = stop.clone();
    // A thread, since tokio's standard input would hold the runtime back at its end.
    std::thread::spawn(move || {
        let mut ignored = [0; 64];
        while std::io::stdin().read(&mut ignored).is_ok_and(|length| length > 0) {}
        at_end.cancel();
    });
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind).map_err(system("listen to signals"))?;
        let on_signal = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            on_signal.cancel();
        });
    }
    Ok(stop)
}
