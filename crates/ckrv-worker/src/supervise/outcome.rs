//! How it went, in the words of the protocol and of the user.

use std::time::Duration;

use ckrv_types::spec::Limits;
use ckrv_types::worker::Outcome;
use ckrv_types::{Cause, limits};

use super::control::Stop;
use crate::human;
use crate::shim::Exit;

/// How the agent's run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEnd {
    Exited(Exit),
    /// Its program could not be run.
    NotStarted(String),
    /// The shim is gone, and with it the agent.
    Lost(String),
}

/// An outcome with a cause. `message`: one or two sentences for the user.
pub fn failed(cause: Cause, message: impl AsRef<str>) -> Outcome {
    let message: String = message.as_ref().chars().take(limits::MESSAGE_CHARS).collect();
    Outcome { cause: Some(cause), message: Some(message), exit_code: None }
}

/// The outcome of a run that ended as `end`, stopped for the reason `stop` if it was.
pub fn of_run(end: &AgentEnd, stop: Option<Stop>, limits: &Limits, quota: u64) -> Outcome {
    let exit_code = match end {
        AgentEnd::Exited(exit) => Some(exit.code),
        AgentEnd::NotStarted(_) | AgentEnd::Lost(_) => None,
    };
    let outcome = match (stop, end) {
        // What the agent did when it was stopped is no result of its own, not even a zero.
        (Some(stop), _) => of_stop(stop, limits, quota),
        (None, AgentEnd::Exited(exit)) => of_exit(*exit),
        (None, AgentEnd::NotStarted(message)) => failed(Cause::AgentMissing, message),
        (None, AgentEnd::Lost(message)) => failed(Cause::WorkerLost, format!("the agent's shim was lost: {message}")),
    };
    Outcome { exit_code, ..outcome }
}

fn of_exit(exit: Exit) -> Outcome {
    if exit.oom_killed {
        return failed(Cause::AgentOom, "memory ran out, and the agent was killed for it");
    }
    match (exit.code, exit.signal) {
        (0, _) => Outcome { cause: None, message: None, exit_code: None },
        (code, None) => failed(Cause::AgentExit, format!("the agent exited with code {code}")),
        (_, Some(signal)) => failed(Cause::AgentExit, format!("the agent was ended by {}", signal_name(signal))),
    }
}

/// Of something that befell the attempt and that its runner has seen.
pub fn noted(cause: Cause, message: Option<String>) -> Outcome {
    failed(cause, message.unwrap_or_else(|| format!("the runner saw it end: {cause}")))
}

/// Also for an attempt that is stopped before its agent runs.
pub fn of_stop(stop: Stop, limits: &Limits, quota: u64) -> Outcome {
    let limit = |seconds| human::duration(Duration::from_secs(seconds));
    match stop {
        Stop::Cancel => failed(Cause::CancelledByUser, "cancelled; what the agent had done by then was kept"),
        Stop::Told => failed(
            Cause::Evicted,
            "the worker was told to end before the agent was done: its runner, pod or node was being stopped; what the agent \
             had done by then was kept",
        ),
        Stop::Abandoned => failed(
            Cause::CancelledByRunner,
            "the runner was stopped together with its jobs; what the agent had done by then was kept",
        ),
        Stop::RunLimit => {
            failed(Cause::RunLimit, format!("the agent was still at work after the run limit of {}", limit(limits.run)))
        }
        Stop::IdleLimit => failed(
            Cause::AgentStalled,
            format!("the agent printed nothing for the idle limit of {}", limit(limits.idle)),
        ),
        Stop::Budget => failed(
            Cause::Budget,
            "the model's cost has reached the job's budget; what the agent had done by then was kept",
        ),
        Stop::Finished { ok: true } => Outcome { cause: None, message: None, exit_code: None },
        Stop::Finished { ok: false } => failed(Cause::AgentExit, "the agent said that it failed, and did not exit"),
        Stop::Disk { used } => failed(
            Cause::AgentDisk,
            format!("the agent's files took {}, over the quota of {}", human::bytes(used), human::bytes(quota)),
        ),
        Stop::Spool => {
            failed(Cause::WorkFolder, "the runner's disk failed under the job's log; see the runner's own log")
        }
    }
}

/// `signal 9 (SIGKILL)`.
pub fn signal_name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(known) => format!("signal {signal} ({known})"),
        Err(_) => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32, signal: Option<i32>, oom_killed: bool) -> AgentEnd {
        AgentEnd::Exited(Exit { code, signal, oom_killed })
    }

    fn told(end: &AgentEnd, stop: Option<Stop>) -> (Option<Cause>, Option<String>, Option<i32>) {
        let outcome = of_run(end, stop, &Limits::default(), 1024);
        (outcome.cause, outcome.message, outcome.exit_code)
    }

    #[test]
    fn an_agent_that_ends_by_itself_is_judged_by_its_exit() {
        assert_eq!(told(&exit(0, None, false), None), (None, None, Some(0)));
        let message = Some("the agent exited with code 3".to_owned());
        assert_eq!(told(&exit(3, None, false), None), (Some(Cause::AgentExit), message, Some(3)));
        let message = Some("the agent was ended by signal 11 (SIGSEGV)".to_owned());
        assert_eq!(told(&exit(139, Some(11), false), None), (Some(Cause::AgentExit), message, Some(139)));
        assert_eq!(told(&exit(137, Some(9), true), None).0, Some(Cause::AgentOom));
        assert_eq!(told(&AgentEnd::NotStarted("`x` was not found".into()), None).0, Some(Cause::AgentMissing));
        assert_eq!(told(&AgentEnd::Lost("gone".into()), None).0, Some(Cause::WorkerLost));
    }

    #[test]
    fn an_agent_that_was_stopped_is_judged_by_the_reason_even_if_it_ends_with_zero() {
        for (stop, cause) in [
            (Stop::Cancel, Cause::CancelledByUser),
            (Stop::Told, Cause::Evicted),
            (Stop::Abandoned, Cause::CancelledByRunner),
            (Stop::RunLimit, Cause::RunLimit),
            (Stop::IdleLimit, Cause::AgentStalled),
            (Stop::Budget, Cause::Budget),
            (Stop::Finished { ok: false }, Cause::AgentExit),
            (Stop::Disk { used: 4096 }, Cause::AgentDisk),
            (Stop::Spool, Cause::WorkFolder),
        ] {
            assert_eq!(told(&exit(0, None, false), Some(stop)).0, Some(cause));
            assert_eq!(told(&AgentEnd::Lost("gone".into()), Some(stop)).0, Some(cause));
        }
        assert_eq!(told(&exit(143, Some(15), false), Some(Stop::Finished { ok: true })), (None, None, Some(143)));
        let (_, message, _) = told(&exit(0, None, false), Some(Stop::Disk { used: 4096 }));
        assert_eq!(message.unwrap(), "the agent's files took 4 KiB, over the quota of 1 KiB");
    }
}
