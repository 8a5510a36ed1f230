//! `ckrv-server admin create-user`.

use std::process::{Output, Stdio};

use ckrv_tests::browser::Browser;
use ckrv_tests::stack::program;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Site;

async fn create_user(site: &Site, arguments: &[&str], password: &str) -> Output {
    let mut command = Command::new(program("ckrv-server"));
    command
        .args(["admin", "create-user"])
        .args(arguments)
        .env("CKRV_DATABASE_URL", site.on.urls().app.expose())
        .env("CKRV_SYSTEM_DATABASE_URL", site.on.urls().system.expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(password.as_bytes()).await;
    child.wait_with_output().await.unwrap()
}

#[tokio::test]
async fn an_administrator_makes_somebody_who_can_sign_in() {
    let site = Site::new().await;
    let arguments = ["--login", "ada", "--name", "Ada Lovelace", "--org", "tests", "--role", "admin"];
    let made = create_user(&site, &arguments, "correct horse battery\n").await;
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(said.starts_with("user: usr-") && said.lines().count() == 1, "{said}");
    let mut browser = Browser::new();
    let page = site.sign_in(&mut browser, "ada", "correct horse battery").await;
    assert!(page.texts("main").join("").contains("signed in as Ada Lovelace, admin of tests"), "{}", page.text);
    assert_eq!(site.audited("user.created").await, 1);
}

#[tokio::test]
async fn what_cannot_be_made_is_not_made_in_part_and_says_why() {
    let site = Site::new().await;
    site.user("taken").await;
    let good = "correct horse battery";
    for (login, org, role, password, why) in [
        ("ada", "tests", "admin", "eleven char", "a password has at least 12 characters"),
        ("ada", "tests", "admin", "", "a password has at least 12 characters"),
        ("Ada", "tests", "admin", good, "`Ada` cannot be a login name"),
        ("taken", "tests", "admin", good, "the login name `taken` is taken"),
        ("ada", "nowhere", "admin", good, "there is no organization `nowhere`"),
        ("ada", "tests", "king", good, "there is no such role"),
    ] {
        let output = create_user(&site, &["--login", login, "--org", org, "--role", role], password).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "{said}");
        assert!(password.is_empty() || !said.contains(password), "{said}");
    }
    let people: i64 =
        sqlx::query_scalar("select count(*) from users").fetch_one(&mut site.on.sql().await).await.unwrap();
    assert_eq!(people, 1);
}
