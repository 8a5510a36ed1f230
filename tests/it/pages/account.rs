//! What acts for somebody, and how they end it.

use reqwest::StatusCode;

use super::Site;

async fn whoami(site: &Site, token: &str) -> StatusCode {
    reqwest::Client::new().get(site.url("/v1/whoami")).bearer_auth(token).send().await.unwrap().status()
}

#[tokio::test]
async fn a_program_that_was_let_in_is_listed_and_signed_out() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("mallory").await;
    let mut browser = site.browser_of("ada").await;
    let tokens = site.let_in(&mut browser, "build-host").await;
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(whoami(&site, token).await, StatusCode::OK);
    let page = browser.open(site.url("/account")).await;
    assert_eq!(page.texts("[aria-labelledby=programs-title] h3"), ["The ckrv command line on build-host"]);
    let mut forms = page.forms();
    let revoke = forms.remove(forms.iter().position(|form| form.action().path().contains("/logins/")).unwrap());
    let path = revoke.action().path().to_owned();

    let mut mallory = site.browser_of("mallory").await;
    let own = mallory.open(site.url("/account")).await;
    assert!(own.texts("[aria-labelledby=programs-title] h3").is_empty());
    let csrf = own.form("/logout").value("csrf").unwrap().to_owned();
    let foreign = mallory.post(site.url(&path), &[("csrf", &csrf)], None).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "somebody else's is not there");
    assert_eq!(whoami(&site, token).await, StatusCode::OK);

    let page = browser.submit(revoke).await;
    assert!(page.texts("[role=status]").join("").contains("The program is signed out"));
    assert!(page.texts("[aria-labelledby=programs-title] h3").is_empty());
    assert_eq!(whoami(&site, token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(site.audited("login.revoked").await, 1);
}

#[tokio::test]
async fn another_browser_is_listed_and_signed_out() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("mallory").await;
    let (mut here, mut there) = (site.browser_of("ada").await, site.browser_of("ada").await);
    let page = here.open(site.url("/account")).await;
    let mut listed = page.texts("[aria-labelledby=browsers-title] h3");
    listed.sort();
    assert_eq!(listed, ["Firefox on Linux", "Firefox on Linux this one"]);
    let mut forms = page.forms();
    forms.retain(|form| form.action().path().contains("/sessions/"));
    assert_eq!(forms.len(), 1, "this one is signed out above");
    let revoke = forms.remove(0);

    let mut mallory = site.browser_of("mallory").await;
    let csrf = mallory.open(site.url("/account")).await.form("/logout").value("csrf").unwrap().to_owned();
    let foreign = mallory.post(revoke.action(), &[("csrf", &csrf)], None).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    assert_eq!(there.open(site.url("/account")).await.url.path(), "/account");

    let page = here.submit(revoke).await;
    assert!(page.texts("[role=status]").join("").contains("The browser is signed out"));
    assert_eq!(there.open(site.url("/account")).await.url.path(), "/login");
    assert_eq!(site.audited("session.revoked").await, 1);
}

#[tokio::test]
async fn the_organization_is_chosen_among_ones_own_and_stays_chosen() {
    let site = Site::new().await;
    let user = site.user("ada").await;
    let (other, foreign) = (site.on.organization("other").await.org, site.on.organization("foreign").await.org);
    let mut sql = site.on.sql().await;
    sqlx::query("insert into members (org_id, user_id, role) values ($1, $2, 'owner')")
        .bind(other.uuid())
        .bind(user.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let mut browser = site.browser_of("ada").await;
    let tests = site.on.keys().org.to_string();
    let page = browser.open(site.url("/account")).await;
    assert_eq!(page.texts("#org option"), ["other (owner)", "tests (editor)"]);
    assert_eq!(page.form("/account/org").value("org"), Some(other.to_string().as_str()), "the first by name");
    let page = browser.submit(page.form("/account/org").fill("org", &tests)).await;
    assert_eq!(page.form("/account/org").value("org"), Some(tests.as_str()));
    let forged = page.form("/account/org").forge("org", Some(&foreign.to_string()));
    assert_eq!(browser.submit(forged).await.status, StatusCode::NOT_FOUND);

    let mut later = site.browser_of("ada").await;
    let page = later.open(site.url("/account")).await;
    assert_eq!(page.form("/account/org").value("org"), Some(tests.as_str()), "also in the next browser");
    sqlx::query("delete from members where org_id = $1")
        .bind(site.on.keys().org.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    let page = later.open(site.url("/account")).await;
    assert!(page.texts("main").join("").contains("owner of other"), "who is no member any more sees what they have");
}
