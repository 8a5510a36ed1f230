//! Signing in, each way.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ckrv_types::identity::{Role, WhoAmI};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use url::Url;

use super::Desk;

#[tokio::test]
async fn a_code_that_is_confirmed_signs_in() {
    let desk = Desk::new().await;
    let said = desk.login(&[]).await.tells(&["/device", "confirm ", "signed in to http://127.0.0.1", "Ada, owner"]);
    assert_eq!(said.out, "", "a login prints no data");
    let me: WhoAmI = desk.says(&["cloud", "whoami", "-o", "json"]).await.exits(0).json();
    assert_eq!(me.org, desk.stack.keys.org);
    let user = me.user.unwrap();
    assert_eq!((user.id, user.name.as_str(), user.role), (desk.user, "Ada", Role::Owner));
    let shown = desk.says(&["cloud", "whoami"]).await.exits(0).out;
    for text in [
        "Ada <ada@example.com>",
        "owner",
        "read, run, manage",
        "token until",
        "encrypted; the key is in a file of yours",
    ] {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
    assert!(!shown.contains("ck_refresh") && !shown.contains("eyJ"), "{shown}");
    desk.says(&["list"]).await.exits(0);
    let listed = desk.says(&["profile", "list", "-o", "json"]).await.exits(0).out;
    assert!(listed.contains(r#""name":"default""#) && listed.contains(r#""signed_in":"login""#), "{listed}");
}

#[tokio::test]
async fn a_code_that_is_denied_signs_nobody_in() {
    let desk = Desk::new().await;
    let child = desk.begin(&[]);
    desk.decide("denied").await;
    desk.end(child).await.exits(4).tells(&["the login was denied"]);
    assert!(!desk.credentials().exists());
    desk.says(&["list"]).await.exits(4);
}

#[tokio::test]
async fn a_code_that_nobody_confirms_expires() {
    let desk = Desk::new().await;
    let child = desk.begin(&[]);
    desk.when_asked(|| sqlx::query("update device_codes set expires_at = now() - interval '1 s'")).await;
    let words = ["the code has expired before anybody confirmed it", "hint: `ckrv cloud login` makes a new one"];
    desk.end(child).await.exits(4).tells(&words);
}

#[tokio::test]
async fn an_interrupted_login_ends_at_once_and_leaves_nothing() {
    let desk = Desk::new().await;
    let mut child = desk.begin(&[]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("it says that it waits").contains("Ctrl-C gives up") {}
    kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGINT).unwrap();
    let end = tokio::time::timeout(Duration::from_secs(3), child.wait()).await.expect("at once").unwrap();
    assert_eq!(end.code(), Some(130));
    assert!(!desk.credentials().exists());
}

/// The browser's part: whatever the pages do, they leave a code behind and send the browser back with it.
async fn approve(desk: &Desk, url: &Url, issuer: &str) -> Url {
    let asked = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    assert_eq!((asked("client_id").as_str(), asked("response_type").as_str()), ("ckrv-cli", "code"));
    assert_eq!(asked("code_challenge_method"), "S256");
    assert_eq!(URL_SAFE_NO_PAD.decode(asked("code_challenge")).unwrap().len(), 32);
    let redirect: Url = asked("redirect_uri").parse().unwrap();
    assert_eq!((redirect.host_str(), redirect.path()), (Some("127.0.0.1"), "/callback"));
    let code = hex::encode(rand::random::<[u8; 32]>());
    let mut db = desk.db().await;
    sqlx::query(
        "insert into authorization_codes
            (code_hash, client, redirect_uri, challenge, scopes, user_id, org_id, host, address, expires_at)
         values ($1, 'ckrv-cli', $2, $3, string_to_array($4, ' '), $5, $6, 'here', '127.0.0.1', now() + interval '1 min')",
    )
    .bind(Sha256::digest(&code).to_vec())
    .bind(redirect.as_str())
    .bind(asked("code_challenge"))
    .bind(asked("scope"))
    .bind(desk.user.uuid())
    .bind(desk.stack.keys.org.uuid())
    .execute(&mut db)
    .await
    .unwrap();
    let mut back = redirect;
    back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked("state")).append_pair("iss", issuer);
    back
}

/// The address that a login in the browser prints.
async fn printed(child: &mut tokio::process::Child) -> Url {
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(url) = line.strip_prefix("open ") {
            // What it says afterwards is read by whoever waits for its end.
            return url.parse().unwrap();
        }
    }
    panic!("it prints no address");
}

#[tokio::test]
async fn the_browser_of_this_machine_signs_in_without_a_code() {
    let desk = Desk::new().await;
    let mut child = desk.begin(&["--web"]);
    let url = printed(&mut child).await;
    let back = approve(&desk, &url, &desk.stack.server_url()).await;
    let mut forged = back.clone();
    forged.set_query(Some("code=evil&state=guessed"));
    assert_eq!(reqwest::get(forged).await.unwrap().status(), 404, "who does not know the state is nobody");
    let page = reqwest::get(back).await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("You can close this page"));
    desk.end(child).await.exits(0);
    desk.says(&["list"]).await.exits(0);
}

#[tokio::test]
async fn an_answer_from_another_server_signs_nobody_in() {
    let desk = Desk::new().await;
    let mut child = desk.begin(&["--web"]);
    let url = printed(&mut child).await;
    let back = approve(&desk, &url, "https://evil.example").await;
    assert!(reqwest::get(back).await.unwrap().text().await.unwrap().contains("You are not signed in"));
    assert_eq!(desk.end(child).await.code, Some(4));
    assert_eq!(desk.refresh_tokens().await, (0, 0), "the code was sent");
}

#[tokio::test]
async fn an_api_key_signs_in_too_and_a_wrong_one_is_not_kept() {
    let desk = Desk::new().await;
    let server = desk.stack.server_url();
    let with_token =
        async |token: &str| desk.hears(&["cloud", "login", "--server", &server, "--with-token"], token).await;
    let unknown =
        ckrv_types::token::compose(ckrv_types::token::TokenKind::Live, "01k9zj3m5r8w2t6y4x0v7q1n5d", &[7; 32]);
    with_token(&unknown).await.exits(4);
    assert!(!desk.credentials().exists());
    let key = desk.stack.keys.api_key.expose();
    with_token(&format!("{key}\n")).await.exits(0).tells(&["as API key"]);
    assert!(!desk.kept().contains(key), "{}", desk.kept());
    desk.says(&["list"]).await.exits(0);
    let shown = desk.says(&["cloud", "whoami"]).await.exits(0).out;
    assert!(shown.contains("api key") && !shown.contains(key), "{shown}");
    desk.says(&["cloud", "logout"]).await.exits(0).tells(&["the API key itself is still good"]);
    desk.says(&["list"]).await.exits(4);
}

#[tokio::test]
async fn a_new_login_ends_the_one_before_at_the_server() {
    let desk = Desk::new().await;
    let standing = async || -> Vec<bool> {
        let mut db = desk.db().await;
        sqlx::query_scalar("select revoked_at is null from logins order by created_at")
            .fetch_all(&mut db)
            .await
            .unwrap()
    };
    let first = desk.login(&[]).await;
    assert!(!first.err.contains("before"), "{first}");
    desk.login(&[]).await.tells(&["the login before is ended"]);
    assert_eq!(standing().await, [false, true]);
    desk.says(&["list"]).await.exits(0);
    let key = desk.stack.keys.api_key.expose();
    let arguments = ["profile", "set", "default", &desk.stack.server_url()];
    desk.hears(&arguments, key).await.exits(0).tells(&["the login before is ended"]);
    assert_eq!(standing().await, [false, false]);
    desk.says(&["list"]).await.exits(0);
    assert!(!desk.kept().contains(key), "{}", desk.kept());
}

#[tokio::test]
async fn a_login_that_cannot_be_opened_any_more_is_replaced_and_that_is_told() {
    let desk = Desk::new().await;
    desk.login(&[]).await;
    desk.file("key", &"6b".repeat(32));
    desk.login(&[])
        .await
        .tells(&["warning: the login before is forgotten here, but good at the server", "could not be opened"]);
    desk.says(&["list"]).await.exits(0);
}

#[tokio::test]
async fn a_command_is_about_the_organization_that_is_named() {
    let desk = Desk::new().await;
    desk.login(&[]).await;
    let own: WhoAmI = desk.says(&["cloud", "whoami", "-o", "json"]).await.exits(0).json();
    let named: WhoAmI = desk.says(&["cloud", "whoami", "-o", "json", "--org", &own.org_name]).await.exits(0).json();
    assert_eq!(named.org, own.org);
    desk.says(&["list", "--org", "nobodys"]).await.exits(6).tells(&["no organization `nobodys`"]);
    desk.says(&["profile", "org", "nobodys"]).await.exits(0);
    desk.says(&["list"]).await.exits(6);
    desk.says(&["list", "--org", &own.org.to_string()]).await.exits(0);
}
