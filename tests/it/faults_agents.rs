//! Agents that fail, hang, fight back or leave something behind: how the job ends, and what is kept.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{Options, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::State;
use ckrv_types::token::TokenKind;
use tempfile::TempDir;

/// A stack whose workers hear of a cancellation within a second.
async fn attentive() -> Stack {
    Stack::with(Options { server: vec![("CKRV_BEAT_SECONDS", "1".to_owned())], ..Options::default() }).await
}

#[tokio::test]
async fn an_agent_that_exits_with_3_fails_the_job_and_its_work_so_far_comes_back() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let script = "echo trying; echo half > half.txt; echo 'no way' >&2; exit 3";
    let said = stack.wait(&repo.url(), &[], script).await.exits(1);
    let said =
        said.tells(&["cause: agent:exit: the agent exited with code 3", "hint: the log's end says", "ckrv pull"]);
    let job = stack.status(said.job()).await;
    assert_eq!((job.state, job.attempts.len(), job.attempts[0].exit_code), (State::Failed, 1, Some(3)));
    let log = stack.logs(job.id).await.prints(&["trying\n", "no way\n"]);
    log.tells(&["agent exited with 3"]);
    assert_eq!(stack.pull(&repo, job.id).await.file("half.txt"), "half");
    let told = stack.says(&["explain", &job.id.to_string()]).await.exits(0);
    told.prints(&["agent:exit", "the agent exited with code 3", "ckrv logs --tail 50"]);
}

#[tokio::test]
async fn an_agent_that_a_signal_ends_fails_the_job_by_the_signals_name() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let said = stack.wait(&repo.url(), &[], "kill -SEGV $$").await.exits(1);
    said.tells(&["cause: agent:exit: the agent was ended by signal 11 (SIGSEGV)"]);
}

#[tokio::test]
async fn an_agent_that_hangs_is_stopped_at_the_idle_limit() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let script = "echo begun; echo so far > work.txt; sleep 600";
    let said = stack.wait(&repo.url(), &["--idle-limit", "1s", "--grace", "1s"], script).await.exits(1);
    let said =
        said.tells(&["cause: agent:stalled: the agent printed nothing for the idle limit of 1 s", "--idle-limit"]);
    let log = stack.logs(said.job()).await.prints(&["begun\n"]);
    log.tells(&["the idle limit is over: stopping the agent"]);
    assert_eq!(stack.pull(&repo, said.job()).await.file("work.txt"), "so far");
}

#[tokio::test]
async fn an_agent_that_works_silently_within_the_idle_limit_and_then_prints_is_left_alone() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let script = "for i in 1 2 3 4; do sleep 0.7; echo $i; done";
    stack.wait(&repo.url(), &["--idle-limit", "2s"], script).await.exits(0);
}

#[tokio::test]
async fn an_agent_at_work_past_the_run_limit_times_the_job_out() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let script = "echo so far > work.txt; while :; do echo tick; sleep 0.1; done";
    let said = stack.wait(&repo.url(), &["--run-limit", "1s", "--grace", "1s"], script).await.exits(124);
    let said = said.tells(&["timed_out", "cause: limit:run: ", "run limit of 1 s", "raise `--run-limit`"]);
    let job = stack.status(said.job()).await;
    assert_eq!((job.state, job.attempts.len()), (State::TimedOut, 1));
    assert_eq!(stack.pull(&repo, said.job()).await.file("work.txt"), "so far");
}

#[tokio::test]
async fn an_agent_that_ignores_sigterm_is_killed_when_the_grace_is_over() {
    let (stack, repo) = (attentive().await, Repo::new());
    // Its helper ignores the signal as well, and holds the agent's output open.
    let script = "trap '' TERM; sleep 600 & echo ready; echo so far > work.txt; while :; do sleep 0.1; done";
    let job = stack.submit(&repo.url(), &["--grace", "1s"], script).await;
    stack.until_printed(job, "ready").await;
    let asked = Instant::now();
    stack.says(&["cancel", &job.to_string()]).await.exits(0).prints(&["is being stopped"]);
    let ended = stack.ended(job).await;
    assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?}", asked.elapsed());
    assert_eq!((ended.state, ended.attempts[0].exit_code), (State::Cancelled, Some(137)));
    let log = stack.logs(job).await;
    log.tells(&["cancelled: stopping the agent (SIGTERM, after 1 s SIGKILL)", "agent ended by signal 9 (SIGKILL)"]);
    assert_eq!(stack.pull(&repo, job).await.file("work.txt"), "so far");
}

#[tokio::test]
async fn an_agent_that_ends_in_order_at_sigterm_has_its_last_words_kept() {
    let (stack, repo) = (attentive().await, Repo::new());
    let script = "trap 'echo last words; echo saved > work.txt; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
    let job = stack.submit(&repo.url(), &["--grace", "20s"], script).await;
    stack.until_printed(job, "ready").await;
    stack.says(&["cancel", &job.to_string()]).await.exits(0);
    assert_eq!(stack.ended(job).await.state, State::Cancelled, "an exit with 0 after a cancel is no success");
    stack.logs(job).await.prints(&["last words\n"]);
    assert_eq!(stack.pull(&repo, job).await.file("work.txt"), "saved");
}

#[tokio::test]
async fn an_agent_that_fills_its_disk_quota_is_stopped_for_it() {
    let runner = vec![("CKRV_DISK_QUOTA", (5 << 20).to_string())];
    let (stack, repo) = (Stack::with(Options { runner, ..Options::default() }).await, Repo::new());
    let script = "echo kept > kept.txt; head -c 20000000 /dev/zero > \"$TMPDIR/fill\"; echo filled; sleep 600";
    let said = stack.wait(&repo.url(), &["--grace", "1s"], script).await.exits(1);
    let said = said.tells(&["cause: agent:disk: the agent's files took ", "over the quota of 5 MiB", "hint: "]);
    stack.logs(said.job()).await.prints(&["filled\n"]).tells(&["the disk quota is used up"]);
    assert_eq!(stack.pull(&repo, said.job()).await.file("kept.txt"), "kept");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let run = ["run", "--wait", "--repo", &repo.url(), "--", "no-such-program", "--flag"];
    let said = stack.says(&run).await.exits(1);
    said.tells(&["cause: setup:agent: `no-such-program` was not found", "hint: check `--agent`"]);
}

#[tokio::test]
async fn an_agent_that_the_runner_does_not_know_is_named_with_those_it_knows() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let said = stack.says(&["run", "--wait", "--repo", &repo.url(), "--agent", "codec", "do it"]).await.exits(1);
    said.tells(&["cause: setup:agent: ", "`codec`", "command", "claude-code"]);
}

#[tokio::test]
async fn a_secret_that_the_runner_does_not_hold_is_named() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let said = stack.wait(&repo.url(), &["--secret", "forge"], "true").await.exits(1);
    said.tells(&[
        "cause: setup:secret: neither the job's organization nor this runner has a secret `forge`",
        "give the organization the named credential",
    ]);
}

#[tokio::test]
async fn nothing_that_an_agent_has_started_outlives_it() {
    let (stack, repo, folder) = (Stack::start().await, Repo::new(), TempDir::new().unwrap());
    // Says its process id where the test finds it, then sleeps for longer than any test takes.
    let child = folder.path().join("child");
    std::fs::write(&child, "#!/bin/sh\necho $$ > \"$1\"\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&child, std::fs::Permissions::from_mode(0o755)).unwrap();
    let variables = [format!("CHILD={}", child.display()), format!("PIDS={}", folder.path().display())];
    let script = r#"
        "$CHILD" "$PIDS/plain" &
        sh -c 'trap "" TERM HUP; exec "$CHILD" "$PIDS/deaf"' &
        setsid "$CHILD" "$PIDS/session" &
        # A daemon by the book: it leaves session and parents, and closes what it inherited.
        (setsid sh -c '"$CHILD" "$PIDS/daemon" &' < /dev/null > /dev/null 2>&1 &)
        # One that hides: not even its environment tells where it comes from.
        (setsid env -i "$CHILD" "$PIDS/hidden" < /dev/null > /dev/null 2>&1 &)
        until [ -s "$PIDS/plain" ] && [ -s "$PIDS/deaf" ] && [ -s "$PIDS/session" ] && [ -s "$PIDS/daemon" ] \
            && [ -s "$PIDS/hidden" ]; do sleep 0.05; done
        echo "all are up"
    "#;
    let said = stack.wait(&repo.url(), &["--env", &variables[0], "--env", &variables[1]], script).await.exits(0);
    stack.logs(said.job()).await.prints(&["all are up\n"]);
    for name in ["plain", "deaf", "session", "daemon", "hidden"] {
        let pid = std::fs::read_to_string(folder.path().join(name)).unwrap();
        let pid = pid.trim();
        wait_for(&format!("{name} ({pid}) is gone"), Duration::from_secs(10), async || (!is_alive(pid)).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn an_attempts_folder_is_gone_after_its_end() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    // Folders that not even their owner may enter are the hardest to remove.
    let script = "pwd > where.txt; mkdir -p closed/deep; touch closed/deep/file; chmod 000 closed/deep closed";
    let said = stack.wait(&repo.url(), &[], script).await.exits(0);
    let place = stack.pull(&repo, said.job()).await.file("where.txt");
    let place = Path::new(&place);
    assert!(place.starts_with(stack.runner_home().canonicalize().unwrap()), "{}", place.display());
    let gone = async || (!place.exists()).then_some(());
    wait_for("the work tree is gone", Duration::from_secs(10), gone).await;
    let id = said.job().to_string();
    let left = async || {
        let found = listing(&stack.runner_home()).into_iter().find(|path| path.contains(&id));
        found.is_none().then_some(())
    };
    wait_for("the attempt's folder is gone", Duration::from_secs(10), left).await;
}

/// Every path below `folder`.
fn listing(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries {
            found.push(entry.path().display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// Whether there is such a process, other than one that only waits to be reaped (proc_pid_stat(5)).
fn is_alive(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))
}

#[tokio::test]
async fn an_agent_finds_no_token_of_ckrv_in_its_reach() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    // Into files, because what is printed is redacted. Of itself, its shim and its supervisor.
    let script = r#"
        env > env.txt
        supervisor=$(cut -d ' ' -f 4 "/proc/$PPID/stat")
        for pid in $$ $PPID $supervisor; do
            tr '\0' '\n' < "/proc/$pid/environ" >> environ.txt
            tr '\0' '\n' < "/proc/$pid/cmdline" >> cmdline.txt
        done
        find /proc/self/fd -type l -printf '%f %l\n' > fds.txt
        git config --list > config.txt
        grep -r --no-messages -l -E "ck_(live|test|runner|boot|attempt)_" . "$HOME" "$TMPDIR" > found.txt
        exit 0
    "#;
    let said = stack.wait(&repo.url(), &[], script).await.exits(0);
    let pulled = stack.pull(&repo, said.job()).await;
    let all = ["env.txt", "environ.txt", "cmdline.txt", "fds.txt", "config.txt"].map(|name| pulled.file(name));
    let [env, environ, cmdline, fds, _] = &all;
    assert!(env.contains("CKRV_ATTEMPT=") && environ.contains("CKRV_ATTEMPT="), "nothing was looked at: {env}");
    assert!(cmdline.contains("shim") && cmdline.contains("supervise"), "nothing was looked at: {cmdline}");
    for (text, kind) in all.iter().flat_map(|text| TokenKind::ALL.map(|kind| (text, kind))) {
        assert!(!text.contains(&format!("ck_{}_", kind.as_str())), "{text}");
    }
    for line in fds.lines() {
        let (fd, target) = line.split_once(' ').unwrap();
        // Behind the three streams find(1) has folders of its own open.
        let is_own = target.starts_with("/proc/") || target.ends_with("/agent/repo");
        assert!(["0", "1", "2"].contains(&fd) || is_own, "more is open than the standard streams: {fds}");
    }
    assert!(fds.contains("0 /dev/null"), "{fds}");
    assert_eq!(pulled.file("found.txt"), "");
    // Nothing of the one who started the runner comes through: only what is made for the agent.
    let known = ["PATH", "HOME", "TMPDIR", "LANG", "TERM", "CKRV_JOB", "CKRV_ATTEMPT", "PWD", "OLDPWD", "SHLVL", "_"];
    for line in env.lines() {
        let name = line.split('=').next().unwrap();
        assert!(known.contains(&name), "{line}");
    }
}
