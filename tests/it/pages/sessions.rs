//! Who is signed in, and for how long.

use ckrv_tests::browser::Browser;

use super::{PASSWORD, Site};

const SESSION: &str = "ckrv-session";

async fn is_in(site: &Site, browser: &mut Browser) -> bool {
    let page = browser.open(site.url("/account")).await;
    assert!(page.status.is_success(), "{}", page.status);
    page.url.path() == "/account"
}

/// The lines that a right sign-in sets, by the cookie's name.
async fn set_cookies(site: &Site, name: &str) -> Vec<String> {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut browser = Browser::new();
    let form = browser.open(site.url("/login")).await.form("/login");
    let csrf = browser.cookie(&name.replace("session", "csrf")).unwrap();
    let request = http.post(site.url("/login")).header("cookie", format!("{}={csrf}", name.replace("session", "csrf")));
    let fields = [("login", "ada"), ("password", PASSWORD), ("csrf", form.value("csrf").unwrap())];
    let answer = request.form(&fields).send().await.unwrap();
    assert_eq!(answer.status(), 303);
    answer.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_sessions_cookie_is_out_of_reach_of_scripts_and_of_other_sites() {
    let site = Site::new().await;
    site.user("ada").await;
    let lines = set_cookies(&site, SESSION).await;
    let [line] = &lines[..] else { panic!("{lines:?}") };
    let (pair, attributes) = line.split_once("; ").unwrap();
    assert!(pair.starts_with("ckrv-session=") && pair.len() == "ckrv-session=".len() + 64, "{line}");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=7776000");
}

#[tokio::test]
async fn on_https_the_cookie_is_its_hosts_alone_and_never_sent_in_clear() {
    let site = Site::with(&["--public-url", "https://ckrv.example.com"]).await;
    site.user("ada").await;
    let lines = set_cookies(&site, "__Host-ckrv-session").await;
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.starts_with("__Host-ckrv-session="), "{line}");
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=7776000"), "{line}");
}

#[tokio::test]
async fn only_a_hash_of_the_cookie_is_kept() {
    let site = Site::new().await;
    site.user("ada").await;
    let browser = site.browser_of("ada").await;
    let cookie = browser.cookie(SESSION).unwrap();
    let row: String = sqlx::query_scalar("select row_to_json(s)::text from web_sessions s")
        .fetch_one(&mut site.on.sql().await)
        .await
        .unwrap();
    let hash = hex::encode(ckrv_server::auth::tokens::hash(cookie));
    assert!(row.contains(&hash) && !row.contains(cookie), "{row}");
}

#[tokio::test]
async fn a_cookie_that_was_put_in_before_is_worth_nothing_after_signing_in() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("mallory").await;
    let invented = "ab".repeat(32);
    let mallorys = site.browser_of("mallory").await.cookie(SESSION).unwrap().to_owned();
    for planted in [invented, mallorys] {
        let mut victim = Browser::new();
        // The sign-in page is left to those who are not signed in; the form was opened before.
        let form = victim.open(site.url("/login")).await.form("/login");
        victim.set_cookie(SESSION, &planted);
        let page = victim.submit(form.fill("login", "ada").fill("password", PASSWORD)).await;
        assert!(page.text.contains("ada the Great"), "{}", page.text);
        assert_ne!(victim.cookie(SESSION), Some(planted.as_str()));
        let mut attacker = Browser::new();
        attacker.set_cookie(SESSION, &planted);
        assert!(!is_in(&site, &mut attacker).await, "the planted cookie opens something");
    }
}

#[tokio::test]
async fn a_suspended_person_is_out_at_once() {
    let site = Site::new().await;
    let user = site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    let (code, device) = site.device("laptop").await;
    let question = site.question(&mut browser, &code).await;
    let mut sql = site.on.sql().await;
    sqlx::query("update users set suspended_at = now() where id = $1")
        .bind(user.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let page = browser.submit(question.form("/device/decide").press("decision", "approve")).await;
    assert_eq!(page.url.path(), "/login", "a form that was open is worth nothing");
    assert_eq!(site.poll(&device).await.1["error"], "authorization_pending");
    assert!(!is_in(&site, &mut browser).await);
}

#[tokio::test]
async fn a_session_ends_after_two_weeks_unused_and_after_ninety_days() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut sql = site.on.sql().await;
    site.browser_of("ada").await;
    let days: f64 =
        sqlx::query_scalar("select (extract(epoch from expires_at - created_at) / 86400)::float8 from web_sessions")
            .fetch_one(&mut sql)
            .await
            .unwrap();
    assert!((89.9..90.1).contains(&days), "{days}");
    for (change, good) in [
        ("update web_sessions set seen_at = now() - interval '13 days 23 hours'", true),
        ("update web_sessions set seen_at = now() - interval '14 days 1 minute'", false),
        ("update web_sessions set expires_at = now() - interval '1 second'", false),
    ] {
        let mut browser = site.browser_of("ada").await;
        sqlx::query(change).execute(&mut sql).await.unwrap();
        assert_eq!(is_in(&site, &mut browser).await, good, "{change}");
    }
}

#[tokio::test]
async fn who_signs_out_is_out_and_the_cookie_is_worth_nothing() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut browser = site.browser_of("ada").await;
    let cookie = browser.cookie(SESSION).unwrap().to_owned();
    let form = browser.open(site.url("/account")).await.form("/logout");
    let page = browser.submit(form).await;
    assert_eq!(page.heading(), "You are signed out");
    assert_eq!(browser.cookie(SESSION), None);
    browser.set_cookie(SESSION, &cookie);
    assert!(!is_in(&site, &mut browser).await);
    assert_eq!(site.audited("session.ended").await, 1);
}
