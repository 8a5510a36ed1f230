//! Through an OpenID provider.

use ckrv_tests::browser::Browser;
use ckrv_tests::people;
use ckrv_types::identity::Role;
use reqwest::StatusCode;
use serde_json::json;

use super::scripted::{Scripted, Signing};
use super::{Vouching, is_in, links};

#[tokio::test]
async fn somebody_new_comes_in_where_everybody_may_and_is_known_again() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let mut browser = Browser::new();
    let page = browser.open(on.site.url("/login?return_to=/device")).await;
    let link = links(&page, "Continue with Acme").remove(0);
    let asked = browser.open(link).await.leaves_for.unwrap();
    let page = browser.open(acme.agrees(&asked, json!({}))).await;
    assert_eq!((page.url.path(), page.status), ("/device", StatusCode::OK), "{}", page.text);
    assert!(page.texts("header").join("").contains("Jane Doe"));
    let account = browser.open(on.site.url("/account")).await;
    assert!(account.text.contains("You belong to none yet"), "{}", account.text);
    assert!(account.texts("main").join("").contains("Acme As j.doe"), "{}", account.text);
    let made = on.told("user.created").await;
    assert_eq!(made, [json!({ "provider": "acme", "issuer": acme.issuer(), "subject": "248289761001" })]);
    assert_eq!(on.told("session.begun").await, [json!({ "means": "provider", "provider": "acme" })]);

    let mut elsewhere = Browser::new();
    let page = on.through(&mut elsewhere, &acme, json!({ "email": "other@example.com", "name": "Jane Roe" })).await;
    assert_eq!(page.url.path(), "/account");
    assert_eq!(on.people().await, 1, "issuer and subject say who it is, and nothing else does");
    assert!(page.texts("header").join("").contains("Jane Doe"), "what somebody is called here is theirs to say");
    let rows: i64 =
        sqlx::query_scalar("select count(*) from sign_ins").fetch_one(&mut on.site.on.sql().await).await.unwrap();
    assert_eq!(rows, 0, "nothing of a sign-in stays");
}

#[tokio::test]
async fn an_e_mail_address_makes_nobody_somebody_else() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let ada = on.site.user("ada").await;
    sqlx::query("update users set email = 'jane@example.com'").execute(&mut on.site.on.sql().await).await.unwrap();
    let mut browser = Browser::new();
    let page = on.through(&mut browser, &acme, json!({ "email_verified": true })).await;
    assert!(page.text.contains("You belong to none yet") && on.people().await == 2, "{}", page.text);
    let whose: bool = sqlx::query_scalar("select exists (select from identities where user_id = $1)")
        .bind(ada.uuid())
        .fetch_one(&mut on.site.on.sql().await)
        .await
        .unwrap();
    assert!(!whose);
}

#[tokio::test]
async fn the_same_subject_of_another_issuer_is_somebody_else() {
    let (acme, other) = (Scripted::start().await, Scripted::start().await);
    let on = Vouching::closed(&acme).await;
    on.knows(on.site.user("ada").await, other.issuer(), "248289761001").await;
    let mut browser = Browser::new();
    let page = on.through(&mut browser, &acme, json!({})).await;
    assert_eq!(page.heading(), "Nobody here knows you by this");
}

#[tokio::test]
async fn a_stranger_is_told_how_to_come_in_and_is_not_made_anybody() {
    let acme = Scripted::start().await;
    let on = Vouching::closed(&acme).await;
    let mut browser = Browser::new();
    let page = on.through(&mut browser, &acme, json!({})).await;
    assert_eq!((page.status, page.heading().as_str()), (StatusCode::FORBIDDEN, "Nobody here knows you by this"));
    let said = page.alert().unwrap();
    assert!(said.contains("You came as j.doe at Acme") && said.contains("invitation"), "{said}");
    assert!(!is_in(&browser) && on.people().await == 0);
    let told = on.told("session.refused").await;
    assert_eq!((&told[0]["reason"], &told[0]["subject"]), (&json!("stranger"), &json!("248289761001")));
}

#[tokio::test]
async fn whoever_has_an_invitation_that_is_good_may_come_in_and_is_led_back_to_it() {
    let acme = Scripted::start().await;
    let on = Vouching::closed(&acme).await;
    let (mut sql, org) = (on.site.on.sql().await, on.site.on.keys().org);
    let (ada, bob) =
        (people::add(&mut sql, org, "ada", Role::Owner).await, people::add(&mut sql, org, "bob", Role::Owner).await);
    for (token, until, revoked, by) in [
        ("good", "tomorrow", None, ada),
        ("late", "yesterday", None, ada),
        ("revoked", "tomorrow", Some("now"), ada),
        ("forsaken", "tomorrow", None, bob),
    ] {
        sqlx::query(
            "insert into invitations (id, org_id, token_hash, role, invited_by, expires_at, revoked_at, user_id)
             values (gen_random_uuid(), $1, sha256($2::text::bytea), 'editor', 'Ada', $3::timestamptz, $4::timestamptz, $5)",
        )
        .bind(org.uuid())
        .bind(token)
        .bind(until)
        .bind(revoked)
        .bind(by.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    }
    sqlx::query("update users set suspended_at = now() where id = $1")
        .bind(bob.uuid())
        .execute(&mut sql)
        .await
        .unwrap();
    for (token, comes_in) in
        [("late", false), ("revoked", false), ("forsaken", false), ("none", false), ("", false), ("good", true)]
    {
        let mut browser = Browser::new();
        let asked = on.go(&mut browser, &format!("/login/acme?return_to=/invitations/{token}")).await;
        let page = browser.open(acme.agrees(&asked, json!({}))).await;
        assert_eq!(is_in(&browser), comes_in, "{token}: {}", page.text);
        assert_eq!(page.url.path() == format!("/invitations/{token}"), comes_in, "{token}: {}", page.url);
        if comes_in {
            let page = browser.submit(page.form("/invitations/good")).await;
            assert!(page.texts("main").join("").contains("Jane Doe, editor of tests"), "{}", page.text);
        }
    }
    assert_eq!(on.people().await, 3);
}

#[tokio::test]
async fn whoever_is_known_comes_in_and_whoever_is_suspended_is_told_so() {
    let acme = Scripted::start().await;
    let on = Vouching::closed(&acme).await;
    on.knows(on.site.user("ada").await, acme.issuer(), "248289761001").await;
    let mut browser = Browser::new();
    let page = on.through(&mut browser, &acme, json!({})).await;
    assert!(page.texts("main").join("").contains("signed in as ada the Great, editor of tests"), "{}", page.text);

    sqlx::query("update users set suspended_at = now()").execute(&mut on.site.on.sql().await).await.unwrap();
    let mut elsewhere = Browser::new();
    let page = on.through(&mut elsewhere, &acme, json!({})).await;
    assert!(page.alert().unwrap().contains("suspended") && !is_in(&elsewhere), "{}", page.text);
    assert_eq!(on.told("session.refused").await[0]["reason"], "suspended");
    assert_eq!(browser.open(on.site.url("/account")).await.url.path(), "/login", "and is out elsewhere");
}

#[tokio::test]
async fn two_first_times_at_once_make_one_user() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let come = async || {
        let mut browser = Browser::new();
        on.through(&mut browser, &acme, json!({})).await.status
    };
    let all = futures::future::join_all((0..6).map(|_| come())).await;
    assert!(all.iter().all(|status| *status == StatusCode::OK), "{all:?}");
    assert_eq!(on.people().await, 1);
}

#[tokio::test]
async fn a_name_that_only_the_user_info_endpoint_tells_is_asked_for_there() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    acme.script().user_info =
        json!({ "sub": "248289761001", "name": "Jane \u{202e}Doe", "preferred_username": "jane" });
    let silent = json!({ "name": null, "preferred_username": null, "email": null });
    let mut browser = Browser::new();
    let page = on.through(&mut browser, &acme, silent.clone()).await;
    assert!(page.texts("header").join("").contains("Jane Doe"), "{}", page.text);

    // Of another subject it is not believed (OpenID Connect Core 1.0, section 5.3.2).
    acme.script().user_info = json!({ "sub": "somebody", "name": "Mallory" });
    let mut elsewhere = Browser::new();
    let mut other = silent;
    other["sub"] = json!("2");
    let page = on.through(&mut elsewhere, &acme, other).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains("Mallory"), "{}", page.text);
}

#[tokio::test]
async fn keys_that_a_provider_has_changed_are_asked_for_when_they_are_met() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    assert_eq!(on.through(&mut Browser::new(), &acme, json!({})).await.status, StatusCode::OK);
    assert_eq!(on.through(&mut Browser::new(), &acme, json!({})).await.status, StatusCode::OK);
    assert_eq!(acme.script().key_requests, 1, "what a provider says of itself is kept");
    {
        let mut script = acme.script();
        (script.published, script.signing) = (1, Signing::Key(1));
    }
    assert_eq!(on.through(&mut Browser::new(), &acme, json!({})).await.status, StatusCode::OK);
    assert_eq!(acme.script().key_requests, 2);
}

#[tokio::test]
async fn a_provider_that_is_away_is_told_from_one_that_refuses() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    let mut browser = Browser::new();
    acme.script().away = true;
    let page = browser.open(on.site.url("/login/acme?return_to=/device")).await;
    assert_eq!((page.status, page.heading().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "You are not signed in yet"));
    assert_eq!(links(&page, "Start again"), [on.site.url("/login?return_to=%2Fdevice")]);
}

#[tokio::test]
async fn a_code_that_is_not_taken_is_nobodys() {
    let acme = Scripted::start().await;
    let on = Vouching::open(&acme).await;
    for (status, body, answer) in [
        (400, json!({ "error": "invalid_grant" }), StatusCode::FORBIDDEN),
        (401, json!({ "error": "invalid_client" }), StatusCode::FORBIDDEN),
        (200, json!({ "unknown": true }), StatusCode::FORBIDDEN),
        (502, json!("bad gateway"), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        acme.script().refusal = Some((status, body.clone()));
        let mut browser = Browser::new();
        let page = on.through(&mut browser, &acme, json!({})).await;
        assert_eq!(page.status, answer, "{body}: {}", page.text);
        assert!(!is_in(&browser));
    }
}

#[tokio::test]
async fn a_provider_that_takes_the_secret_in_the_form_gets_it_there() {
    let acme = Scripted::start().await;
    acme.script().discovery = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    let on = Vouching::open(&acme).await;
    assert_eq!(on.through(&mut Browser::new(), &acme, json!({})).await.status, StatusCode::OK);
}
