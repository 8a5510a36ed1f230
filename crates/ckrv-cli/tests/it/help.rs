//! Help as users read it. A change here is a change of the command line: look twice, then accept it.

use crate::program::Place;

#[test]
fn the_help_of_every_command_is_as_it_was() {
    let place = Place::new();
    for command in [
        "",
        "dev",
        "cloud",
        "cloud login",
        "cloud logout",
        "cloud whoami",
        "cloud credentials",
        "cloud credentials add",
        "run",
        "list",
        "status",
        "logs",
        "pull",
        "cancel",
        "retry",
        "explain",
        "org",
        "org invite",
        "org join",
        "project",
        "project set",
        "key",
        "key create",
        "key rotate",
        "service-account",
        "service-account create",
        "runner",
        "usage",
        "audit",
        "audit list",
        "audit export",
        "profile",
        "profile set",
        "profile org",
        "profile project",
        "completions",
        "man",
    ] {
        let arguments: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).chain(["-h"]).collect();
        let run = place.ckrv(&arguments);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{command}");
        let name = format!("ckrv {command}").trim_end().replace(' ', "-");
        insta::assert_snapshot!(name, run.stdout);
    }
}

#[test]
fn the_name_alone_shows_what_there_is() {
    let place = Place::new();
    assert_eq!(place.ckrv(&[]).stdout, place.ckrv(&["-h"]).stdout);
}

#[test]
fn values_of_variables_are_not_shown() {
    let run = Place::new()
        .ckrv_with(&["list", "--help"], &[("CKRV_TOKEN", "ck_live_x"), ("CKRV_SERVER", "https://h.example")]);
    assert!(run.stdout.contains("CKRV_SERVER"));
    assert!(!run.stdout.contains("ck_live_x") && !run.stdout.contains("h.example"), "{}", run.stdout);
}
