//! `ckrv dev`: starts it, in the foreground or behind.

use std::path::PathBuf;
use std::process::{ExitStatus as ProcessEnd, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::process::{Child, Command};

use ckrv_client::{Client, Credential};

use super::{programs, status::DevStatus};
use crate::context::Context;
use crate::embedded::{self, Server, State};
use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::home::Home;
use crate::profile::{self, DEV};
use crate::{env, sys};

/// The first start downloads PostgreSQL.
const LIMIT: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Start it in the background, and return when it is ready
    #[arg(long, short, env = env::DEV_DETACH)]
    detach: bool,
    /// Port of the control plane [default: any that is free]
    #[arg(long, env = env::DEV_PORT, value_name = "N")]
    port: Option<u16>,
}

pub fn log_file(home: &Home) -> PathBuf {
    home.dev().join("dev.log")
}

pub async fn run(args: StartArgs, context: &Context) -> Outcome {
    if let State::Running(server) = embedded::look(&context.home)? {
        context.printer.note("it runs already");
        return announce(server, context);
    }
    let mut child = spawn(&args, context)?;
    attend(&mut child, !args.detach, context).await
}

/// In a process group of its own: a Ctrl-C at the terminal reaches it once, by us.
fn spawn(args: &StartArgs, context: &Context) -> Result<Child, Failure> {
    let programs = programs::find()?;
    let what = || format!("cannot start {}", programs.dev.display());
    let mut command = std::process::Command::new(&programs.dev);
    command.arg("serve").arg("--home").arg(context.home.path()).arg("--worker-exe").arg(&programs.worker);
    if let Some(port) = args.port {
        command.arg("--port").arg(port.to_string());
    }
    command.stdin(Stdio::null());
    if args.detach {
        sys::create_private_folder(&context.home.dev()).or_fail(what)?;
        let log = sys::open_private(&log_file(&context.home)).or_fail(what)?;
        command.stdout(log.try_clone().or_fail(what)?).stderr(log);
    } else {
        // Our stdout holds data; it has none.
        command.stdout(Stdio::null());
    }
    sys::own_process_group(&mut command);
    Command::from(command).spawn().or_fail(what)
}

/// Watches over it until it is ready, and if `stay` until it ends; hands signals on to it.
async fn attend(child: &mut Child, stay: bool, context: &Context) -> Outcome {
    let mut signals = sys::StopSignals::listen().or_fail(|| "cannot listen for signals".into())?;
    let mut ready = std::pin::pin!(ready(context));
    let (mut announced, mut stopped) = (false, false);
    loop {
        tokio::select! {
            server = &mut ready, if !announced => {
                announce(server?, context)?;
                if !stay {
                    return Ok(ExitStatus::Done);
                }
                announced = true;
                context.printer.hint("Ctrl-C stops it");
            }
            end = child.wait() => {
                let end = end.or_fail(|| "cannot wait for ckrv-dev".into())?;
                return if stopped && end.success() { Ok(ExitStatus::Interrupted) } else { ended(end, announced, context) };
            }
            signal = signals.next() => {
                stopped = !announced;
                hand_on(child, signal);
            }
        }
    }
}

fn hand_on(child: &Child, signal: i32) {
    if let Some(pid) = child.id() {
        // It may have ended just now.
        let _ = sys::signal(pid, signal);
    }
}

fn ended(end: ProcessEnd, announced: bool, context: &Context) -> Outcome {
    if announced && end.success() {
        return Ok(ExitStatus::Done);
    }
    // Another start may have been quicker.
    if let State::Running(server) = embedded::look(&context.home)? {
        return announce(server, context);
    }
    Err(Failure::failed(format!("ckrv-dev ended with {end}")).hint(where_log(context)))
}

/// Where it listens, once it answers.
async fn ready(context: &Context) -> Result<Server, Failure> {
    let _progress = Progress::begin(context);
    let found = until(LIMIT, async || match embedded::look(&context.home)? {
        State::Running(server) if is_healthy(context).await => Ok(Some(server)),
        _ => Ok(None),
    });
    found
        .await?
        .ok_or_else(|| Failure::failed(format!("ckrv-dev is not ready after {LIMIT:?}")).hint(where_log(context)))
}

fn where_log(context: &Context) -> String {
    let log = log_file(&context.home);
    if log.exists() { format!("its log is {}", log.display()) } else { "its log is above".to_owned() }
}

async fn is_healthy(context: &Context) -> bool {
    let Ok(profile) = profile::load(&context.home, DEV) else { return false };
    match Client::new(context.config(profile.server, Credential::None)) {
        Ok(client) => client.health().await.is_ok(),
        Err(_) => false,
    }
}

fn announce(server: Server, context: &Context) -> Outcome {
    context.printer.show(&DevStatus::of(server), context.format())?;
    Ok(ExitStatus::Done)
}

/// Asks again and again until there is an answer, or `limit` is over.
pub async fn until<T>(
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(Some(answer));
        }
        if started.elapsed() > limit {
            return Ok(None);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Shown while it starts: a spinner on a terminal, otherwise one line.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn begin(context: &Context) -> Self {
        const TEXT: &str = "starting the control plane (the first time, PostgreSQL is downloaded)";
        if !context.printer.stderr().terminal {
            context.printer.note(TEXT);
            return Self(None);
        }
        let spinner = ProgressBar::new_spinner().with_message(TEXT);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(100));
        Self(Some(spinner))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}
