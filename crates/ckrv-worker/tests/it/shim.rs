//! The shim as a real process, from both ends of its socket.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ckrv_types::log::Stream;
use ckrv_worker::collect::{CollectRequest, collect};
use ckrv_worker::shim::{BundlePlan, Exit, LaunchLocal, RunAgent, Session, SessionError, ShimEvent};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::repository::{Attempt, PATH, write};
use crate::wait::{LIMIT, wait_for};

const WORKER: &str = env!("CARGO_BIN_EXE_ckrv-worker");

/// A shim with an agent to be run in a folder of its own.
struct Bench {
    folder: TempDir,
    session: Session,
    run: RunAgent,
}

/// What was heard until the end.
#[derive(Default)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Option<Exit>,
    bundles: usize,
    failures: Vec<String>,
    not_started: Option<(bool, String)>,
    lost: Option<String>,
}

impl Heard {
    fn take(&mut self, event: ShimEvent) {
        match event {
            ShimEvent::Started { .. } => (),
            ShimEvent::Output { stream: Stream::Stdout, bytes } => self.stdout.extend(bytes),
            ShimEvent::Output { bytes, .. } => self.stderr.extend(bytes),
            ShimEvent::NotStarted { missing, message } => self.not_started = Some((missing, message)),
            ShimEvent::Exited(exit) => self.exit = Some(exit),
            ShimEvent::Bundled { .. } => self.bundles += 1,
            ShimEvent::BundleFailed { message } => self.failures.push(message),
            ShimEvent::Lost { message } => self.lost = Some(message),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn code(&self) -> i32 {
        self.exit.unwrap_or_else(|| panic!("no exit: {:?}", self.lost)).code
    }
}

impl Bench {
    async fn new(argv: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let launch = LaunchLocal { exe: WORKER.into(), folder: folder.path().to_owned() };
        let session = Session::launch_local(&launch).await.unwrap();
        let mut run = order(argv);
        run.env.insert("PATH".to_owned(), PATH.to_owned());
        folder.path().clone_into(&mut run.cwd);
        Self { folder, session, run }
    }

    async fn shell(script: &str) -> Self {
        Self::new(&["sh", "-c", script]).await
    }

    async fn start(&mut self) -> u32 {
        self.session.run(&self.run).await.unwrap();
        match self.next().await {
            Some(ShimEvent::Started { pid }) => pid,
            other => panic!("not started: {other:?}"),
        }
    }

    async fn next(&mut self) -> Option<ShimEvent> {
        tokio::time::timeout(LIMIT, self.session.next_event()).await.expect("an event in time")
    }

    /// Until the agent has said this on stdout.
    async fn hear(&mut self, part: &str, heard: &mut Heard) {
        while !heard.text().contains(part) {
            let event = self.next().await.unwrap_or_else(|| panic!("the end, without {part}"));
            heard.take(event);
        }
    }

    async fn rest(mut self, mut heard: Heard) -> (Heard, Vec<PathBuf>, TempDir) {
        while let Some(event) = self.next().await {
            heard.take(event);
        }
        (heard, self.session.finish().await, self.folder)
    }

    async fn run_to_end(mut self) -> Heard {
        self.session.run(&self.run).await.unwrap();
        self.rest(Heard::default()).await.0
    }
}

fn processes() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().parse::<u32>().is_ok()).collect()
}

/// Live processes whose command line holds the text.
fn alive(marker: &str) -> usize {
    let holds = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(marker)
    };
    processes().iter().filter(|path| holds(path)).count()
}

/// A number of seconds that no other test sleeps.
fn marker() -> String {
    format!("{}.{}", 40_000_000 + std::process::id(), rand::random::<u32>())
}

fn parent_of(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn output_of_both_streams_and_the_exit_code_arrive() {
    let heard = Bench::shell("echo out; echo err >&2; printf partial; exit 3").await.run_to_end().await;
    assert_eq!((heard.text().as_str(), heard.stderr.as_slice()), ("out\npartial", &b"err\n"[..]));
    assert_eq!(heard.exit, Some(Exit { code: 3, signal: None, oom_killed: false }));
    assert_eq!(heard.lost, None);
}

#[tokio::test]
async fn the_agent_has_its_own_environment_no_input_and_no_open_files_of_ours() {
    let mut bench = Bench::shell("env | sort; cat; ls /proc/self/fd | tr '\\n' ' '; pwd").await;
    bench.run.env.insert("GIVEN".into(), "yes".into());
    let folder = bench.folder.path().canonicalize().unwrap();
    let heard = bench.run_to_end().await;
    // 3 is the folder that `ls` reads; the shell adds PWD (and some `_`, OLDPWD, SHLVL).
    let text = heard.text();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(['_', 'O', 'S'])).collect();
    let wanted = ["GIVEN=yes", &format!("PATH={PATH}"), &format!("PWD={}", folder.display())];
    assert_eq!(lines[..3], wanted);
    assert_eq!(lines[3], format!("0 1 2 3 {}", folder.display()));
}

#[tokio::test]
async fn what_the_order_brings_is_the_agents_input_whether_it_is_read_or_not() {
    let input = "to do\n".repeat(50_000);
    for (program, expected) in [("cat", input.as_str()), ("true", "")] {
        let mut bench = Bench::new(&[program]).await;
        bench.run.stdin = Some(input.clone());
        let heard = bench.run_to_end().await;
        assert_eq!((heard.text().as_str(), heard.code()), (expected, 0));
    }
}

#[tokio::test]
async fn fifty_megabytes_wait_for_their_reader_and_none_is_lost() {
    const BYTES: usize = 50_000_000;
    let mut bench = Bench::new(&["head", "-c", &BYTES.to_string(), "/dev/zero"]).await;
    let pid = bench.start().await;
    let written = || {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse::<usize>().unwrap()
    };
    let (mut last, mut same) = (0, 0);
    wait_for("the agent is held up", || {
        let now = written();
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        same >= 20
    })
    .await;
    assert!(last < BYTES / 5, "{last} bytes were taken though nobody reads");
    let heard = bench.rest(Heard::default()).await.0;
    assert_eq!((heard.stdout.len(), heard.code()), (BYTES, 0));
    assert!(heard.stdout.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn an_agent_that_is_told_to_stop_has_its_grace() {
    let mut bench = Bench::shell("trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done").await;
    bench.start().await;
    let mut heard = Heard::default();
    bench.hear("ready", &mut heard).await;
    bench.session.stop(LIMIT).await.unwrap();
    let heard = bench.rest(heard).await.0;
    assert_eq!((heard.text().as_str(), heard.code()), ("ready\nbye\n", 7));
}

#[tokio::test]
async fn an_agent_that_ignores_sigterm_is_killed_with_all_its_tree() {
    let mark = marker();
    let script =
        format!("trap '' TERM; setsid sleep {mark} & (setsid sh -c 'sleep {mark}' &); sleep {mark} & echo ready; wait");
    let mut bench = Bench::shell(&script).await;
    bench.start().await;
    let mut heard = Heard::default();
    bench.hear("ready", &mut heard).await;
    wait_for("all of them run", || alive(&mark) >= 4).await;
    bench.session.stop(Duration::from_millis(200)).await.unwrap();
    let heard = bench.rest(heard).await.0;
    let killed = Exit { code: 137, signal: Some(9), oom_killed: false };
    assert_eq!((heard.exit, alive(&mark)), (Some(killed), 0));
}

#[tokio::test]
async fn a_second_order_to_stop_can_only_shorten_the_grace() {
    let mut bench = Bench::shell("trap '' TERM; echo ready; while :; do sleep 0.05; done").await;
    bench.start().await;
    let mut heard = Heard::default();
    bench.hear("ready", &mut heard).await;
    bench.session.stop(Duration::from_hours(1)).await.unwrap();
    bench.session.stop(Duration::ZERO).await.unwrap();
    bench.session.stop(Duration::from_hours(1)).await.unwrap();
    assert_eq!(bench.rest(heard).await.0.code(), 137);
}

#[tokio::test]
async fn children_that_hold_the_pipes_do_not_hold_up_the_end() {
    let mark = marker();
    let script = format!("setsid sleep {mark} & (setsid sh -c 'sleep {mark}' &); sleep {mark} & echo done; exit 0");
    let heard = Bench::shell(&script).await.run_to_end().await;
    assert_eq!((heard.text().as_str(), heard.code(), alive(&mark)), ("done\n", 0, 0));
}

#[tokio::test]
async fn a_stranger_that_holds_a_pipe_does_not_hold_up_the_end() {
    let mut bench = Bench::shell("echo ready; read -r _ < go; echo done").await;
    nix::unistd::mkfifo(&bench.folder.path().join("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let pid = bench.start().await;
    let mut heard = Heard::default();
    bench.hear("ready", &mut heard).await;
    // This process is outside of the agent's tree.
    let held = fs::File::options().write(true).open(format!("/proc/{pid}/fd/1")).unwrap();
    fs::write(bench.folder.path().join("go"), "\n").unwrap();
    let heard = bench.rest(heard).await.0;
    assert_eq!((heard.text().as_str(), heard.code()), ("ready\ndone\n", 0));
    drop(held);
}

#[tokio::test]
async fn an_agent_that_forks_without_end_is_ended() {
    let mark = marker();
    let script = format!("while :; do (setsid sleep {mark} &); done");
    let mut bench = Bench::shell(&script).await;
    bench.start().await;
    wait_for("there are many", || alive(&mark) > 50).await;
    bench.session.stop(Duration::ZERO).await.unwrap();
    let heard = bench.rest(Heard::default()).await.0;
    assert_eq!((heard.code() > 128, alive(&mark)), (true, 0));
}

#[tokio::test]
async fn orphans_are_reaped_while_the_agent_runs() {
    let mark = marker();
    let script = format!("for i in 1 2 3 4 5 6 7 8 9; do (sh -c 'exit 0' &); done; echo ready; exec sleep {mark}");
    let mut bench = Bench::shell(&script).await;
    let shim = parent_of(bench.start().await);
    let mut heard = Heard::default();
    bench.hear("ready", &mut heard).await;
    let zombies = || {
        let of_shim = |path: &PathBuf| {
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            let fields: Vec<&str> =
                stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().collect();
            fields.first() == Some(&"Z") && fields.get(1) == Some(&shim.to_string().as_str())
        };
        processes().iter().filter(|path| of_shim(path)).count()
    };
    wait_for("the orphans are gone", || zombies() == 0).await;
    bench.session.stop(Duration::ZERO).await.unwrap();
    bench.rest(heard).await;
    assert_eq!(alive(&mark), 0);
}

#[tokio::test]
async fn a_program_that_is_not_there_or_may_not_run_is_told_apart() {
    let heard = Bench::new(&["no-such-program-4711"]).await.run_to_end().await;
    let (missing, message) = heard.not_started.unwrap();
    assert!(missing && message.contains("no-such-program-4711"), "{message}");

    let mut bench = Bench::new(&[]).await;
    write(bench.folder.path(), "data", "no program");
    fs::set_permissions(bench.folder.path().join("data"), fs::Permissions::from_mode(0o644)).unwrap();
    bench.run.argv = vec!["./data".into()];
    let (missing, message) = bench.run_to_end().await.not_started.unwrap();
    assert!(!missing && message.contains("may not be executed"), "{message}");

    let mut bench = Bench::new(&["true"]).await;
    bench.run.cwd = "/nonexistent".into();
    let (missing, message) = bench.run_to_end().await.not_started.unwrap();
    assert!(!missing && message.contains("/nonexistent"), "{message}");
}

#[tokio::test]
async fn an_orchestrator_that_goes_away_takes_the_agent_with_it() {
    let mark = marker();
    let mut bench = Bench::shell(&format!("setsid sleep {mark} & echo ready; sleep {mark}")).await;
    let shim = parent_of(bench.start().await);
    bench.hear("ready", &mut Heard::default()).await;
    drop(bench);
    wait_for("everything is gone", || alive(&mark) == 0).await;
    wait_for("the shim is gone", || fs::read(format!("/proc/{shim}/cmdline")).unwrap_or_default().is_empty()).await;
}

#[tokio::test]
async fn a_shim_that_is_told_to_end_stops_the_agent_and_reports() {
    let mut bench = Bench::shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done").await;
    let shim = parent_of(bench.start().await);
    let mut heard = Heard::default();
    bench.hear("ready", &mut heard).await;
    kill(Pid::from_raw(i32::try_from(shim).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(bench.rest(heard).await.0.code(), 5);
}

#[tokio::test]
async fn a_shim_that_is_killed_is_lost_and_finishing_ends_what_it_can() {
    let mark = marker();
    let mut bench = Bench::shell(&format!("echo ready; sleep {mark}")).await;
    let agent = bench.start().await;
    let mut heard = Heard::default();
    bench.hear("ready", &mut heard).await;
    kill(Pid::from_raw(i32::try_from(parent_of(agent)).unwrap()), Signal::SIGKILL).unwrap();
    let heard = bench.rest(heard).await.0;
    assert!(heard.lost.is_some() && heard.exit.is_none());
    // Nobody adopted the agent here: `supervise` does, and ends it.
    kill(Pid::from_raw(i32::try_from(agent).unwrap()), Signal::SIGKILL).ok();
    wait_for("it is gone", || alive(&format!("echo ready; sleep {mark}")) == 0).await;
    processes().iter().filter(|path| is_running(path, &mark)).for_each(|path| end(path));
}

fn is_running(path: &Path, marker: &str) -> bool {
    String::from_utf8_lossy(&fs::read(path.join("cmdline")).unwrap_or_default()).contains(marker)
}

fn end(path: &Path) {
    let pid = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
}

#[tokio::test]
async fn finishing_early_ends_the_whole_tree_at_once() {
    let mark = marker();
    let mut bench =
        Bench::shell(&format!("trap '' TERM; setsid sleep {mark} & echo ready; sleep {mark}; sleep {mark}")).await;
    bench.start().await;
    bench.hear("ready", &mut Heard::default()).await;
    wait_for("all of them run", || alive(&mark) >= 3).await;
    bench.session.finish().await;
    assert_eq!(alive(&mark), 0);
}

/// An agent in a real clone, with bundles on.
async fn bench_in_clone(attempt: &Attempt, script: &str) -> (Bench, CollectRequest) {
    let (checkout, baseline) = attempt.clone().await;
    let request = attempt.collect_request(&checkout, &baseline);
    let mut bench = Bench::shell(script).await;
    bench.run.cwd.clone_from(&checkout.work_tree);
    bench.run.bundles = Some(BundlePlan {
        work_tree: checkout.work_tree,
        base: checkout.base,
        every: Duration::from_hours(1),
        max_bytes: 1 << 20,
        limit: LIMIT,
    });
    (bench, request)
}

const COMMIT: &str = "commit() { echo $1 > $1.txt; git add -A; git commit --quiet -m $1; }; ";

#[tokio::test]
async fn commits_come_back_by_a_bundle_at_the_end() {
    let attempt = Attempt::new();
    let (mut bench, request) =
        bench_in_clone(&attempt, &format!("{COMMIT} commit one; commit two; echo loose > loose.txt")).await;
    bench.session.run(&bench.run).await.unwrap();
    let (heard, bundles, _folder) = bench.rest(Heard::default()).await;
    assert_eq!((heard.code(), heard.bundles, heard.failures), (0, 1, vec![]));
    let collected = collect(&CollectRequest { bundles, ..request }).await;
    assert_eq!((collected.summary.agent_commits, collected.summary.tree_commit), (2, true), "{:?}", collected.summary);
    assert_eq!(attempt.pulled(&collected, "two.txt"), "two");
    assert_eq!(attempt.pulled(&collected, "loose.txt"), "loose");
}

#[tokio::test]
async fn bundles_are_made_by_the_clock_on_request_and_on_stop_and_none_twice() {
    let attempt = Attempt::new();
    let wait = "while [ ! -e go$n ]; do sleep 0.02; done";
    let script = format!(
        "{COMMIT} commit one; echo ready1; n=1; {wait}; commit two; echo ready2; n=2; {wait}; commit three; echo ready3; \
         trap 'commit four; exit 0' TERM; while :; do sleep 0.02; done"
    );
    let (mut bench, request) = bench_in_clone(&attempt, &script).await;
    let tree = bench.run.cwd.clone();
    fs::create_dir_all(tree.join(".git/info")).unwrap();
    fs::write(tree.join(".git/info/exclude"), "go*\n").unwrap();
    bench.run.bundles.as_mut().unwrap().every = Duration::from_millis(150);
    bench.start().await;
    let mut heard = Heard::default();
    for (count, ready) in [(1, "ready1"), (2, "ready2"), (3, "ready3")] {
        bench.hear(ready, &mut heard).await;
        bench.session.request_bundle().await.unwrap();
        while heard.bundles < count {
            let event = bench.next().await.unwrap();
            heard.take(event);
        }
        fs::write(tree.join(format!("go{count}")), "").unwrap();
    }
    // Nothing new: neither the clock nor a request makes another one.
    bench.session.request_bundle().await.unwrap();
    bench.session.stop(LIMIT).await.unwrap();
    let (heard, bundles, folder) = bench.rest(heard).await;
    assert_eq!((heard.code(), heard.bundles, heard.failures), (0, 4, vec![]));
    assert_eq!(bundles.len(), 2, "the newest and the one before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no other files stay");
    let collected = collect(&CollectRequest { bundles, ..request }).await;
    assert_eq!(collected.summary.agent_commits, 4);
}

#[tokio::test]
async fn an_agent_without_commits_makes_no_bundle_and_no_noise() {
    let attempt = Attempt::new();
    let (mut bench, _) = bench_in_clone(&attempt, "echo loose > loose.txt").await;
    bench.session.run(&bench.run).await.unwrap();
    let (heard, bundles, _folder) = bench.rest(Heard::default()).await;
    assert_eq!((heard.code(), heard.bundles, heard.failures, bundles.len()), (0, 0, vec![], 0));
}

#[tokio::test]
async fn a_bundle_that_cannot_be_made_is_told_and_harms_nothing() {
    for (script, reason) in [
        ("rm -rf .git; echo gone", "rev-parse"),
        ("head -c 3000000 /dev/urandom > big; git add -A; git commit --quiet -m big", "larger than 1048576"),
    ] {
        let attempt = Attempt::new();
        let (mut bench, _) = bench_in_clone(&attempt, script).await;
        bench.session.run(&bench.run).await.unwrap();
        let (heard, bundles, _folder) = bench.rest(Heard::default()).await;
        assert_eq!((heard.code(), bundles.len(), heard.failures.len()), (0, 0, 1), "{script}");
        assert!(heard.failures[0].contains(reason), "{:?}", heard.failures);
    }
    let attempt = Attempt::new();
    let (mut bench, _) = bench_in_clone(&attempt, "true").await;
    bench.run.argv = vec!["/bin/sh".into(), "-c".into(), "true".into()];
    bench.run.env.insert("PATH".into(), "/nonexistent".into());
    bench.session.run(&bench.run).await.unwrap();
    let (heard, ..) = bench.rest(Heard::default()).await;
    assert_eq!(heard.failures, ["`git` was not found"]);
}

#[tokio::test]
async fn files_that_were_open_by_accident_stop_at_the_shim() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("shim.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // A shell that leaves file 7 open for all that it starts.
    let mut shell = tokio::process::Command::new("sh");
    let shell = shell.args(["-c", "exec 7</etc/passwd; exec \"$0\" shim --socket \"$1\"", WORKER]).arg(&path);
    let _shim = shell.kill_on_drop(true).spawn().unwrap();
    let mut session = Session::accept(&listener, None, folder.path(), LIMIT).await.unwrap();
    session.run(&order(&["/bin/ls", "/proc/self/fd"])).await.unwrap();
    let mut heard = Heard::default();
    while let Some(event) = tokio::time::timeout(LIMIT, session.next_event()).await.unwrap() {
        heard.take(event);
    }
    assert_eq!(heard.text(), "0\n1\n2\n3\n");
}

/// An agent without environment.
fn order(argv: &[&str]) -> RunAgent {
    RunAgent {
        argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: "/".into(),
        stdin: None,
        grace: LIMIT,
        bundles: None,
    }
}

/// A socket, and a shim's frame for it.
fn listen() -> (TempDir, PathBuf, UnixListener) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("shim.sock");
    let listener = UnixListener::bind(&path).unwrap();
    (folder, path, listener)
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind], payload].concat()
}

fn hello(protocol: u32) -> Vec<u8> {
    frame(0, format!(r#"{{"type":"hello","protocol":{protocol},"version":"9.9.9"}}"#).as_bytes())
}

#[tokio::test]
async fn a_shim_waits_for_its_orchestrators_socket() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("late.sock");
    let mut shim = tokio::process::Command::new(WORKER);
    let mut shim = shim.args(["shim", "--socket"]).arg(&path).env_clear().kill_on_drop(true).spawn().unwrap();
    // It has tried in vain at least once when it sleeps between two tries; whenever it comes, it is served.
    let listener = UnixListener::bind(&path).unwrap();
    let uid = nix::unistd::getuid().as_raw();
    let mut session = Session::accept(&listener, Some(uid), folder.path(), LIMIT).await.unwrap();
    session.run(&order(&["/bin/echo", "hi"])).await.unwrap();
    let mut heard = Heard::default();
    while let Some(event) = tokio::time::timeout(LIMIT, session.next_event()).await.unwrap() {
        heard.take(event);
    }
    assert_eq!((heard.text().as_str(), heard.code()), ("hi\n", 0));
    session.finish().await;
    assert!(tokio::time::timeout(LIMIT, shim.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn another_version_is_refused_with_a_word_to_both() {
    let (folder, path, listener) = listen();
    let mut shim = UnixStream::connect(&path).await.unwrap();
    shim.write_all(&hello(99)).await.unwrap();
    let Err(error) = Session::accept(&listener, None, folder.path(), LIMIT).await else { panic!("accepted") };
    assert!(matches!(&error, SessionError::Version { theirs: 99, .. }), "{error}");
    assert!(error.to_string().contains("9.9.9"), "{error}");
    let mut answer = String::new();
    shim.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("refused") && answer.contains("protocol 99"), "{answer}");
}

#[tokio::test]
async fn another_user_is_hung_up_on() {
    let (folder, path, listener) = listen();
    let _shim = UnixStream::connect(&path).await.unwrap();
    let other = nix::unistd::getuid().as_raw() + 1;
    let limit = Duration::from_millis(200);
    let Err(error) = Session::accept(&listener, Some(other), folder.path(), limit).await else { panic!("accepted") };
    assert!(matches!(error, SessionError::NoShim(_)), "{error}");
}

#[tokio::test]
async fn a_shim_that_breaks_the_protocol_is_lost_and_costs_nothing() {
    let exited = r#"{"type":"exited","code":0,"signal":null,"oom_killed":false}"#;
    let breaches: [Vec<u8>; 6] = [
        frame(0, b"nonsense"),
        frame(9, b""),
        vec![0xff; 64],
        [frame(0, exited.as_bytes()), frame(1, b"said after death")].concat(),
        [frame(0, exited.as_bytes()), frame(0, exited.as_bytes())].concat(),
        frame(0, br#"{"type":"done"}"#),
    ];
    for breach in breaches {
        let (folder, path, listener) = listen();
        let mut shim = UnixStream::connect(&path).await.unwrap();
        shim.write_all(&hello(1)).await.unwrap();
        let mut session = Session::accept(&listener, None, folder.path(), LIMIT).await.unwrap();
        // A bundle that was never begun, and one that does not end.
        shim.write_all(&frame(3, b"piece")).await.unwrap();
        shim.write_all(&[frame(0, br#"{"type":"bundle_begun"}"#), frame(3, b"piece")].concat()).await.unwrap();
        shim.write_all(&breach).await.unwrap();
        let mut heard = Heard::default();
        while let Some(event) = tokio::time::timeout(LIMIT, session.next_event()).await.unwrap() {
            heard.take(event);
        }
        assert!(heard.lost.is_some(), "{breach:?}");
        assert!(session.finish().await.is_empty());
    }
}
