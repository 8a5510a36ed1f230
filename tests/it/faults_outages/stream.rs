//! Between the log's writer and its readers.

use super::*;

#[tokio::test]
async fn a_follower_whose_connection_is_cut_in_the_middle_of_lines_prints_each_line_once() {
    const LINES: u32 = 3000;
    const CUTS: usize = 25;
    let (stack, repo, gate) = (Stack::start().await, Repo::new(), Gate::new());
    let script = format!("{}; {}; {}", count(1, LINES / 2, "0"), gate.stop("half"), count(LINES / 2 + 1, LINES, "0"));
    let job = stack.submit(&repo.url(), &[], &script).await;
    gate.reached("half").await;
    // An answer's head has a few hundred bytes, a line a hundred: most cuts are within a line, and at another place of it.
    let mut random = Random::new(7);
    let after = (0..CUTS).map(|_| usize::try_from(random.between(2000, 9000)).expect("it is small")).collect();
    let cutter = Cutter::start(stack.address(), after).await;
    let follower = stack.follow_through(&cutter.url(), job);
    wait_for("some connections are cut while the job runs", JOB, async || (cutter.cuts() >= 5).then_some(())).await;
    gate.open("half");
    let said = follower.ended().await.exits(0);
    assert_counted(&said.out, 1, LINES);
    assert!(!said.err.contains("error"), "{said}");
    assert!(cutter.cuts() >= 20, "only {} connections were cut", cutter.cuts());
    stack.holds(&[job]).await;
}

/// The spool is bounded, so an agent that prints much has to wait for a control plane that is away, and the idle limit with
/// it.
#[tokio::test]
async fn an_agent_that_fills_the_spool_waits_and_loses_no_line_and_is_not_taken_for_stalled() {
    const LINES: u32 = 20_000;
    let runner = vec![("CKRV_SPOOL_BYTES", "1".to_owned())];
    let (mut stack, repo, gate) =
        (Stack::with(Options { runner, ..Options::default() }).await, Repo::new(), Gate::new());
    // 2 MB, and 3.6 MB in the spool: twice what the smallest one has room for, and more than pipes and sockets hold besides.
    let padding = "-".repeat(95);
    let hundred =
        format!("seq -f 'line %.0f {padding}' $((i+1)) $((i+100)); i=$((i+100)); {}", gate.note("printed", "$i"));
    let print = format!("i=0; while [ $i -lt {LINES} ]; do {hundred}; done");
    let script = format!("{}; {print}; {}", gate.stop("run"), gate.note("last", "word"));
    let idle = Duration::from_secs(3);
    let job = stack.submit(&repo.url(), &["--idle-limit", "3s"], &script).await;
    gate.reached("run").await;
    stack.kill_server().await;
    gate.open("run");
    // It comes to a stop by itself, for longer than it may be idle.
    let printed = || gate.noted("printed").and_then(|count| count.parse::<u32>().ok()).unwrap_or_default();
    loop {
        let before = printed();
        lasts(idle * 2).await;
        if before > 0 && printed() == before {
            break;
        }
    }
    assert!(gate.noted("last").is_none() && printed() < LINES, "the agent did not have to wait");
    stack.start_server().await;
    succeeded_at_once(&stack.ended(job).await);
    let wanted: Vec<String> = (1..=LINES).map(|number| format!("line {number} {padding}")).collect();
    let got = stack.logs(job).await.out;
    let differs = got.lines().zip(&wanted).position(|(got, wanted)| got != wanted);
    assert_eq!((differs, got.lines().count()), (None, wanted.len()), "lines were lost or repeated");
    stack.holds(&[job]).await;
}
