//! The streams: colours only where wanted, and readers that go away.

use std::io::Read as _;
use std::process::Stdio;

use crate::program::Place;

#[test]
fn colours_come_only_when_asked_for_where_there_is_no_terminal() {
    let place = Place::new();
    assert!(!place.ckrv(&["list"]).stderr.contains('\x1b'));
    assert!(place.ckrv(&["list", "--color", "always"]).stderr.contains("\x1b["));
    assert!(place.ckrv_with(&["list"], &[("CLICOLOR_FORCE", "1")]).stderr.contains("\x1b["));
    let both = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    assert!(!place.ckrv_with(&["list"], &both).stderr.contains('\x1b'));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let place = Place::new();
    let mut child =
        place.command(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_wrong_switch_in_the_environment_is_named() {
    let run = Place::new().ckrv_with(&["list"], &[("CKRV_ALLOW_PLAIN_HTTP", "perhaps")]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("perhaps"), "{}", run.stderr);
    assert_eq!(Place::new().ckrv_with(&["list"], &[("CKRV_ALLOW_PLAIN_HTTP", "yes")]).code, 4);
}
