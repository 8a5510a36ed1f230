//! Every exit code that needs no control plane, with what is said on the way out.

use crate::program::{NOWHERE, Place, Run};

const JOB: &str = "job-01k9zj3m5r8w2t6y4x0v7q1n5d";

#[track_caller]
fn assert_fails(run: &Run, code: i32, words: &[&str]) {
    assert_eq!(run.code, code, "{run:?}");
    assert_eq!(run.stdout, "", "an error printed data");
    for word in words {
        assert!(run.stderr.contains(word), "`{word}` is not in {}", run.stderr);
    }
}

#[test]
fn wrong_usage_is_2() {
    let place = Place::new();
    for (arguments, word) in [
        (&["bogus"][..], "unrecognized subcommand"),
        (&["list", "--state", "x"], "is not a state"),
        (&["list", "--limit", "0"], "limit"),
        (&["run", "--run-limit", "90"], "needs a unit"),
        (&["run", "--env", "x"], "is not KEY=VALUE"),
        (&["run", "--timeout", "5m", "do it"], "--timeout needs"),
        (&["run", "--agent", "codex", "--", "make"], "not a command"),
        (&["run", "gone.yaml"], "there is no file gone.yaml"),
        (&["run", "--prompt", "a", "b c"], "twice"),
        (&["pull", JOB], "no git checkout"),
        (&["profile", "use", "../x"], "cannot be a profile"),
        (&["list", "--token", "ck_live_x"], "CKRV_TOKEN"),
        (&["org", "invite"], "--role"),
        (&["org", "role", "ada", "king"], "possible values: owner, admin, editor, viewer"),
        (&["project", "set", "website"], "required"),
        (&["project", "set", "website", "--max-run", "90"], "needs a unit"),
        (&["key", "create", "ci", "--scope", "all"], "possible values: read, run, manage"),
        (&["cloud", "credentials", "add", "github", "--kind", "git-token"], "--host"),
        (&["usage", "--month", "11"], "is not a month"),
        (&["audit", "list", "--since", "yesterday"], "neither"),
    ] {
        assert_fails(&place.ckrv(arguments), 2, &["error:", word]);
    }
}

#[test]
fn a_server_that_would_see_the_token_in_clear_text_is_2() {
    let place = Place::new();
    let variables = [("CKRV_SERVER", "http://ckrv.example"), ("CKRV_TOKEN", "ck_live_x")];
    assert_fails(&place.ckrv_with(&["list"], &variables), 2, &["clear text", "--allow-plain-http"]);
}

#[test]
fn no_credential_is_4_and_says_how_to_get_one() {
    let place = Place::new();
    assert_fails(&place.ckrv(&["list"]), 4, &["no control plane", "hint: `ckrv dev --detach`"]);
    let server = [("CKRV_SERVER", "https://ckrv.example")];
    assert_fails(&place.ckrv_with(&["list"], &server), 4, &["CKRV_SERVER is set, and no token"]);
    let token = [("CKRV_TOKEN", "ck_live_x")];
    assert_fails(&place.ckrv_with(&["list"], &token), 4, &["CKRV_TOKEN is set, and no server"]);
    assert_fails(&place.ckrv(&["list", "--profile", "none"]), 4, &["no profile `none`"]);
}

#[test]
fn an_id_that_cannot_exist_is_6() {
    let place = Place::new();
    for arguments in [
        &["status", "x"][..],
        &["logs", "org-01k9zj3m5r8w2t6y4x0v7q1n5d"],
        &["pull", "job-x"],
        &["cancel", "job-"],
        &["retry", "x"],
        &["explain", "x"],
    ] {
        assert_fails(&place.ckrv(arguments), 6, &["is not a job id", "hint: `ckrv list`"]);
    }
    let after = ["audit", "export", "--after", "x"];
    assert_fails(&place.ckrv_with(&after, &NOWHERE), 6, &["is not a audit entry id"]);
}

#[test]
fn a_server_that_is_not_there_is_7_with_the_cause() {
    let place = Place::new();
    for arguments in [
        &["list"][..],
        &["status", JOB],
        &["cancel", JOB],
        &["key", "list"],
        &["key", "revoke", "ci"],
        &["runner", "list"],
        &["org", "members"],
        &["usage"],
    ] {
        let run = place.ckrv_with(arguments, &NOWHERE);
        assert_fails(&run, 7, &["error: cannot reach http://127.0.0.1:1", "refused", "hint:"]);
        assert!(!run.stderr.contains("ck_live_x"), "the token is shown: {}", run.stderr);
    }
}

#[test]
fn the_embedded_control_plane_that_does_not_run_is_7_at_once() {
    let place = Place::new();
    std::fs::create_dir_all(place.home().join("profiles")).unwrap();
    let profile = r#"{"server":"http://127.0.0.1:1","token":"ck_live_x"}"#;
    std::fs::write(place.home().join("profiles/dev.json"), profile).unwrap();
    assert_fails(&place.ckrv(&["list"]), 7, &["does not run", "hint: `ckrv dev --detach`"]);
}

#[test]
fn an_embedded_control_plane_is_not_running_before_it_is_started() {
    let place = Place::new();
    let run = place.ckrv(&["dev", "status", "-o", "json"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "{\"running\":false}\n"));
    let run = place.ckrv(&["dev", "stop"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", "it does not run\n"));
    assert!(!place.home().exists(), "looking made files");
}
