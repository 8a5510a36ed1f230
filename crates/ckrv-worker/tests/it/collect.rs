//! What comes back of the agent's work, honest or odd.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use ckrv_types::artifact::Summary;
use ckrv_worker::collect::{Baseline, CollectLimits, CollectRequest, Content, collect};
use nix::sys::stat::Mode;

use crate::repository::{Attempt, agent_commits, artifact, bundle, git, git_output, skipped, stored, warned, write};
use crate::wait::wait_for;

#[tokio::test]
async fn commits_and_the_loose_work_on_top_come_back_as_one_branch() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    write(&checkout.work_tree, "src/main.txt", "one\n2\nthree\n");
    let commit = agent_commits(&checkout, "the agent's fix");
    write(&checkout.work_tree, "notes/loose.txt", "not committed\n");
    write(&checkout.work_tree, "target/out.bin", "ignored");
    fs::remove_file(checkout.work_tree.join("README")).unwrap();
    let bundles = vec![bundle(&attempt, &checkout)];
    let collected = collect(&CollectRequest { bundles, ..attempt.collect_request(&checkout, &baseline) }).await;

    let summary = &collected.summary;
    assert_eq!(summary.warnings, Vec::<String>::new());
    assert_eq!((summary.agent_commits, summary.tree_commit), (1, true));
    assert_eq!((summary.files_changed, summary.insertions, summary.deletions), (3, 2, 2));
    let clone = attempt.pull(&collected);
    let branch = format!("ckrv/{}", attempt.job);
    assert_eq!(git(&clone, &["rev-parse", &format!("{branch}~1")]), commit);
    assert_eq!(git(&clone, &["rev-parse", &format!("{branch}~2")]), checkout.base);
    let files = git(&clone, &["ls-tree", "-r", "--name-only", &branch]);
    assert_eq!(files, ".gitignore\nnotes/loose.txt\nsrc/main.txt");
    let told = git(&clone, &["log", "-1", "--format=%an <%ae>|%cn|%s", &branch]);
    assert_eq!(told, format!("ckrv job <ckrv@example.com>|ckrv job|ckrv {}: work tree", attempt.job));

    let patch = stored(artifact(&collected, "changes.patch"));
    git(&clone, &["apply", "--index", patch.to_str().unwrap()]);
    assert_eq!(git(&clone, &["write-tree"]), git(&clone, &["rev-parse", &format!("{branch}^{{tree}}")]));
    let json = fs::read(stored(artifact(&collected, "summary.json"))).unwrap();
    assert_eq!(&serde_json::from_slice::<Summary>(&json).unwrap(), summary);
}

#[tokio::test]
async fn an_agent_that_changed_nothing_leaves_a_summary_alone() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let collected = attempt.collect(&checkout, &baseline).await;
    assert_eq!(collected.summary.head_commit, checkout.base);
    assert!(!collected.summary.tree_commit);
    for name in ["result.bundle", "changes.patch"] {
        assert_eq!(skipped(artifact(&collected, name)), "the agent changed nothing");
    }
    stored(artifact(&collected, "summary.json"));
}

#[tokio::test]
async fn a_job_whose_agent_committed_everything_gets_no_commit_of_ours() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    write(&checkout.work_tree, "new", "x");
    let commit = agent_commits(&checkout, "all of it");
    let bundles = vec![bundle(&attempt, &checkout)];
    let collected = collect(&CollectRequest { bundles, ..attempt.collect_request(&checkout, &baseline) }).await;
    assert_eq!((collected.summary.head_commit.clone(), collected.summary.tree_commit), (commit, false));
    assert_eq!(attempt.pulled(&collected, "new"), "x");
}

#[tokio::test]
async fn what_was_touched_is_found_by_its_content_whatever_its_times_say() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let path = checkout.work_tree.join("src/main.txt");
    let times = fs::FileTimes::new().set_modified(path.metadata().unwrap().modified().unwrap());
    fs::write(&path, "one\nTWO\nthree\n").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    let collected = attempt.collect(&checkout, &baseline).await;
    assert_eq!(attempt.pulled(&collected, "src/main.txt"), "one\nTWO\nthree");
}

#[tokio::test]
async fn an_old_baseline_saves_reading_and_changes_no_result() {
    let attempt = Attempt::new();
    let (checkout, _) = attempt.clone().await;
    // The newest file and those of the second before it are not trusted: so one that is much newer than the rest.
    let ctime = |name: &str| checkout.work_tree.join(name).metadata().unwrap().ctime();
    wait_for("the clone is some seconds old", || {
        write(&checkout.work_tree, "target/tick", "x");
        ctime("target/tick") > ctime("README") + 2
    })
    .await;
    let baseline = Baseline::take(&checkout.work_tree).await;
    write(&checkout.work_tree, "README", "changed\n");
    git(&checkout.work_tree, &["rm", "--quiet", "--cached", "src/main.txt"]);
    git(&checkout.work_tree, &["commit", "--quiet", "-m", "forgets a file that still lies there"]);
    let bundles = vec![bundle(&attempt, &checkout)];
    // Too small for any content but README's: the untouched files are not read at all.
    let limits = CollectLimits { tree_bytes: 8, ..CollectLimits::default() };
    let collected = collect(&CollectRequest { bundles, limits, ..attempt.collect_request(&checkout, &baseline) }).await;
    assert_eq!(collected.summary.warnings, Vec::<String>::new());
    assert_eq!(attempt.pulled(&collected, "README"), "changed");
    assert_eq!(attempt.pulled(&collected, "src/main.txt"), "one\ntwo\nthree");
}

#[tokio::test]
async fn links_modes_and_odd_names_come_back_as_they_are() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let tree = &checkout.work_tree;
    symlink("/etc/passwd", tree.join("out")).unwrap();
    symlink("loop", tree.join("loop")).unwrap();
    symlink("../src", tree.join("src/up")).unwrap();
    write(tree, "run.sh", "#!/bin/sh\n");
    fs::set_permissions(tree.join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(tree.join(OsStr::from_bytes(b"caf\xe9")), "latin").unwrap();
    write(tree, "with\nnewline", "x");
    write(tree, ":(glob)*", "pathspec");
    write(tree, "-dash", "x");
    let collected = attempt.collect(&checkout, &baseline).await;
    assert_eq!(collected.summary.warnings, Vec::<String>::new());
    assert_eq!(attempt.pulled(&collected, "out"), "/etc/passwd");
    let listing = git_output(&attempt.path("pulled"), &["ls-tree", "-r", "-z", &collected.summary.branch]).stdout;
    for wanted in [&b"100755 "[..], b"\tcaf\xe9\0", b"\twith\nnewline\0", b"\t:(glob)*\0", b"\t-dash\0", b"120000 "] {
        let is_there = listing.windows(wanted.len()).any(|bytes| bytes == wanted);
        assert!(is_there, "{} is missing", String::from_utf8_lossy(wanted));
    }
}

#[tokio::test]
async fn ignored_files_stay_out_and_tracked_ones_in_ignored_folders_stay_in() {
    let attempt = Attempt::new();
    write(&attempt.upstream(), "target/kept.txt", "tracked\n");
    git(&attempt.upstream(), &["add", "-f", "target/kept.txt"]);
    attempt.commit("a tracked file in an ignored folder");
    let (checkout, baseline) = attempt.clone().await;
    write(&checkout.work_tree, "target/kept.txt", "tracked, changed\n");
    write(&checkout.work_tree, "target/deep/new.txt", "ignored\n");
    write(&checkout.work_tree, "sub/.gitignore", "*.tmp\n!keep.tmp\n/only/\n");
    for name in ["sub/a.tmp", "sub/keep.tmp", "sub/only/x", "sub/deep/only/x", "a.log", "sub/b.log"] {
        write(&checkout.work_tree, name, "x");
    }
    // As plain git sees it.
    git(&checkout.work_tree, &["add", "-A"]);
    let expected = git(&checkout.work_tree, &["write-tree"]);
    let collected = attempt.collect(&checkout, &baseline).await;
    let clone = attempt.pull(&collected);
    assert_eq!(git(&clone, &["rev-parse", &format!("{}^{{tree}}", collected.summary.branch)]), expected);
    assert!(git(&clone, &["ls-tree", "-r", "--name-only", &expected]).contains("sub/deep/only/x"));
}

#[tokio::test]
async fn line_ends_are_treated_as_the_trees_attributes_say() {
    let attempt = Attempt::new();
    write(&attempt.upstream(), ".gitattributes", "*.txt text eol=crlf\n*.bin -text\n");
    write(&attempt.upstream(), "kept.bin", "a\r\nb\r\n");
    attempt.commit("attributes");
    let (checkout, baseline) = attempt.clone().await;
    assert_eq!(fs::read_to_string(checkout.work_tree.join("src/main.txt")).unwrap(), "one\r\ntwo\r\nthree\r\n");
    write(&checkout.work_tree, "new.txt", "x\r\n");
    let collected = attempt.collect(&checkout, &baseline).await;
    assert_eq!(collected.summary.files_changed, 1, "{:?}", collected.summary);
    attempt.pull(&collected);
    let new = git_output(&attempt.path("pulled"), &["show", &format!("{}:new.txt", collected.summary.branch)]);
    assert_eq!(new.stdout, b"x\n");
}

#[tokio::test]
async fn what_git_converts_it_converts_and_the_rest_goes_as_it_is() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let tree = &checkout.work_tree;
    write(tree, ".gitattributes", "* text=auto\n*.raw -text\n*.id ident\n*.u16 working-tree-encoding=UTF-16LE\n");
    write(tree, "sub/.gitattributes", "*.txt text eol=crlf\n");
    for name in ["unix.txt", "sub/unix.txt"] {
        write(tree, name, "a\nb\n");
    }
    for name in ["dos.txt", "sub/dos.txt", "kept.raw", "b.bin"] {
        write(tree, name, if name == "b.bin" { &b"a\r\n\0"[..] } else { b"a\r\n" });
    }
    write(tree, "file.id", "$Id: expanded $\n");
    write(tree, "wide.u16", b"w\0i\0d\0e\0\n\0");
    write(tree, "empty", "");
    git(tree, &["add", "-A"]);
    let expected = git(tree, &["write-tree"]);
    let collected = attempt.collect(&checkout, &baseline).await;
    let clone = attempt.pull(&collected);
    assert_eq!(git(&clone, &["rev-parse", &format!("{}^{{tree}}", collected.summary.branch)]), expected);
    let show = |name: &str| git_output(&clone, &["show", &format!("{}:{name}", collected.summary.branch)]).stdout;
    assert_eq!(
        (show("dos.txt"), show("kept.raw"), show("wide.u16")),
        (b"a\n".into(), b"a\r\n".into(), b"wide\n".into())
    );
}

#[tokio::test]
async fn a_crowd_of_files_comes_back_and_takes_few_files_of_ours() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let tree = &checkout.work_tree;
    (0..2000).for_each(|i| write(tree, &format!("many/{}/{i}", i % 20), format!("{i}\n")));
    git(tree, &["add", "-A"]);
    let expected = git(tree, &["write-tree"]);
    let collected = attempt.collect(&checkout, &baseline).await;
    let clone = attempt.pull(&collected);
    assert_eq!(git(&clone, &["rev-parse", &format!("{}^{{tree}}", collected.summary.branch)]), expected);
    let files = files_below(&attempt.path("output"));
    assert!(files < 200, "collecting made {files} files");
}

fn files_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn names_that_git_refuses_cost_nobody_else_anything() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    for name in ["git~1/config", "a\\.git\\b", ".g\u{200c}it/config", "sub/.git ./x", "work.txt", "a:b", "caf\u{e9}~2"]
    {
        write(&checkout.work_tree, name, "x\n");
    }
    let collected = attempt.collect(&checkout, &baseline).await;
    let clone = attempt.pull(&collected);
    let listing =
        git(&clone, &["-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", &collected.summary.branch]);
    let expected = [".gitignore", "README", "a:b", "caf\u{e9}~2", "src/main.txt", "work.txt"];
    assert_eq!(listing.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn attributes_that_break_git_cost_the_conversion_and_not_the_work() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    write(&checkout.work_tree, ".gitattributes", "* text working-tree-encoding=NONSENSE-9\n");
    write(&checkout.work_tree, "work.txt", "done\n");
    let collected = attempt.collect(&checkout, &baseline).await;
    assert!(warned(&collected, ".gitattributes"), "{:?}", collected.summary);
    assert_eq!(attempt.pulled(&collected, "work.txt"), "done");
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_the_rest_comes() {
    let attempt = Attempt::new();
    write(&attempt.upstream(), "big.txt", "small at first\n");
    attempt.commit("another");
    let (checkout, baseline) = attempt.clone().await;
    let tree = &checkout.work_tree;
    write(tree, "work.txt", "done\n");
    nix::unistd::mkfifo(&tree.join("fifo"), Mode::S_IRWXU).unwrap();
    fs::remove_file(tree.join("README")).unwrap();
    nix::unistd::mkfifo(&tree.join("README"), Mode::S_IRWXU).unwrap();
    nix::unistd::mkfifo(&tree.join(".gitattributes"), Mode::S_IRWXU).unwrap();
    fs::create_dir(tree.join("rules")).unwrap();
    nix::unistd::mkfifo(&tree.join("rules/.gitignore"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    fs::File::create(tree.join("big.txt")).unwrap().set_len(1 << 40).unwrap();
    let closed = tree.join("src");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let collected = attempt.collect(&checkout, &baseline).await;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    for part in ["`fifo`", "`README`", "`socket`", "`big.txt`"] {
        assert!(warned(&collected, part), "{part} is not in {:?}", collected.summary.warnings);
    }
    assert_eq!(attempt.pulled(&collected, "work.txt"), "done");
    // As it was: too large to read, and (but for root) not to be entered.
    assert_eq!(attempt.pulled(&collected, "big.txt"), "small at first");
    assert_eq!(attempt.pulled(&collected, "src/main.txt"), "one\ntwo\nthree");
}

#[tokio::test]
async fn a_tree_of_many_files_or_many_levels_ends_at_its_limits() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let mut deep = checkout.work_tree.clone();
    for _ in 0..300 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    write(&deep, "bottom", "x");
    (0..500).for_each(|i| write(&checkout.work_tree, &format!("many/{i}"), "x"));
    write(&checkout.work_tree, "work.txt", "done\n");
    let limits = CollectLimits { entries: 400, ..CollectLimits::default() };
    let collected = collect(&CollectRequest { limits, ..attempt.collect_request(&checkout, &baseline) }).await;
    assert!(warned(&collected, "too many files"), "{:?}", collected.summary.warnings);
    assert!(warned(&collected, "200 deep"), "{:?}", collected.summary.warnings);
    assert_eq!(attempt.pulled(&collected, "work.txt"), "done");
    assert_eq!(attempt.pulled(&collected, "README"), "hello");
}

#[tokio::test]
async fn submodules_and_nested_repositories_are_left_alone() {
    let attempt = Attempt::new();
    let id = "1111111111111111111111111111111111111111";
    git(&attempt.upstream(), &["update-index", "--add", "--cacheinfo", &format!("160000,{id},sub")]);
    git(&attempt.upstream(), &["commit", "--quiet", "-m", "a submodule"]);
    let (checkout, baseline) = attempt.clone().await;
    for folder in ["sub", "vendor/nested"] {
        write(&checkout.work_tree, &format!("{folder}/file"), "x");
        git(&checkout.work_tree.join(folder), &["init", "--quiet"]);
    }
    write(&checkout.work_tree, "vendor/plain", "x");
    let collected = attempt.collect(&checkout, &baseline).await;
    let clone = attempt.pull(&collected);
    let listing = git(&clone, &["ls-tree", "-r", &collected.summary.branch, "--", "sub", "vendor"]);
    assert!(listing.contains(&format!("160000 commit {id}\tsub")), "{listing}");
    assert!(listing.contains("vendor/plain") && !listing.contains("nested"), "{listing}");
    assert!(warned(&collected, "`vendor/nested`"), "{:?}", collected.summary.warnings);
}

#[tokio::test]
async fn without_any_repository_left_the_files_still_come() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    fs::remove_dir_all(checkout.work_tree.join(".git")).unwrap();
    write(&checkout.work_tree, "work.txt", "done\n");
    let collected = attempt.collect(&checkout, &baseline).await;
    assert_eq!(attempt.pulled(&collected, "work.txt"), "done");
}

#[tokio::test]
async fn a_work_tree_that_is_gone_or_a_link_is_told() {
    for replace in [false, true] {
        let attempt = Attempt::new();
        let (checkout, baseline) = attempt.clone().await;
        fs::remove_dir_all(&checkout.work_tree).unwrap();
        if replace {
            symlink("/etc", &checkout.work_tree).unwrap();
        }
        let globs = vec!["*.conf".to_owned()];
        let collected = collect(&CollectRequest { globs, ..attempt.collect_request(&checkout, &baseline) }).await;
        assert!(warned(&collected, "could not be collected"), "{:?}", collected.summary);
        assert_eq!(collected.summary.head_commit, checkout.base);
        assert!(collected.artifacts.iter().all(|artifact| !artifact.name.contains("host.conf")));
    }
}

#[tokio::test]
async fn declared_artifacts_come_with_their_hash_and_each_refusal_is_told() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    let tree = &checkout.work_tree;
    write(tree, "target/report/a.log", "abc");
    write(tree, "target/report/deep/b.log", "x");
    write(tree, "target/page.html", "<p>");
    symlink("/etc/passwd", tree.join("target/out.log")).unwrap();
    symlink("report", tree.join("target/linked")).unwrap();
    nix::unistd::mkfifo(&tree.join("target/fifo.log"), Mode::S_IRWXU).unwrap();
    fs::write(tree.join("target").join(OsStr::from_bytes(b"\xff.log")), "x").unwrap();
    fs::File::create(tree.join("target/sparse.log")).unwrap().set_len(1 << 40).unwrap();
    let globs = [
        "target/**/*.log",
        "target/*.log",
        "target/page.*",
        "target/report",
        "nothing/*",
        "target/linked/*.log",
        ".git/config",
        "**/config",
        "[",
    ];
    let globs = globs.map(str::to_owned).to_vec();
    let collected = collect(&CollectRequest { globs, ..attempt.collect_request(&checkout, &baseline) }).await;
    let log = artifact(&collected, "files/target/report/a.log");
    assert_eq!(log.content_type, "text/plain; charset=utf-8");
    assert_eq!(fs::read(stored(log)).unwrap(), b"abc");
    let Content::File { size, sha256, .. } = &log.content else { panic!("not stored") };
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!((*size, sha256.as_str()), (3, expected));
    stored(artifact(&collected, "files/target/report/deep/b.log"));
    stored(artifact(&collected, "files/target/page.html"));
    for (name, reason) in [
        ("files/target/out.log", "link"),
        ("files/target/fifo.log", "regular"),
        ("files/target/\u{fffd}.log", "UTF-8"),
        ("files/target/sparse.log", "bytes"),
        ("files/target/report", "target/report/**"),
        ("files/nothing/*", "no file"),
        ("files/target/linked/*.log", "no file"),
        ("files/.git/config", "no file"),
        ("files/**/config", "no file"),
        ("files/[", "glob"),
    ] {
        let message = skipped(artifact(&collected, name));
        assert!(message.contains(reason), "{name}: {message}");
    }
    let mut names: Vec<&str> = collected.artifacts.iter().map(|artifact| artifact.name.as_str()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name is there twice: {names:?}");
}

#[tokio::test]
async fn more_artifacts_than_allowed_are_cut_and_told() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    (0..20).for_each(|i| write(&checkout.work_tree, &format!("target/{i:02}.log"), "0123456789"));
    let limits = CollectLimits { artifacts: 5, artifacts_bytes: 30, ..CollectLimits::default() };
    let globs = vec!["target/*".to_owned()];
    let collected = collect(&CollectRequest { globs, limits, ..attempt.collect_request(&checkout, &baseline) }).await;
    let files: Vec<_> = collected.artifacts.iter().filter(|artifact| artifact.name.starts_with("files/")).collect();
    let stored = files.iter().filter(|file| matches!(file.content, Content::File { .. })).count();
    assert_eq!((files.len(), stored), (6, 3), "{files:?}");
    assert!(files.iter().any(|file| file.name == "files/"), "{files:?}");
}

#[tokio::test]
async fn git_gone_from_the_machine_is_told_and_artifacts_still_come() {
    let attempt = Attempt::new();
    let (checkout, baseline) = attempt.clone().await;
    write(&checkout.work_tree, "target/a.log", "abc");
    let git = ckrv_worker::git::GitProgram::new("/nonexistent");
    let globs = vec!["target/*.log".to_owned()];
    let collected = collect(&CollectRequest { git, globs, ..attempt.collect_request(&checkout, &baseline) }).await;
    assert!(warned(&collected, "`git` was not found"), "{:?}", collected.summary.warnings);
    assert_eq!(fs::read(stored(artifact(&collected, "files/target/a.log"))).unwrap(), b"abc");
    assert!(Path::new(&stored(artifact(&collected, "summary.json"))).exists());
}
