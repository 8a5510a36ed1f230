//! Everything that runs for an attempt, found without its supervisor's help.
//!
//! An attempt's processes are: its shim, in the session that the supervisor led; whatever carries the attempt's variable in
//! its environment; and all that descends from these. Not found is what an agent hides on purpose: a process that left its
//! session, emptied its environment and lost its parents, all before its supervisor and shim were killed. The local runner
//! is not a sandbox.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use ckrv_types::AttemptId;
use tokio::time::Instant;

use crate::supervise::environment::ATTEMPT_VARIABLE;

const PAUSE: Duration = Duration::from_millis(5);

/// Makes this process the parent of the orphans of its attempts, which it then reaps. For a process that is a runner and
/// nothing else.
pub fn adopt_orphans() -> io::Result<()> {
    crate::shim::tree::adopt_orphans()
}

/// SIGKILL to everything of an attempt whose supervisor (process `session`) is dead, for at most `limit`. Answers how many
/// processes were found, and how many of them are left.
pub async fn end(attempt: AttemptId, session: Option<u32>, limit: Duration) -> (usize, usize) {
    let deadline = Instant::now() + limit;
    let marker = format!("{ATTEMPT_VARIABLE}={attempt}");
    let mut seen = HashSet::new();
    loop {
        let living = system::kill_once(&marker, session);
        seen.extend(living.iter().copied());
        if living.is_empty() || Instant::now() >= deadline {
            return (seen.len(), living.len());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::HashSet;
    use std::fs;

    use crate::proc::{self, Process};

    /// Sends SIGKILL to what lives of the attempt and reaps what is dead of it. Answers who lived.
    pub fn kill_once(marker: &str, session: Option<u32>) -> Vec<u32> {
        let me = std::process::id();
        let all = proc::all();
        let roots = all.iter().filter(|process| process.pid != me && is_of(process, marker, session));
        let found: HashSet<u32> = proc::family(roots.map(|process| process.pid), &all);
        let (dead, living): (Vec<&Process>, Vec<&Process>) =
            all.iter().filter(|process| found.contains(&process.pid)).partition(|process| process.is_dead);
        // An orphan that came to this process has nobody else to wait for it.
        dead.into_iter().filter(|process| process.parent == me).for_each(Process::reap);
        for process in &living {
            process.kill();
        }
        living.iter().map(|process| process.pid).collect()
    }

    fn is_of(process: &Process, marker: &str, session: Option<u32>) -> bool {
        let has = |file: &str, wanted: &dyn Fn(usize, &[u8]) -> bool| {
            let bytes = fs::read(format!("/proc/{}/{file}", process.pid)).unwrap_or_default();
            bytes.split(|byte| *byte == 0).enumerate().any(|(at, part)| wanted(at, part))
        };
        if session == Some(process.session) {
            // A number can be used again: what is dead has nothing else to be known by, but only a shim is begun with.
            return process.is_dead || has("cmdline", &|at, part| at == 1 && part == b"shim");
        }
        has("environ", &|_, part| part == marker.as_bytes())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    /// Without `/proc` only the shim itself ends what it started, when it loses its supervisor.
    pub fn kill_once(_marker: &str, _session: Option<u32>) -> Vec<u32> {
        Vec::new()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Stdio;

    use ckrv_types::JobId;
    use tokio::process::{Child, Command};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// Starts `script` as an agent's shell and waits until it has written the process id of each of its `names`.
    async fn start(script: &str, attempt: AttemptId, folder: &Path, names: &[&str]) -> (Child, Vec<u32>) {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).env(ATTEMPT_VARIABLE, attempt.to_string()).current_dir(folder);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let read = |name: &&str| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(pids) = names.iter().map(read).collect() {
                return (child, pids);
            }
            assert!(Instant::now() < deadline, "the processes did not start");
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn is_alive(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    }

    fn attempt() -> AttemptId {
        AttemptId { job: JobId::new(), number: 1 }
    }

    #[tokio::test]
    async fn what_left_its_session_and_lost_its_parents_is_found_by_its_environment() {
        let (dir, attempt) = (tempfile::tempdir().unwrap(), attempt());
        // A double fork into a session of its own, whose parents are gone; and one that ignores what can be ignored.
        let script = "(setsid sh -c 'sleep 300 & echo $! > daemon.tmp; mv daemon.tmp daemon' &)
            sh -c 'trap \"\" TERM INT HUP; echo $$ > stubborn.tmp; mv stubborn.tmp stubborn; while :; do sleep 300; done' &
            wait";
        let (mut shell, pids) = start(script, attempt, dir.path(), &["daemon", "stubborn"]).await;
        assert!(pids.iter().all(|pid| is_alive(*pid)));
        let (found, left) = end(attempt, None, LIMIT).await;
        assert!(found >= 3 && left == 0, "{found} found, {left} left");
        assert!(pids.iter().all(|pid| !is_alive(*pid)));
        // Whoever is first reaps it.
        let _ = shell.wait().await;
    }

    #[tokio::test]
    async fn what_emptied_its_environment_is_found_through_its_parents() {
        let (dir, attempt) = (tempfile::tempdir().unwrap(), attempt());
        let script = "env -i PATH=$PATH sh -c 'setsid sleep 300 & echo $! > child.tmp; mv child.tmp child; wait'; true";
        let (mut shell, pids) = start(script, attempt, dir.path(), &["child"]).await;
        assert_eq!(end(attempt, None, LIMIT).await.1, 0);
        assert!(!is_alive(pids[0]));
        // Whoever is first reaps it.
        let _ = shell.wait().await;
    }

    #[tokio::test]
    async fn another_attempts_processes_are_left_alone() {
        let (dir, mine, other) = (tempfile::tempdir().unwrap(), attempt(), attempt());
        let script = "echo $$ > me.tmp; mv me.tmp me; sleep 300; true";
        let (mut shell, pids) = start(script, other, dir.path(), &["me"]).await;
        // Its session, too, is no reason: there is no shim in it.
        let session = nix::unistd::getsid(None).unwrap().as_raw();
        assert_eq!(end(mine, u32::try_from(session).ok(), LIMIT).await, (0, 0));
        assert!(is_alive(pids[0]));
        end(other, None, LIMIT).await;
        // Whoever is first reaps it.
        let _ = shell.wait().await;
    }
}
