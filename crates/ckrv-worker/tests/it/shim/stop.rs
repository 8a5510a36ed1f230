//! How an agent is ended, and by whom.

use super::*;

fn is_running(path: &Path, marker: &str) -> bool {
    String::from_utf8_lossy(&fs::read(path.join("cmdline")).unwrap_or_default()).contains(marker)
}

fn end(path: &Path) {
    let pid = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
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
