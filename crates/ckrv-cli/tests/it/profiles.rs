//! Profiles from the outside.

use std::io::Write as _;
use std::process::Stdio;

use ckrv_types::token::{SECRET_BYTES, TokenKind, compose};

use crate::program::Place;

fn token() -> String {
    compose(TokenKind::Live, "01k9zj3m5r8w2t6y4x0v7q1n5d", &[7; SECRET_BYTES])
}

fn set(place: &Place, name: &str, server: &str, stdin: &str) -> std::process::Output {
    set_with(place, &["profile", "set", name, server], stdin)
}

fn set_with(place: &Place, arguments: &[&str], stdin: &str) -> std::process::Output {
    let mut child =
        place.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A place with a key that credentials are encrypted with.
fn place() -> Place {
    let place = Place::new();
    place.key_file(&"5a".repeat(32));
    place
}

#[test]
fn a_profile_is_set_chosen_shown_and_removed_and_its_token_never_shown() {
    let place = place();
    assert!(set(&place, "work", "http://127.0.0.1:1", &format!("{}\n", token())).status.success());
    assert!(place.ckrv(&["profile", "use", "work"]).code == 0);
    let list = place.ckrv(&["profile", "list", "-o", "json"]).stdout;
    assert_eq!(
        list,
        "{\"items\":[{\"name\":\"work\",\"server\":\"http://127.0.0.1:1/\",\"in_use\":true,\"signed_in\":\"key\"}]}\n"
    );
    for format in ["table", "yaml", "name"] {
        let run = place.ckrv(&["profile", "list", "-o", format]);
        assert!(run.stdout.contains("work") && !run.stdout.contains(&token()), "{run:?}");
    }
    assert_eq!(place.ckrv(&["list", "--retry-limit", "0s"]).code, 7, "the profile is not used");
    assert_eq!(place.ckrv(&["profile", "remove", "work"]).code, 0);
    assert_eq!(place.ckrv(&["list"]).code, 4);
    assert!(!place.home().join("credentials/work").exists());
}

#[test]
fn the_key_of_a_profile_is_kept_encrypted_unless_it_is_said_otherwise() {
    let place = place();
    let kept = |name: &str| {
        let read = |folder: &str| std::fs::read_to_string(place.home().join(folder)).unwrap();
        read(&format!("profiles/{name}.json")) + &read(&format!("credentials/{name}"))
    };
    assert!(set(&place, "work", "http://127.0.0.1:1", &token()).status.success());
    assert!(!kept("work").contains("ck_live_"), "{}", kept("work"));
    let arguments = ["profile", "set", "open", "http://127.0.0.1:1", "--insecure-storage"];
    let output = set_with(&place, &arguments, &token());
    assert!(String::from_utf8(output.stderr).unwrap().contains("kept in plain text"));
    assert!(kept("open").contains(&token()));
    assert_eq!(place.ckrv(&["list", "--profile", "open", "--retry-limit", "0s"]).code, 7, "the key is not used");
}

#[test]
fn a_profile_that_is_set_anew_for_another_server_has_the_new_key_there() {
    let place = place();
    set(&place, "work", "http://127.0.0.1:1", &token());
    set(&place, "work", "http://127.0.0.1:2", &token());
    let run = place.ckrv(&["list", "--profile", "work", "--retry-limit", "0s"]);
    assert_eq!(run.code, 7, "{run:?}");
    assert!(run.stderr.contains("http://127.0.0.1:2"), "{}", run.stderr);
}

#[test]
fn a_key_of_keys_that_is_none_is_refused_with_the_way_to_make_one() {
    let place = Place::new();
    let say = |words: &[&str]| {
        let output = set(&place, "work", "http://127.0.0.1:1", &token());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "{said}");
        }
    };
    let path = place.key_file("hunter2");
    say(&["is no key: 64 hex digits", "openssl rand -hex 32"]);
    std::fs::remove_file(&path).unwrap();
    say(&["cannot read the key in", "openssl rand -hex 32 > ", path.to_str().unwrap()]);
    assert!(!place.home().exists(), "a failure made files");
}

#[test]
fn a_profiles_token_goes_to_no_other_server() {
    let place = place();
    set(&place, "work", "http://127.0.0.1:1", &token());
    let run = place.ckrv(&["list", "--profile", "work", "--server", "http://127.0.0.1:2", "--retry-limit", "0s"]);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.stderr.contains("another server's"), "{}", run.stderr);
}

#[test]
fn what_is_no_token_or_must_not_get_one_is_refused() {
    let place = Place::new();
    let wrong = token().replace("0707", "0708");
    for (server, stdin, word) in [
        ("https://a.example", "", "not an API key"),
        ("https://a.example", wrong.as_str(), "not an API key"),
        ("http://a.example", token().as_str(), "clear text"),
        ("ftp://a.example", token().as_str(), "not the address"),
    ] {
        let output = set(&place, "work", server, stdin);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{said}");
    }
    assert!(!place.home().join("profiles").exists());
}

#[test]
fn a_token_file_will_do() {
    let place = Place::new();
    let file = place.path().join("token");
    std::fs::write(&file, "ck_live_x\n").unwrap();
    let variables = [
        ("CKRV_SERVER", "http://127.0.0.1:1"),
        ("CKRV_TOKEN_FILE", file.to_str().unwrap()),
        ("CKRV_RETRY_LIMIT", "0s"),
    ];
    assert_eq!(place.ckrv_with(&["list"], &variables).code, 7);
}
