//! Being known by one more identity, on the account's page.

use ckrv_tests::browser::Browser;
use reqwest::StatusCode;
use serde_json::json;

use super::scripted::Scripted;
use super::{Vouching, is_in, links};

const ADD: &str = "Sign in by Acme too";
const UNLINK: &str = "/account/identities/unlink";

#[tokio::test]
async fn somebody_who_is_signed_in_adds_an_identity_and_comes_in_by_it_from_then_on() {
    let acme = Scripted::start().await;
    let on = Vouching::closed(&acme).await;
    on.site.user("ada").await;
    let mut ada = on.site.browser_of("ada").await;
    let page = ada.open(on.site.url("/account")).await;
    let link = links(&page, ADD).remove(0);
    let asked = ada.open(link).await.leaves_for.unwrap();
    let page = ada.open(acme.agrees(&asked, json!({}))).await;
    assert_eq!(page.texts("[role=status]"), ["You can sign in by it from now on."]);
    assert!(page.texts("main").join("").contains("Acme As j.doe") && links(&page, ADD).is_empty(), "{}", page.text);
    assert_eq!(on.told("identity.linked").await[0]["subject"], "248289761001");
    assert_eq!(on.told("session.begun").await.len(), 1, "the session is the one that it was");

    let mut elsewhere = Browser::new();
    let page = on.through(&mut elsewhere, &acme, json!({})).await;
    assert!(page.texts("main").join("").contains("signed in as ada the Great"), "{}", page.text);

    let page = elsewhere.submit(page.form(UNLINK)).await;
    assert!(page.texts("[role=status]")[0].starts_with("You can no longer sign in by it."), "{}", page.text);
    assert_eq!(on.told("identity.unlinked").await[0]["issuer"], acme.issuer());
    let page = on.through(&mut Browser::new(), &acme, json!({})).await;
    assert_eq!(page.heading(), "Nobody here knows you by this");
}

#[tokio::test]
async fn nobody_else_can_have_an_identity_added() {
    let acme = Scripted::start().await;
    let on = Vouching::closed(&acme).await;
    on.site.user("ada").await;
    on.site.user("bob").await;
    let (mut ada, mut bob) = (on.site.browser_of("ada").await, on.site.browser_of("bob").await);
    // Another site that sends the browser there knows no such link.
    for path in ["/account/identities/acme/link", "/account/identities/acme/link?csrf=0"] {
        let page = ada.open(on.site.url(path)).await;
        assert_eq!((page.status, page.leaves_for.is_none()), (StatusCode::FORBIDDEN, true), "{path}");
    }
    let page = bob.open(on.site.url("/account")).await;
    let bobs = links(&page, ADD).remove(0);
    assert_eq!(ada.open(&bobs).await.status, StatusCode::FORBIDDEN, "of another session");

    // Who began it is not who is signed in when it ends.
    let asked = bob.open(bobs).await.leaves_for.unwrap();
    let back = acme.agrees(&asked, json!({}));
    let form = bob.open(on.site.url("/account")).await.form("/logout");
    bob.submit(form).await;
    let page = bob.open(back).await;
    assert_eq!((page.status, page.heading().as_str()), (StatusCode::FORBIDDEN, "Nothing was added"));
    assert!(!is_in(&bob) && on.told("identity.linked").await.is_empty());
}

#[tokio::test]
async fn an_identity_is_one_persons() {
    let acme = Scripted::start().await;
    let on = Vouching::closed(&acme).await;
    on.knows(on.site.user("ada").await, acme.issuer(), "248289761001").await;
    on.site.user("bob").await;
    let mut bob = on.site.browser_of("bob").await;
    let page = bob.open(on.site.url("/account")).await;
    let asked = bob.open(links(&page, ADD).remove(0)).await.leaves_for.unwrap();
    let page = bob.open(acme.agrees(&asked, json!({}))).await;
    assert_eq!((page.status, page.heading().as_str()), (StatusCode::CONFLICT, "This is somebody else's"));
    let page = on.through(&mut Browser::new(), &acme, json!({})).await;
    assert!(page.texts("main").join("").contains("signed in as ada the Great"), "{}", page.text);
}

#[tokio::test]
async fn the_last_way_in_and_what_is_anothers_stay() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    on.knows(on.site.user("ada").await, acme.issuer(), "adas").await;
    let mut browser = Browser::new();
    let page = on.through(&mut browser, &acme, json!({})).await;
    assert!(page.forms().iter().all(|form| form.action().path() != UNLINK), "{}", page.text);
    let csrf = page.form("/logout").value("csrf").unwrap().to_owned();
    for subject in ["248289761001", "adas", "nobodys"] {
        let fields = [("csrf", csrf.as_str()), ("issuer", acme.issuer()), ("subject", subject)];
        let page = browser.post(on.site.url(UNLINK), &fields, None).await;
        assert_eq!(page.status, StatusCode::CONFLICT, "{subject}");
    }
    let left: i64 =
        sqlx::query_scalar("select count(*) from identities").fetch_one(&mut on.site.on.sql().await).await.unwrap();
    assert_eq!(left, 2);
}

#[tokio::test]
async fn an_identity_of_a_provider_that_is_no_more_is_no_way_in() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let mut browser = Browser::new();
    on.through(&mut browser, &acme, json!({})).await;
    sqlx::query(
        "insert into identities (issuer, subject, user_id) select 'https://gone.example', 'jane', id from users",
    )
    .execute(&mut on.site.on.sql().await)
    .await
    .unwrap();
    let page = browser.open(on.site.url("/account")).await;
    let removable: Vec<_> = page.forms().into_iter().filter(|form| form.action().path() == UNLINK).collect();
    let issuers: Vec<_> = removable.iter().map(|form| form.value("issuer").unwrap()).collect();
    assert_eq!(issuers, ["https://gone.example"], "{}", page.text);
    let csrf = page.form("/logout").value("csrf").unwrap().to_owned();
    let unlink = |issuer, subject| [("csrf", csrf.as_str()), ("issuer", issuer), ("subject", subject)];
    let last = unlink(acme.issuer(), "248289761001");
    assert_eq!(browser.post(on.site.url(UNLINK), &last, None).await.status, StatusCode::CONFLICT);
    let dead = unlink("https://gone.example", "jane");
    assert_eq!(browser.post(on.site.url(UNLINK), &dead, None).await.status, StatusCode::OK);
}
