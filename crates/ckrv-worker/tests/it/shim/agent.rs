//! What an agent is started with, and what is heard of it.

use super::*;

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
    let heard = Heard::all_of(&mut session).await;
    assert_eq!(heard.text(), "0\n1\n2\n3\n");
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
