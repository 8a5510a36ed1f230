//! What an administrator says of signing in.

use std::process::Output;

use ckrv_tests::browser::Browser;
use ckrv_tests::stack::program;
use reqwest::StatusCode;
use serde_json::json;
use tokio::process::Command;

use super::scripted::Scripted;
use super::{Vouching, entry, links};
use crate::pages::{PASSWORD, Site};

#[tokio::test]
async fn where_passwords_are_off_there_is_neither_a_form_nor_a_use_for_one() {
    let acme = Scripted::start().await;
    let on = Vouching::with(&entry("acme", &acme, "invited"), &["--sign-in-passwords", "false"]).await;
    on.knows(on.site.user("ada").await, acme.issuer(), "248289761001").await;
    let mut browser = Browser::new();
    let page = browser.open(on.site.url("/login")).await;
    assert!(page.forms().is_empty(), "{}", page.text);
    assert_eq!(links(&page, "Continue with Acme").len(), 1);
    // A form that was kept from before.
    let with = Site::new().await;
    let kept = browser.open(with.url("/login")).await.form("/login").value("csrf").unwrap().to_owned();
    let fields = [("csrf", kept.as_str()), ("login", "ada"), ("password", PASSWORD)];
    assert_eq!(browser.post(on.site.url("/login"), &fields, None).await.status, StatusCode::NOT_FOUND);

    let page = on.through(&mut browser, &acme, json!({})).await;
    assert!(page.texts("main").join("").contains("signed in as ada the Great"), "{}", page.text);
    assert!(links(&page, "Change it").is_empty(), "{}", page.text);
    assert_eq!(browser.open(on.site.url("/account/password")).await.status, StatusCode::NOT_FOUND);
    assert!(page.forms().iter().all(|form| form.action().path() != "/account/identities/unlink"), "it is the last");
}

#[tokio::test]
async fn without_providers_there_is_a_form_alone() {
    let site = Site::new().await;
    let page = Browser::new().open(site.url("/login")).await;
    assert_eq!((page.forms().len(), page.texts("main a").len()), (1, 0), "{}", page.text);
}

async fn serve(settings: &[(&str, &str)]) -> Output {
    let url = "postgres://nobody@127.0.0.1:1/none";
    let mut command = Command::new(program("ckrv-server"));
    command
        .arg("serve")
        .env("CKRV_DATABASE_URL", url)
        .env("CKRV_SYSTEM_DATABASE_URL", url)
        .env("CKRV_LISTEN", "127.0.0.1:0")
        .env("CKRV_S3_ENDPOINT", "http://127.0.0.1:1")
        .env("CKRV_S3_ACCESS_KEY", "x")
        .env("CKRV_S3_SECRET_KEY", "x")
        .env("CKRV_SECRET_KEY", "07".repeat(32))
        .envs(settings.iter().copied());
    command.output().await.unwrap()
}

#[tokio::test]
async fn a_server_that_nobody_could_sign_in_to_does_not_start_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let (none, wrong) = (folder.path().join("none.yaml"), folder.path().join("wrong.yaml"));
    std::fs::write(&none, "providers: []\n").unwrap();
    std::fs::write(&wrong, "providers:\n  - { id: acme, kind: oidc, issuer: 'http://acme.example', client_id: x }\n")
        .unwrap();
    let (none, wrong) = (none.to_str().unwrap(), wrong.to_str().unwrap());
    for (settings, why) in [
        (vec![("CKRV_SIGN_IN_PASSWORDS", "false")], "nobody can sign in"),
        (vec![("CKRV_SIGN_IN_PASSWORDS", "false"), ("CKRV_SIGN_IN_PROVIDERS", none)], "nobody can sign in"),
        (vec![("CKRV_SIGN_IN_PROVIDERS", wrong)], "provider `acme`: its issuer is no https address"),
        (vec![("CKRV_SIGN_IN_PROVIDERS", "/nowhere.yaml")], "/nowhere.yaml cannot be read"),
    ] {
        let output = serve(&settings).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "{settings:?}: {said}");
    }
}
