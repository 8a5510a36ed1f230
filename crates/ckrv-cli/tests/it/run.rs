//! `ckrv run` up to the point where it would speak to the control plane.

use crate::program::{NOWHERE, Place};

#[test]
fn every_broken_rule_is_named_before_anything_is_sent() {
    let arguments = [
        "run",
        "--repo",
        "ext::sh",
        "--branch=-x",
        "--agent",
        "command",
        "--priority",
        "101",
        "--budget",
        "0",
        "--label",
        "a b=c",
    ];
    let run = Place::new().ckrv_with(&arguments, &NOWHERE);
    assert_eq!(run.code, 2, "{run:?}");
    insta::assert_snapshot!(run.stderr, @r"
    error: the job breaks rules
    cause: repo: the scheme `ext::` is not allowed here (use https:// or ssh://)
    cause: branch: `-x` cannot be a branch: must not begin with `-`
    cause: command: the agent `command` needs a program: ckrv run … -- PROGRAM ARGS
    cause: priority: -100 to 100
    cause: budget_usd: more than 0, at most 10000
    cause: labels: `a b`: keys are up to 63 of A-Z a-z 0-9 . _ - /, values up to 255 characters of one line
    hint: `ckrv run --help` says what can be given
    ");
}

#[test]
fn a_local_path_is_only_for_the_control_plane_on_this_machine() {
    let place = Place::new();
    place.checkout();
    let elsewhere = [("CKRV_SERVER", "https://192.0.2.1"), ("CKRV_TOKEN", "ck_live_x")];
    let run = place.ckrv_with(&["run", "--", "true"], &elsewhere);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("no remote `origin`"), "{}", run.stderr);
    let run = place.ckrv_with(&["run", "--repo", "/srv/x", "--", "true"], &elsewhere);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("repo: the scheme `file`"), "{}", run.stderr);
    let run = place.ckrv_with(&["run", "--", "true"], &NOWHERE);
    assert_eq!(run.code, 7, "{run:?}");
    let here = place.here.canonicalize().unwrap();
    assert!(run.stderr.contains(&format!("repository {}, branch main", here.display())), "{}", run.stderr);
}

#[test]
fn the_checkout_gives_repository_and_branch_without_credentials() {
    let place = Place::new();
    place.checkout();
    place.git(&["remote", "add", "origin", "https://user:hunter2@git.example/team/app.git"]);
    let run = place.ckrv_with(&["run", "fix it"], &NOWHERE);
    assert_eq!(run.code, 7, "{run:?}");
    assert!(run.stderr.contains("repository https://git.example/team/app.git, branch main\n"), "{}", run.stderr);
    assert!(!run.stderr.contains("hunter2"));
}

#[test]
fn what_the_job_will_not_see_is_told() {
    let place = Place::new();
    place.checkout();
    place.git(&["remote", "add", "origin", "https://git.example/team/app.git"]);
    let said = |words: &[&str]| {
        let run = place.ckrv_with(&["run", "fix it"], &NOWHERE);
        for word in words {
            assert!(run.stderr.contains(&format!("warning: {word}")), "{}", run.stderr);
        }
        assert_eq!(run.stderr.matches("warning:").count(), words.len(), "{}", run.stderr);
    };
    said(&["`main` has not been pushed"]);
    place.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    said(&[]);
    place.git(&["commit", "--quiet", "--allow-empty", "-m", "ahead"]);
    std::fs::write(place.here.join("file"), "2\n").unwrap();
    said(&["there are uncommitted changes", "1 commits of `main` have not been pushed"]);
    place.git(&["checkout", "--quiet", "--detach"]);
    said(&["HEAD is detached"]);
}

#[test]
fn outside_a_checkout_a_repository_must_be_given() {
    let run = Place::new().ckrv_with(&["run", "fix it"], &NOWHERE);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("this is no git checkout") && run.stderr.contains("hint: say --repo"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_specification_file_with_a_typo_says_where() {
    let place = Place::new();
    std::fs::write(place.here.join("job.yaml"), "repo: https://a.example/b\npromt: x\n").unwrap();
    let run = place.ckrv_with(&["run", "job.yaml"], &NOWHERE);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("job.yaml") && run.stderr.contains("promt"), "{}", run.stderr);
}

#[test]
fn a_prompt_may_come_from_stdin() {
    // Nothing stands there, so that what is missing is the prompt itself.
    let run = Place::new().ckrv_with(&["run", "--repo", "https://a.example/b", "--prompt", "-"], &NOWHERE);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("prompt: the agent `claude-code` needs a prompt"), "{}", run.stderr);
}
