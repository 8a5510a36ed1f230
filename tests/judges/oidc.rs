//! People sign in through an OpenID provider that knows nothing of ckrv, by its own pages.

use std::process::Stdio;

use ckrv_tests::browser::{Browser, Page, css, text};
use ckrv_tests::replica::{Installation, Loops};
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::tools;

/// The npm package `oidc-provider`, and an installation whose people come through it.
struct Acme {
    on: Installation,
    lines: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
    _provider: Child,
    _settings: TempDir,
}

impl Acme {
    async fn start() -> Self {
        let mut provider = Command::new("node");
        provider.arg("provider.mjs").current_dir(tools::node()).kill_on_drop(true);
        let mut provider = provider.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the provider starts");
        let mut lines = BufReader::new(provider.stdout.take().expect("it is piped")).lines();
        let issuer = next(&mut lines).await;
        let settings = tempfile::tempdir().expect("a folder can be made");
        let file = settings.path().join("providers.yaml");
        let text = format!(
            "providers: [{{ id: acme, label: Acme, kind: oidc, issuer: '{issuer}', client_id: ckrv, \
             client_secret: of nobody else, sign_up: open }}]"
        );
        std::fs::write(&file, text).expect("the file can be written");
        let file = file.to_str().expect("a path of text");
        let on = Installation::with(Loops::Off, &["--sign-in-providers", file]).await;
        let input = provider.stdin.take().expect("it is piped");
        let mut acme = Self { on, lines, input, _provider: provider, _settings: settings };
        let callback = acme.at("/login/acme/callback");
        acme.tell(&callback, "ready").await;
        acme
    }

    fn at(&self, path: &str) -> String {
        self.on.replica.url().join(path).expect("a path follows an address").into()
    }

    async fn tell(&mut self, line: &str, answer: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).await.expect("the provider reads");
        assert_eq!(next(&mut self.lines).await, answer);
    }

    /// From our sign-in page to the provider's.
    async fn goes(&self, browser: &mut Browser) -> Page {
        let page = browser.open(self.at("/login?return_to=/device")).await;
        let link = link(&page, "Continue with Acme");
        let asked = browser.open(link).await.leaves_for.expect("it leads to the provider");
        browser.open(asked).await
    }

    /// Signs in there as this person, agrees, and comes back.
    async fn comes(&self, browser: &mut Browser, login: &str) -> Page {
        let page = self.goes(browser).await;
        let form = page.forms().remove(0).fill("login", login).fill("password", "whatever it is");
        let consent = browser.submit(form).await;
        let back = browser.submit(consent.forms().remove(0)).await;
        let back = back.leaves_for.unwrap_or_else(|| panic!("{}: {}", back.url, back.text));
        browser.open(back).await
    }

    async fn people(&self) -> i64 {
        let count = sqlx::query_scalar("select count(*) from users");
        count.fetch_one(&mut self.on.sql().await).await.expect("the database answers")
    }
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    lines.next_line().await.expect("the provider can be read").expect("it goes on")
}

fn link(page: &Page, words: &str) -> String {
    let html = page.html();
    let found = html.select(&css("a[href]")).find(|link| text(link).contains(words));
    let found = found.unwrap_or_else(|| panic!("no link {words} on {}: {}", page.url, page.text));
    page.url.join(found.attr("href").expect("it has one")).expect("an address").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_provider_vouches_for_people_who_are_known_again_whatever_keys_it_has() {
    let mut acme = Acme::start().await;
    let mut browser = Browser::new();
    let page = acme.comes(&mut browser, "ada").await;
    assert_eq!((page.url.path(), page.status), ("/device", StatusCode::OK), "{}", page.text);
    assert!(page.texts("header").join("").contains("ada Lovelace"), "{}", page.text);
    let known: (String, String, Option<String>) = sqlx::query_as("select issuer, subject, account from identities")
        .fetch_one(&mut acme.on.sql().await)
        .await
        .expect("there is one");
    assert!(known.0.starts_with("http://127.0.0.1:"), "{known:?}");
    assert_eq!((known.1.as_str(), known.2.as_deref()), ("ada", Some("ada.lovelace")));

    acme.tell("rotate", "rotated").await;
    let page = acme.comes(&mut Browser::new(), "ada").await;
    assert_eq!((page.url.path(), acme.people().await), ("/device", 1), "{}", page.text);
    let page = acme.comes(&mut Browser::new(), "bob").await;
    assert_eq!((page.url.path(), acme.people().await), ("/device", 2), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_turns_back_at_oidc_provider_is_told_so_and_may_start_again() {
    let acme = Acme::start().await;
    let mut browser = Browser::new();
    let page = acme.goes(&mut browser).await;
    let cancel = link(&page, "Cancel");
    let back = browser.open(cancel).await.leaves_for.expect("it leads back");
    let page = browser.open(back).await;
    assert_eq!((page.status, page.heading().as_str()), (StatusCode::FORBIDDEN, "You are not signed in"));
    assert!(page.alert().is_some_and(|said| said.contains("Acme was told not to let you in here")), "{}", page.text);
    assert!(link(&page, "Start again").ends_with("/login?return_to=%2Fdevice"));
    assert_eq!(acme.people().await, 0);
}
