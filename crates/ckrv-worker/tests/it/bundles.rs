//! Bundles: the agent's, which are strangers' parcels, and the result's, which `ckrv pull` has to take.

use std::fs;

use ckrv_worker::collect::{CollectLimits, CollectRequest, collect};

use crate::repository::{Attempt, agent_commits, artifact, bundle, git, skipped, stored, warned, write};

const EVIL_MODULES: &str = "[submodule \"x\"]\n\tpath = x\n\turl = x\n\tupdate = !touch x\n";

#[tokio::test]
async fn bad_bundles_are_told_and_passed_over_for_an_older_good_one() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let tree = &checkout.work_tree;
    write(tree, "work.txt", "committed\n");
    let good_commit = agent_commits(&checkout, "good");
    let good = bundle(&attempt, &checkout);
    let whole = fs::read(&good).unwrap();
    let bad = |name: &str, bytes: &[u8]| {
        write(attempt.folder.path(), name, bytes);
        attempt.path(name)
    };
    let make = |name: &str, refs: &[&str]| {
        let path = attempt.path(name);
        let args = [&["bundle", "create", "--quiet", path.to_str().unwrap()], refs].concat();
        git(tree, &args);
        path
    };
    let not_base = format!("^{}", checkout.base);
    git(tree, &["update-ref", "refs/replace/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "HEAD"]);
    let replacing = make("replacing", &["HEAD", "refs/replace/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &not_base]);
    git(tree, &["checkout", "--quiet", "--orphan", "elsewhere"]);
    git(tree, &["commit", "--quiet", "-m", "no descendant"]);
    let orphan = make("orphan", &["HEAD", "refs/heads/elsewhere"]);
    let blob = git(tree, &["rev-parse", "HEAD:README"]);
    let mut trap = b"100644 .git\0".to_vec();
    trap.extend((0..20).map(|i| u8::from_str_radix(&blob[2 * i..2 * i + 2], 16).unwrap()));
    let trap = bad("trap-tree", &trap);
    let trap = git(tree, &["hash-object", "-t", "tree", "-w", "--literally", trap.to_str().unwrap()]);
    let trap = git(tree, &["commit-tree", &trap, "-p", &good_commit, "-m", "trap"]);
    git(tree, &["update-ref", "HEAD", &trap]);
    let trapped = make("trapped", &["HEAD", &not_base]);
    git(tree, &["checkout", "--quiet", "-f", &good_commit]);
    let cut = &whole[..whole.len() - 30];
    let mut flipped = whole.clone();
    let middle = flipped.len() - 40;
    flipped[middle] ^= 0xff;
    // The header names a commit that is nowhere.
    let mut absent = whole.clone();
    while let Some(at) = absent.windows(40).position(|id| id == good_commit.as_bytes()) {
        absent[at..at + 40].fill(b'2');
    }
    let bundles = vec![
        bad("garbage", b"#!/bin/sh\ntouch canary\n"),
        bad("cut", cut),
        bad("flipped", &flipped),
        bad("absent", &absent),
        replacing,
        orphan,
        trapped,
        attempt.path("no such file"),
        good,
    ];
    let count = bundles.len();
    let collected = collect(&CollectRequest { bundles, ..attempt.collect_request(&checkout, &baseline) }).await;
    let refused = collected.summary.warnings.iter().filter(|warning| warning.contains("refused")).count();
    assert_eq!(refused, count - 1, "{:#?}", collected.summary.warnings);
    let reasons = ["no header", "early EOF", "inflate", "2222", "other refs", "descend", "hasDotgit", "No such file"];
    for (reason, warning) in reasons.iter().zip(&collected.summary.warnings) {
        assert!(warning.contains(reason), "{reason} is not in {warning}");
    }
    assert_eq!(collected.summary.agent_commits, 1);
    let clone = attempt.pull(&collected);
    assert_eq!(git(&clone, &["rev-parse", &format!("{}~0", collected.summary.branch)]), good_commit);
    assert_eq!(git(&checkout.git_dir, &["for-each-ref", "refs/replace"]), "");
}

#[tokio::test]
async fn a_bundle_over_its_limit_is_refused() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    write(&checkout.work_tree, "work.txt", "committed\n");
    agent_commits(&checkout, "good");
    let bundles = vec![bundle(&attempt, &checkout)];
    let limits = CollectLimits { bundle_bytes: 100, ..CollectLimits::default() };
    let collected = collect(&CollectRequest { bundles, limits, ..attempt.collect_request(&checkout, &baseline) }).await;
    assert!(warned(&collected, "larger than 100 bytes"), "{:?}", collected.summary.warnings);
    assert_eq!((collected.summary.agent_commits, collected.summary.tree_commit), (0, true));
    assert_eq!(attempt.pulled(&collected, "work.txt"), "committed");
}

#[tokio::test]
async fn a_branch_that_pull_would_refuse_is_not_handed_out_and_the_reason_is_told() {
    for committed in [false, true] {
        let attempt = Attempt::new();
        let (checkout, baseline) = attempt.clone().await;
        write(&checkout.work_tree, "work.txt", "honest\n");
        write(&checkout.work_tree, ".gitmodules", EVIL_MODULES);
        let bundles = if committed {
            agent_commits(&checkout, "honest, and not");
            vec![bundle(&attempt, &checkout)]
        } else {
            Vec::new()
        };
        let collected = collect(&CollectRequest { bundles, ..attempt.collect_request(&checkout, &baseline) }).await;
        let message = skipped(artifact(&collected, "result.bundle"));
        assert!(message.starts_with("git refuses what would be in it: gitmodulesUpdate: "), "{message}");
        let warnings = &collected.summary.warnings;
        let told = warnings.iter().filter(|warning| warning.contains("there is no branch")).collect::<Vec<_>>();
        assert_eq!(told.len(), 1, "{warnings:?}");
        assert!(told[0].contains("gitmodulesUpdate") && told[0].contains("changes.patch"), "{told:?}");
        assert_eq!(warned(&collected, "a bundle of the agent's commits was refused"), committed);
        let patch = fs::read_to_string(stored(artifact(&collected, "changes.patch"))).unwrap();
        assert!(patch.contains("+honest") && patch.contains("update = !touch x"), "{patch}");
        let pristine = git(&checkout.git_dir, &["cat-file", "--batch-all-objects", "--batch-check"]);
        assert_eq!(pristine.lines().count(), 6, "the agent's work is among our objects");
    }
}

#[tokio::test]
async fn an_old_harmless_fault_in_the_agents_commits_is_no_reason_to_refuse_the_branch() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let tree = &checkout.work_tree;
    write(tree, "work.txt", "committed\n");
    let commit = agent_commits(&checkout, "good");
    let raw = git(tree, &["cat-file", "commit", &commit]).replacen(" +0000\n", " +051800\n", 1);
    write(attempt.folder.path(), "odd", format!("{raw}\n"));
    let odd = attempt.path("odd");
    let odd = git(tree, &["hash-object", "-t", "commit", "-w", "--literally", odd.to_str().unwrap()]);
    git(tree, &["reset", "--quiet", "--hard", &odd]);
    write(tree, "loose.txt", "x\n");
    let bundles = vec![bundle(&attempt, &checkout)];
    let collected = collect(&CollectRequest { bundles, ..attempt.collect_request(&checkout, &baseline) }).await;
    assert_eq!(collected.summary.warnings, Vec::<String>::new());
    let clone = attempt.pull(&collected);
    assert_eq!(git(&clone, &["rev-parse", &format!("{}~1", collected.summary.branch)]), odd);
}
