//! `ckrv dev stop`: asks it to end, and waits until it has.

use std::time::Duration;

use super::start::until;
use crate::context::Context;
use crate::embedded::{self, Server, State};
use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::sys;

/// Longer than it takes to stop jobs, drain streams and stop PostgreSQL.
const LIMIT: Duration = Duration::from_mins(2);

pub async fn run(context: &Context) -> Outcome {
    let home = &context.home;
    let server = until(LIMIT, async || {
        Ok(match embedded::look(home)? {
            State::Running(server) => Some(Some(server)),
            State::Stopped => Some(None),
            // It cannot be named before it has said its process.
            State::Starting => None,
        })
    });
    let Some(server) = server.await? else {
        return Err(Failure::failed(format!("something holds {} and does not say who it is", home.dev().display())));
    };
    let Some(server) = server else {
        context.printer.note("it does not run");
        return Ok(ExitStatus::Done);
    };
    terminate(&server)?;
    let gone = until(LIMIT, async || {
        Ok(match embedded::look(home)? {
            State::Running(now) if now == server => None,
            _ => Some(()),
        })
    });
    if gone.await?.is_none() {
        let hint = format!("{} says what it waits for", super::start::log_file(home).display());
        return Err(Failure::failed(format!("process {} has not ended in {LIMIT:?}", server.pid)).hint(hint));
    }
    context.printer.note("stopped");
    Ok(ExitStatus::Done)
}

/// The lock says that it runs; the name that its number has not been given to another program.
fn terminate(server: &Server) -> Result<(), Failure> {
    let pid = server.pid;
    let what = || format!("cannot stop process {pid}");
    let program = sys::program_of(pid).or_fail(what)?.unwrap_or_default();
    if program != "ckrv-dev" {
        return Err(Failure::failed(what()).cause(format!("it is `{program}`, not ckrv-dev")));
    }
    sys::terminate(pid).or_fail(what)
}
