//! npm `eventsource`, which knows nothing of ckrv, follows a log over a network that keeps breaking.

use std::process::Stdio;
use std::time::Duration;

use ckrv_tests::cutter::Cutter;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::Stack;

use crate::tools;

const LINES: usize = 100_000;
const CUTS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn eventsource_reads_each_of_100_000_lines_once_while_the_connection_is_cut_mid_line() {
    let stack = Stack::start().await;
    let repo = Repo::new();
    let agent = format!("seq -f 'line %.0f of the log' 1 {LINES}");
    let job = stack.ckrv(&["run", "--repo", &repo.url(), "--branch", "main", "--", "sh", "-c", &agent]).await;

    // Odd numbers of bytes, so that the cuts fall anywhere in a line.
    let after = (0..CUTS).map(|cut| 20_011 + cut * 7_919).collect();
    let cutter = Cutter::start(stack.address(), after).await;
    let output = tokio::process::Command::new("node")
        .arg("follow.mjs")
        .arg(format!("{}/v1/jobs/{job}/logs", cutter.url()))
        .arg(stack.keys.api_key.expose())
        .current_dir(tools::node())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(Duration::from_mins(5), output).await.expect("it ends in time").expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let text = String::from_utf8(output.stdout).expect("the log is UTF-8");
    let numbered: Vec<&str> = text.lines().filter(|line| line.ends_with("of the log")).collect();
    let wrong = numbered.iter().enumerate().find(|(at, line)| !line.ends_with(&format!(" line {} of the log", at + 1)));
    assert_eq!(wrong, None, "of {} lines", numbered.len());
    assert_eq!(numbered.len(), LINES);
    assert!(cutter.cuts() >= 20, "only {} cuts", cutter.cuts());
}
