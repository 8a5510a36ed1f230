//! Where a login is kept.

use std::process::Stdio;

use tokio::process::Command;

use super::{Desk, LOGIN};
use ckrv_tests::cli::Said;
use ckrv_tests::terminal::Terminal;

#[tokio::test]
async fn without_a_keyring_the_ways_are_named_before_anybody_is_bothered() {
    let desk = Desk::bare().await;
    let said = desk.end(desk.begin(&[])).await.exits(1);
    said.tells(&["there is no keyring", "CKRV_KEY_FILE", "CKRV_PASSPHRASE_FILE", "--insecure-storage", "CKRV_TOKEN"]);
    let mut db = desk.db().await;
    let asked: i64 = sqlx::query_scalar("select count(*) from device_codes").fetch_one(&mut db).await.unwrap();
    assert_eq!(asked, 0);
    assert!(!desk.credentials().exists());
}

#[tokio::test]
async fn an_encrypted_file_holds_no_token_and_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new().await;
    desk.login(&[]).await;
    let kept = desk.kept();
    assert!(!kept.contains("ck_refresh") && !kept.contains("eyJ"), "{kept}");
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(desk.credentials()), 0o600);
    assert_eq!(mode(desk.credentials().parent().unwrap().to_owned()), 0o700);
    for entry in ["profiles/default.json", "profile"] {
        let text = std::fs::read_to_string(desk.home.path().join("ckrv").join(entry)).unwrap();
        assert!(!text.contains("ck_") && !text.contains("eyJ"), "{entry}: {text}");
    }
}

#[tokio::test]
async fn a_passphrase_opens_a_login() {
    let mut desk = Desk::bare().await;
    let path = desk.file("passphrase", "correct horse\n");
    desk.variables.push(("CKRV_PASSPHRASE_FILE", path));
    desk.login(&[]).await;
    desk.says(&["list"]).await.exits(0);
    assert!(desk.says(&["cloud", "whoami"]).await.exits(0).out.contains("encrypted with your passphrase"));
    desk.file("passphrase", "wrong horse\n");
    desk.says(&["list"]).await.exits(4).tells(&["cannot decrypt"]);
    desk.variables.clear();
    desk.says(&["list"]).await.exits(4).tells(&["CKRV_PASSPHRASE_FILE"]);
}

/// A session of its own with an unlocked keyring: what a desktop has, without one.
const SESSION: &str =
    "echo keyring-password | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1 && exec \"$@\"";

/// Such a session takes programs that not every machine has.
fn needs_keyring() {
    let search = std::env::var_os("PATH").unwrap();
    let is_there = |program: &str| std::env::split_paths(&search).any(|folder| folder.join(program).is_file());
    let missing: Vec<_> = ["dbus-run-session", "dbus-send", "gnome-keyring-daemon"]
        .into_iter()
        .filter(|program| !is_there(program))
        .collect();
    assert!(missing.is_empty(), "{missing:?} missing: `scripts/needs keyring` installs them, as `make test` does");
}

/// A shell script where there is a keyring. `CKRV` and `SERVER` are set.
fn session(desk: &Desk, script: &str) -> Command {
    let mut command = Command::new("dbus-run-session");
    command.args(["--", "sh", "-c", SESSION, "sh", "sh", "-euc", script]).env_clear().current_dir(desk.home.path());
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", desk.home.path());
    command.env("XDG_RUNTIME_DIR", desk.home.path()).env("CKRV_HOME", desk.home.path().join("ckrv"));
    command.env("CKRV", ckrv_tests::stack::program("ckrv")).env("SERVER", desk.stack.server_url());
    command
}

/// Runs a shell script where there is a keyring.
async fn in_session(desk: &Desk, script: &str) -> Said {
    let mut command = session(desk, script);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    let output = tokio::time::timeout(2 * LOGIN, child.wait_with_output()).await.expect("it ends").unwrap();
    Said::by("sh", &[script], output)
}

#[tokio::test]
async fn the_secret_service_keeps_the_key_of_a_login() {
    needs_keyring();
    let desk = Desk::bare().await;
    let script = "$CKRV cloud login --server $SERVER; $CKRV list; $CKRV cloud whoami; cp $CKRV_HOME/credentials/default kept; \
                  $CKRV cloud logout; if $CKRV list; then exit 9; else test $? = 4; fi; cp kept $CKRV_HOME/credentials/default; \
                  if $CKRV list; then exit 9; else test $? = 4; fi";
    let (said, ()) = tokio::join!(in_session(&desk, script), desk.decide("approved"));
    let said = said.exits(0).prints(&["encrypted; the key is in the system's keyring", "Ada"]);
    // The key was forgotten with the login.
    said.tells(&["has no key named `default at http://127.0.0.1"]);
    let kept = std::fs::read_to_string(desk.home.path().join("kept")).unwrap();
    assert!(kept.contains(r#""in":"keyring""#) && !kept.contains("ck_refresh") && !kept.contains("eyJ"), "{kept}");
}

/// Shell: the keyring of the session stands still. It keeps its name on the bus, and answers nothing.
const SILENCE: &str = "bus='dbus-send --session --print-reply=literal --dest=org.freedesktop.DBus / org.freedesktop.DBus'; \
                       until pid=$($bus.GetConnectionUnixProcessID string:org.freedesktop.secrets); do sleep 0.1; done; \
                       keyring=${pid##* }; kill -STOP $keyring; trap 'kill -CONT $keyring' EXIT; ";
const SILENT: &str = "it has not answered within 3s; is it locked?";

#[tokio::test]
async fn a_keyring_that_does_not_answer_is_given_up_and_the_ways_without_it_are_named() {
    needs_keyring();
    let desk = Desk::bare().await;
    let script = format!(
        "$CKRV cloud login --server $SERVER; {SILENCE} \
         if $CKRV list; then exit 9; else test $? = 4; fi; \
         if $CKRV cloud login --server $SERVER --name other; then exit 9; else test $? = 1; fi; \
         kill -CONT $keyring; $CKRV list"
    );
    let (said, ()) = tokio::join!(in_session(&desk, &script), desk.decide("approved"));
    let said =
        said.exits(0).tells(&["its key is in the system's keyring", "there is no keyring", "unlock the keyring"]);
    let said = said.tells(&["CKRV_KEY_FILE", "CKRV_PASSPHRASE_FILE", "--insecure-storage", "CKRV_TOKEN"]);
    assert_eq!(said.err.matches(SILENT).count(), 2, "{said}");
}

#[tokio::test]
async fn a_passphrase_is_asked_for_at_a_terminal_when_the_keyring_does_not_answer() {
    needs_keyring();
    if !Terminal::is_to_be_had() {
        return;
    }
    let mut desk = Desk::bare().await;
    let script = format!("{SILENCE} $CKRV cloud login --server $SERVER");
    let mut terminal = Terminal::run(&session(&desk, &script), 2 * LOGIN).await;
    for question in ["A passphrase to encrypt the login with: ", "The same again: "] {
        terminal.shows(question).await;
        terminal.hides_what_is_typed().await;
        terminal.types("correct horse\r").await;
    }
    desk.decide("approved").await;
    let said = terminal.ends(&["cloud", "login"]).await.exits(0).prints(&[SILENT, "signed in to"]);
    assert!(!said.out.contains("correct horse"), "{said}");
    // From now on without the keyring.
    let path = desk.file("passphrase", "correct horse");
    desk.variables.push(("CKRV_PASSPHRASE_FILE", path));
    desk.says(&["list"]).await.exits(0);
}
