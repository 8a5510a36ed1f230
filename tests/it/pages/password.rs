//! Changing one's password.

use std::time::Duration;

use ckrv_tests::browser::Browser;
use ckrv_tests::wait::wait_for;
use ckrv_types::limits;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{PASSWORD, Site};

const NEW: &str = "another battery staple";

/// Fills in the page and sends it.
async fn change(
    site: &Site,
    browser: &mut Browser,
    current: &str,
    new: &str,
    again: &str,
) -> ckrv_tests::browser::Page {
    let form = browser.open(site.url("/account/password")).await.form("/account/password");
    browser.submit(form.fill("current", current).fill("new", new).fill("again", again)).await
}

#[tokio::test]
async fn who_knows_their_password_changes_it_and_is_signed_out_everywhere_else() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("bob").await;
    let (mut here, mut there, mut bob) =
        (site.browser_of("ada").await, site.browser_of("ada").await, site.browser_of("bob").await);
    let tokens = site.let_in(&mut there, "laptop").await;
    let page = change(&site, &mut here, PASSWORD, NEW, NEW).await;
    assert_eq!((page.url.path(), page.status), ("/account", StatusCode::OK), "{}", page.text);
    assert!(page.texts("[role=status]")[0].starts_with("The password is changed"));
    assert_eq!(there.open(site.url("/account")).await.url.path(), "/login");
    assert_eq!(bob.open(site.url("/account")).await.url.path(), "/account");
    let bearer =
        reqwest::Client::new().get(site.url("/v1/whoami")).bearer_auth(tokens["access_token"].as_str().unwrap());
    assert_eq!(bearer.send().await.unwrap().status(), StatusCode::OK, "programs go on, as the page says");

    let page = site.sign_in(&mut there, "ada", PASSWORD).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let page = site.sign_in(&mut there, "ada", NEW).await;
    assert_eq!(page.url.path(), "/account");
    let told: Value = sqlx::query_scalar("select detail from audit_log where action = 'password.changed'")
        .fetch_one(&mut site.on.sql().await)
        .await
        .unwrap();
    assert_eq!(told, json!({ "sessions_ended": 1 }));
}

#[tokio::test]
async fn what_is_wrong_is_said_where_it_is_and_changes_nothing() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    for (current, new, again, status, alert, field) in [
        ("not it at all", NEW, NEW, StatusCode::FORBIDDEN, "This is not your password.", "current"),
        (
            PASSWORD,
            "eleven char",
            "eleven char",
            StatusCode::UNPROCESSABLE_ENTITY,
            "A password has at least 12 characters.",
            "new",
        ),
        (
            PASSWORD,
            NEW,
            PASSWORD,
            StatusCode::UNPROCESSABLE_ENTITY,
            "The new password was not the same both times.",
            "again",
        ),
    ] {
        let page = change(&site, &mut browser, current, new, again).await;
        assert_eq!((page.status, page.alert().as_deref()), (status, Some(alert)), "{}", page.text);
        assert_eq!(page.texts("title"), ["Error: Change your password · ckrv"]);
        let html = page.html();
        let wrong: Vec<_> = html.select(&ckrv_tests::browser::css("[aria-invalid]")).map(|e| e.attr("name")).collect();
        assert_eq!(wrong, [Some(field)]);
        assert!(!page.text.contains(NEW) && !page.text.contains(PASSWORD), "no password comes back");
    }
    assert_eq!((site.audited("password.refused").await, site.audited("password.changed").await), (1, 0));
    assert_eq!(site.sign_in(&mut Browser::new(), "ada", PASSWORD).await.url.path(), "/account");
}

#[tokio::test]
async fn a_session_that_was_stolen_guesses_no_more_often_than_a_stranger() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    for number in 0..limits::SIGN_IN_FAILURES_LOGIN {
        let page = change(&site, &mut browser, "guess after guess", NEW, NEW).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{number}");
    }
    let page = change(&site, &mut browser, PASSWORD, NEW, NEW).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS, "the right one is not told from a wrong one");
    assert!(!page.header("retry-after").is_empty());
}

#[tokio::test]
async fn the_form_of_another_session_changes_nothing() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("bob").await;
    let (mut ada, mut bob) = (site.browser_of("ada").await, site.browser_of("bob").await);
    let form = bob.open(site.url("/account/password")).await.form("/account/password");
    let form = form.fill("current", PASSWORD).fill("new", NEW).fill("again", NEW);
    assert_eq!(ada.submit(form).await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.audited("password.changed").await, 0);
}

/// Does `act` while another transaction holds what `held` locks, which it changes by `change` once `act` waits for it.
async fn meanwhile<T>(site: &Site, held: &str, change: &str, act: impl Future<Output = T>) -> T {
    use sqlx::Connection as _;
    let mut sql = site.on.sql().await;
    let mut tx = sql.begin().await.unwrap();
    sqlx::query(AssertSqlSafe(held.to_owned())).execute(&mut *tx).await.unwrap();
    let change = async {
        wait_for("it waits", Duration::from_secs(20), async || is_waited(site).await.then_some(())).await;
        sqlx::query(AssertSqlSafe(change.to_owned())).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    tokio::join!(act, change).0
}

async fn is_waited(site: &Site) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')",
    )
    .fetch_one(&mut site.on.sql().await)
    .await
    .unwrap()
}

const OTHER: &str = "update local_accounts set password_hash = 'changed'";

#[tokio::test]
async fn no_session_begins_behind_a_change_of_the_password() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = Browser::new();
    let held = "select from local_accounts for update";
    let page = meanwhile(&site, held, OTHER, site.sign_in(&mut browser, "ada", PASSWORD)).await;
    assert_eq!((page.status, browser.cookie("ckrv-session")), (StatusCode::FORBIDDEN, None), "{}", page.text);
}

#[tokio::test]
async fn who_was_signed_out_meanwhile_changes_no_password_nor_does_who_knows_one_that_was_changed() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    let (held, end) = ("select from web_sessions for update", "update web_sessions set revoked_at = now()");
    let page = meanwhile(&site, held, end, change(&site, &mut browser, PASSWORD, NEW, NEW)).await;
    assert_eq!(page.url.path(), "/login", "{}", page.text);

    let mut browser = site.browser_of("ada").await;
    let held = "select from local_accounts for update";
    let page = meanwhile(&site, held, OTHER, change(&site, &mut browser, PASSWORD, NEW, NEW)).await;
    assert_eq!((page.status, page.alert().as_deref()), (StatusCode::FORBIDDEN, Some("This is not your password.")));
    let hash: String = sqlx::query_scalar("select password_hash from local_accounts")
        .fetch_one(&mut site.on.sql().await)
        .await
        .unwrap();
    assert_eq!((hash.as_str(), site.audited("password.changed").await), ("changed", 0));
}
