//! Signing out.

use super::Desk;

/// Whether the one login is revoked.
async fn is_revoked(desk: &Desk) -> bool {
    let mut db = desk.db().await;
    sqlx::query_scalar("select revoked_at is not null from logins").fetch_one(&mut db).await.unwrap()
}

#[tokio::test]
async fn signing_out_ends_the_login_at_the_server_and_forgets_it() {
    let desk = Desk::new().await;
    desk.login(&[]).await;
    assert!(!is_revoked(&desk).await);
    desk.says(&["cloud", "logout"]).await.exits(0).tells(&["profile `default` is signed out"]);
    assert!(is_revoked(&desk).await);
    assert!(!desk.credentials().exists());
    desk.says(&["list"]).await.exits(4).tells(&["profile `default` is not signed in"]);
    desk.says(&["cloud", "logout"]).await.exits(0).tells(&["signed out already"]);
    desk.login(&[]).await;
    desk.says(&["list"]).await.exits(0);
}

#[tokio::test]
async fn without_the_server_it_is_forgotten_all_the_same_and_the_user_is_told() {
    let mut desk = Desk::new().await;
    desk.login(&[]).await;
    desk.stack.kill_server().await;
    let said = desk.says(&["cloud", "logout", "--retry-limit", "0s"]).await.exits(7);
    said.tells(&["is signed out", "the server has not been told", "cause: cannot reach", "hint: revoke it on"]);
    assert!(!desk.credentials().exists());
    desk.stack.start_server().await;
    assert!(!is_revoked(&desk).await);
    desk.says(&["list"]).await.exits(4);
}

#[tokio::test]
async fn what_cannot_be_opened_any_more_can_be_forgotten() {
    let mut desk = Desk::new().await;
    desk.login(&[]).await;
    desk.variables.clear();
    desk.says(&["cloud", "logout"]).await.exits(4).tells(&["its key is in a file of yours", "revoke it on"]);
    assert!(!desk.credentials().exists());
}

#[tokio::test]
async fn removing_a_profile_forgets_its_login_and_says_that_it_is_still_good() {
    let desk = Desk::new().await;
    desk.login(&[]).await;
    desk.says(&["profile", "remove", "default"]).await.exits(0).tells(&["not ended at the server"]);
    assert!(!desk.credentials().exists());
    assert!(!is_revoked(&desk).await);
}
