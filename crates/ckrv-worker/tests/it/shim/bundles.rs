//! An agent's commits, as bundles made on its side.

use super::*;

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
