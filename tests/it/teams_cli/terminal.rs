//! What only happens at a terminal: questions, and secrets that are typed. The terminal is `script`'s.

use std::process::Stdio;

use ckrv_tests::cli::Said;
use ckrv_tests::stack::{JOB, program};
use ckrv_types::Page;
use ckrv_types::identity::{ApiKey, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::{Person, Team};

/// Whether this machine has a terminal for programs.
#[expect(clippy::print_stdout, reason = "why a test is skipped")]
fn has_terminal() -> bool {
    let search = std::env::var_os("PATH").unwrap();
    let is_there = std::env::split_paths(&search).any(|folder| folder.join("script").is_file());
    if !is_there {
        println!("skipped: script is not installed (apt-get install bsdutils)");
    }
    is_there
}

/// Types `answer` when `question` is asked; what the terminal showed.
async fn typed(person: &Person, arguments: &[&str], question: &str, answer: &str) -> Said {
    let line = format!("{} {}", program("ckrv").display(), arguments.join(" "));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    // The same surroundings as everywhere else.
    for (name, value) in Team::command(person, &[]).as_std().get_envs() {
        command.env(name, value.unwrap());
    }
    command.current_dir(&person.home).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = String::new();
    let session = async {
        while !shown.contains(question) {
            let mut bytes = [0; 1024];
            let count = screen.read(&mut bytes).await.unwrap();
            assert!(count > 0, "`{question}` is not asked: {shown}");
            shown.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        // Who has said their last word does not listen.
        let _ = keyboard.write_all(format!("{answer}\r").as_bytes()).await;
        screen.read_to_string(&mut shown).await.unwrap();
        child.wait().await.unwrap()
    };
    let status = tokio::time::timeout(JOB, session).await.expect("it ends");
    Said::new(arguments, std::process::Output { status, stdout: shown.into_bytes(), stderr: Vec::new() })
}

async fn revoked(team: &Team, person: &Person) -> bool {
    let keys: Page<ApiKey> = team.says(person, &["key", "list", "-o", "json"]).await.exits(0).json();
    keys.items.iter().any(|key| key.name == "laptop" && key.revoked_at.is_some())
}

#[tokio::test]
async fn what_cannot_be_undone_is_asked_about() {
    if !has_terminal() {
        return;
    }
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    team.says(&ada, &["key", "create", "laptop"]).await.exits(0);
    let revoke = ["key", "revoke", "laptop"];
    for answer in ["", "n", "no", "perhaps"] {
        typed(&ada, &revoke, "[y/N]", answer).await.exits(1).prints(&["nothing was done", "--yes"]);
    }
    assert!(!revoked(&team, &ada).await);
    typed(&ada, &revoke, "[y/N]", "yes").await.exits(0).prints(&["Revoke the key laptop (key-", "is revoked"]);
    assert!(revoked(&team, &ada).await);
}

#[tokio::test]
async fn a_secret_that_is_typed_is_not_shown() {
    if !has_terminal() {
        return;
    }
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    let key = team.says(&ada, &["key", "create", "laptop"]).await.exits(0).out.trim().to_owned();
    let set = ["profile", "set", "other", &team.stack.server_url()];
    let said = typed(&ada, &set, "API key: ", &key).await.exits(0).prints(&["profile `other` is written"]);
    assert!(!said.out.contains(&key), "{said}");
    team.says(&ada, &["list", "--profile", "other"]).await.exits(0);
    let deploy = ["cloud", "credentials", "add", "x", "--kind", "deploy-key", "--host", "h", "--known-hosts", "key"];
    typed(&ada, &deploy, "cannot be typed", "").await.exits(2);
}
