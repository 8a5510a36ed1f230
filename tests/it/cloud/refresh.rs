//! Tokens that are renewed, by as many processes as there are.

use super::Desk;

/// More than cores, connections and patience.
const MANY: usize = 20;

async fn signed_in() -> Desk {
    let desk = Desk::bare().await;
    desk.login(&["--insecure-storage"]).await.tells(&["warning: it will be kept in plain text"]);
    desk
}

async fn all_list(desk: &Desk) {
    let mut children = Vec::new();
    for _ in 0..MANY {
        let mut command = desk.command(&["list"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        children.push(command.spawn().unwrap());
    }
    for child in children {
        desk.end(child).await.exits(0);
    }
}

#[tokio::test]
async fn of_many_processes_with_an_expired_token_one_renews_it_and_all_succeed() {
    let desk = signed_in().await;
    assert_eq!(desk.refresh_tokens().await, (1, 1));
    desk.expire();
    all_list(&desk).await;
    assert_eq!(desk.refresh_tokens().await, (2, 2));
    all_list(&desk).await;
    assert_eq!(desk.refresh_tokens().await, (2, 2), "a good token is used as it is");
}

#[tokio::test]
async fn a_token_that_the_server_refuses_is_renewed_by_one_of_many_too() {
    let desk = signed_in().await;
    desk.edit(|kept| kept["access"] = "eyJub25zZW5zZSI6MX0.e30.x".into());
    all_list(&desk).await;
    assert_eq!(desk.refresh_tokens().await, (2, 2));
}

#[tokio::test]
async fn a_good_token_needs_no_lock() {
    let desk = signed_in().await;
    let lock = std::fs::File::open(desk.credentials().with_extension("lock")).unwrap();
    lock.lock().unwrap();
    desk.says(&["list"]).await.exits(0);
}

#[tokio::test]
async fn what_is_renewed_stays_encrypted_and_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new().await;
    desk.login(&[]).await;
    let first = desk.kept();
    // The server forgets what it signs with: every access token of before is refused.
    let mut db = desk.db().await;
    sqlx::query("delete from signing_keys").execute(&mut db).await.unwrap();
    let mut desk = desk;
    desk.stack.kill_server().await;
    desk.stack.start_server().await;
    desk.says(&["list"]).await.exits(0);
    assert_eq!(desk.refresh_tokens().await, (2, 2));
    let kept = desk.kept();
    assert_ne!(kept, first);
    assert!(!kept.contains("eyJ") && !kept.contains("ck_refresh"), "{kept}");
    let mode = std::fs::metadata(desk.credentials()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_login_that_was_revoked_says_so_and_how_to_sign_in() {
    let desk = signed_in().await;
    let mut db = desk.db().await;
    sqlx::query("update logins set revoked_at = now(), revoked_for = 'user'").execute(&mut db).await.unwrap();
    desk.expire();
    let words = ["the login of profile `default` is over", "hint: `ckrv cloud login --profile default`"];
    desk.says(&["list"]).await.exits(4).tells(&words);
}

#[tokio::test]
async fn a_server_that_is_away_costs_no_login() {
    let mut desk = signed_in().await;
    desk.expire();
    desk.stack.kill_server().await;
    desk.says(&["list", "--retry-limit", "0s"]).await.exits(7).tells(&["cannot reach"]);
    desk.stack.start_server().await;
    desk.says(&["list"]).await.exits(0);
    assert_eq!(desk.refresh_tokens().await, (2, 2));
}
