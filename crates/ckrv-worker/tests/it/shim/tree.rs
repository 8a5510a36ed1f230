//! What an agent starts, and leaves behind.

use super::*;

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
