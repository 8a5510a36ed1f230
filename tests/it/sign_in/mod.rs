//! Signing in through those who vouch for people: what an unmodified provider cannot be brought to do is done here by one that
//! follows a script. The good way, at a real one, is among the judges.

mod forged;
mod github;
mod linking;
mod oidc;
mod returns;
pub mod scripted;
mod settings;

use std::collections::HashMap;

use ckrv_tests::browser::{Browser, Page, css};
use ckrv_types::UserId;
use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use super::pages::Site;
use scripted::Scripted;

pub const CLIENT: &str = "ckrv";
pub const SECRET: &str = "of the client & no other";

/// An installation whose people come through providers.
pub struct Vouching {
    pub site: Site,
    _settings: TempDir,
}

impl Vouching {
    /// With this list, as the file has it.
    pub async fn with(providers: &str, arguments: &[&str]) -> Self {
        let settings = tempfile::tempdir().unwrap();
        let file = settings.path().join("providers.yaml");
        std::fs::write(&file, format!("providers:\n{providers}")).unwrap();
        let file = file.to_str().unwrap();
        let site = Site::with(&[&["--sign-in-providers", file], arguments].concat()).await;
        Self { site, _settings: settings }
    }

    /// With a scripted provider that vouches for everybody.
    pub async fn open(acme: &Scripted) -> Self {
        Self::with(&entry("acme", acme, "open"), &[]).await
    }

    /// With one that vouches for those who are known, or invited.
    pub async fn closed(acme: &Scripted) -> Self {
        Self::with(&entry("acme", acme, "invited"), &[]).await
    }

    /// The whole way through the provider of this id, with what it is told to say; the page that it ends on.
    pub async fn through(&self, browser: &mut Browser, acme: &Scripted, claims: Value) -> Page {
        let asked = self.go(browser, "/login/acme").await;
        let back = acme.agrees(&asked, claims);
        browser.open(back).await
    }

    /// Follows a path of the site; where the browser is sent.
    pub async fn go(&self, browser: &mut Browser, path: &str) -> Url {
        let page = browser.open(self.site.url(path)).await;
        page.leaves_for.unwrap_or_else(|| panic!("{} leads nowhere: {}", page.url, page.text))
    }

    /// Makes somebody be known by this identity.
    pub async fn knows(&self, user: UserId, issuer: &str, subject: &str) {
        sqlx::query("insert into identities (issuer, subject, user_id) values ($1, $2, $3)")
            .bind(issuer)
            .bind(subject)
            .bind(user.uuid())
            .execute(&mut self.site.on.sql().await)
            .await
            .unwrap();
    }

    /// How many people there are.
    pub async fn people(&self) -> i64 {
        sqlx::query_scalar("select count(*) from users").fetch_one(&mut self.site.on.sql().await).await.unwrap()
    }

    /// What the audit log says of this action, the last first.
    pub async fn told(&self, action: &str) -> Vec<Value> {
        sqlx::query_scalar("select detail from audit_log where action = $1 order by id desc")
            .bind(action)
            .fetch_all(&mut self.site.on.sql().await)
            .await
            .unwrap()
    }
}

/// An entry of the file for a scripted provider.
pub fn entry(id: &str, provider: &Scripted, sign_up: &str) -> String {
    let issuer = provider.issuer();
    format!(
        "  - {{ id: {id}, label: Acme, kind: oidc, issuer: '{issuer}', client_id: {CLIENT}, client_secret: '{SECRET}', \
         sign_up: {sign_up} }}\n"
    )
}

/// Whether somebody is signed in with this browser.
pub fn is_in(browser: &Browser) -> bool {
    browser.cookie("ckrv-session").is_some()
}

/// The addresses of the page's links with this text.
pub fn links(page: &Page, text: &str) -> Vec<String> {
    let (html, anchors) = (page.html(), css("a[href]"));
    let all = html.select(&anchors).filter(|link| ckrv_tests::browser::text(link) == text);
    all.map(|link| page.url.join(link.attr("href").unwrap()).unwrap().to_string()).collect()
}

/// A form's fields, as they come.
pub fn form(body: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}
