//! `ckrv cloud` as far as it comes without a control plane.

use std::io::Write as _;
use std::process::Stdio;

use crate::program::{Place, Run};

const LOGIN: [&str; 2] = ["cloud", "login"];

fn with_stdin(place: &Place, arguments: &[&str], stdin: &str) -> Run {
    let mut command = place.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn assert_says(run: &Run, code: i32, words: &[&str]) {
    assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{run:?}");
    for word in words {
        assert!(run.stderr.contains(word), "`{word}` is not in {}", run.stderr);
    }
}

#[test]
fn a_login_needs_a_server() {
    assert_says(&Place::new().ckrv(&LOGIN), 2, &["no control plane to sign in to", "hint: say --server URL"]);
}

#[test]
fn a_login_does_not_go_where_others_read_along() {
    let server = [("CKRV_SERVER", "http://ckrv.example")];
    assert_says(&Place::new().ckrv_with(&LOGIN, &server), 2, &["clear text"]);
}

#[test]
fn a_login_at_a_server_that_is_not_there_is_7_and_leaves_nothing() {
    let place = Place::new();
    let run = place.ckrv_with(&LOGIN, &[("CKRV_SERVER", "http://127.0.0.1:1"), ("CKRV_RETRY_LIMIT", "0s")]);
    assert_says(&run, 7, &["cannot reach http://127.0.0.1:1"]);
    assert!(!place.home().exists(), "a failed login made files");
}

#[test]
fn the_profile_of_the_embedded_control_plane_is_not_signed_in_by_hand() {
    let arguments = ["cloud", "login", "--server", "https://ckrv.example", "--name", "dev"];
    assert_says(&Place::new().ckrv(&arguments), 2, &["the profile `dev`", "choose another --name"]);
}

#[test]
fn a_profile_of_another_server_is_not_taken_over() {
    let place = Place::new();
    std::fs::create_dir_all(place.home().join("profiles")).unwrap();
    std::fs::write(place.home().join("profiles/work.json"), r#"{"server":"https://a.example/"}"#).unwrap();
    let arguments = ["cloud", "login", "--server", "https://b.example", "--name", "work"];
    assert_says(&place.ckrv(&arguments), 2, &["the profile `work` is for https://a.example/"]);
}

#[test]
fn what_is_no_api_key_is_not_sent_anywhere() {
    let place = Place::new();
    let arguments = ["cloud", "login", "--server", "http://127.0.0.1:1", "--with-token"];
    for stdin in ["", "hunter2", "ck_live_x"] {
        let run = with_stdin(&place, &arguments, stdin);
        assert_says(&run, 2, &["is not an API key"]);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    }
}

#[test]
fn a_profile_that_is_signed_out_says_so_and_how_to_sign_in() {
    let place = Place::new();
    std::fs::create_dir_all(place.home().join("profiles")).unwrap();
    std::fs::write(place.home().join("profiles/work.json"), r#"{"server":"https://a.example/"}"#).unwrap();
    for command in [&["list", "--profile", "work"][..], &["cloud", "whoami", "--profile", "work"]] {
        let words = ["profile `work` is not signed in", "hint: `ckrv cloud login --profile work`"];
        assert_says(&place.ckrv(command), 4, &words);
    }
    let run = place.ckrv(&["cloud", "logout", "--profile", "work"]);
    assert_says(&run, 0, &["profile `work` is signed out already"]);
    assert!(place.ckrv(&["profile", "list"]).stdout.contains("signed out"));
}

#[test]
fn a_profile_shows_and_takes_an_organization_and_a_project() {
    let place = Place::new();
    std::fs::create_dir_all(place.home().join("profiles")).unwrap();
    std::fs::write(place.home().join("profiles/work.json"), r#"{"server":"https://a.example/"}"#).unwrap();
    assert_eq!(place.ckrv(&["profile", "use", "work"]).code, 0);
    assert_eq!(place.ckrv(&["profile", "org", "-o", "json"]).stdout, "null\n");
    assert_says(&place.ckrv(&["profile", "org", "acme"]), 0, &["profile `work` has the organization acme"]);
    assert_eq!(place.ckrv(&["profile", "org"]).stdout, "acme\n");
    let project = "prj-01k9zj3m5r8w2t6y4x0v7q1n5d";
    assert_says(&place.ckrv(&["profile", "project", project]), 0, &[project]);
    let listed = place.ckrv(&["profile", "list", "-o", "json"]).stdout;
    assert!(listed.contains(r#""org":"acme","project":"prj-"#), "{listed}");
    // Another's name has to be looked up, by somebody who is signed in.
    assert_says(&place.ckrv(&["profile", "project", "website"]), 4, &["is not signed in"]);
    assert_says(&place.ckrv(&["profile", "org", "a b"]), 2, &["cannot be an organization's name"]);
    // Another organization has other projects.
    assert_eq!(place.ckrv(&["profile", "org", "other"]).code, 0);
    assert_eq!(place.ckrv(&["profile", "project", "-o", "json"]).stdout, "null\n");
    assert_says(&place.ckrv(&["profile", "org", "--unset"]), 0, &["no organization of its own"]);
    assert_eq!(place.ckrv(&["profile", "org", "-o", "json"]).stdout, "null\n");
}
