//! What only happens at a terminal: questions, and secrets that are typed.

use ckrv_tests::cli::Said;
use ckrv_tests::stack::JOB;
use ckrv_tests::terminal::Terminal;
use ckrv_types::Page;
use ckrv_types::identity::{ApiKey, Role};

use super::{Person, Team};

/// Types `answer` when `question` is asked; what the terminal showed.
async fn typed(person: &Person, arguments: &[&str], question: &str, answer: &str) -> Said {
    let mut terminal = Terminal::run(&Team::command(person, arguments), JOB).await;
    terminal.shows(question).await;
    terminal.types(&format!("{answer}\r")).await;
    terminal.ends(arguments).await
}

/// The same with what nobody is to see.
async fn typed_secretly(person: &Person, arguments: &[&str], question: &str, secret: &str) -> Said {
    let mut terminal = Terminal::run(&Team::command(person, arguments), JOB).await;
    terminal.shows(question).await;
    terminal.hides_what_is_typed().await;
    terminal.types(&format!("{secret}\r")).await;
    terminal.ends(arguments).await
}

async fn revoked(team: &Team, person: &Person) -> bool {
    let keys: Page<ApiKey> = team.says(person, &["key", "list", "-o", "json"]).await.exits(0).json();
    keys.items.iter().any(|key| key.name == "laptop" && key.revoked_at.is_some())
}

#[tokio::test]
async fn what_cannot_be_undone_is_asked_about() {
    if !Terminal::is_to_be_had() {
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
    if !Terminal::is_to_be_had() {
        return;
    }
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    let key = team.says(&ada, &["key", "create", "laptop"]).await.exits(0).out.trim().to_owned();
    let set = ["profile", "set", "other", &team.stack.server_url()];
    let said = typed_secretly(&ada, &set, "API key: ", &key).await.exits(0).prints(&["profile `other` is written"]);
    assert!(!said.out.contains(&key), "{said}");
    team.says(&ada, &["list", "--profile", "other"]).await.exits(0);
    let deploy = ["cloud", "credentials", "add", "x", "--kind", "deploy-key", "--host", "h", "--known-hosts", "key"];
    typed(&ada, &deploy, "cannot be typed", "").await.exits(2);
}
