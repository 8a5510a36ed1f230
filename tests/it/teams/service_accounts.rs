//! Members that are no persons.

use super::*;

fn path(id: &str) -> String {
    format!("/v1/service-accounts/{id}")
}

#[tokio::test]
async fn a_service_accounts_key_may_what_its_role_allows() {
    let team = Team::start().await;
    for (name, role, scopes) in [("reader", "viewer", json!(["read"])), ("runner", "editor", json!(["read", "run"]))] {
        let (id, key) = team.key().makes_account(name, role).await;
        let whoami = key.get("/v1/whoami").await.is(200);
        assert_eq!((&whoami.body["scopes"], &whoami.body["key"]["service_account"]), (&scopes, &json!(id)));
    }
    let listed = team.key().get("/v1/service-accounts").await;
    assert_eq!(listed.each("name"), ["bootstrap", "reader", "runner"]);
    assert_eq!(listed.body["items"][1]["keys"], 1);
}

#[tokio::test]
async fn a_key_is_never_given_what_its_account_does_not_have() {
    let team = Team::start().await;
    let (id, _) = team.key().makes_account("reader", "viewer").await;
    let body = json!({ "name": "k", "service_account": id, "scopes": ["read", "run"] });
    team.key().post("/v1/keys", body).await.is(422);
}

#[tokio::test]
async fn while_an_account_is_suspended_its_keys_sleep() {
    let team = Team::start().await;
    let (id, key) = team.key().makes_account("bot", "editor").await;
    assert_eq!(key.knocks().await, 200);
    assert!(team.key().patch(&path(&id), json!({ "suspended": true })).await.is(200).body["suspended_at"].is_string());
    assert_eq!(key.knocks().await, 401);
    team.key().patch(&path(&id), json!({ "suspended": false })).await.is(200);
    assert_eq!(key.knocks().await, 200);
}

#[tokio::test]
async fn an_account_of_a_lower_role_takes_its_keys_down_with_it() {
    let team = Team::start().await;
    let (id, key) = team.key().makes_account("bot", "admin").await;
    key.get("/v1/invitations").await.is(200);
    team.key().patch(&path(&id), json!({ "role": "viewer" })).await.is(200);
    key.get("/v1/invitations").await.is(403);
    key.submits(None, json!({})).await.is(403);
}

#[tokio::test]
async fn a_removed_accounts_keys_are_dead_and_its_name_is_free() {
    let team = Team::start().await;
    let other = team.on().another_replica(ckrv_tests::replica::Loops::Off).await;
    let (id, key) = team.key().makes_account("bot", "editor").await;
    assert_eq!((key.knocks().await, key.at(&other).knocks().await), (200, 200));
    team.key().delete(&path(&id)).await.is(204);
    assert_eq!(key.knocks().await, 401);
    key.at(&other).is_shut_out_soon().await;
    team.key().delete(&path(&id)).await.is(404);
    team.key().patch(&path(&id), json!({ "suspended": false })).await.is(404);
    team.key().post("/v1/keys", json!({ "name": "k", "service_account": id })).await.is(422);
    team.key().makes_account("bot", "viewer").await;
    assert_eq!(key.knocks().await, 401);
}

#[tokio::test]
async fn nobody_makes_or_holds_an_account_above_themselves() {
    let team = Team::start().await;
    let (owning, _) = team.key().makes_account("owning", "owner").await;
    let admin = team.person("bob", Role::Admin).await;
    admin.api.post("/v1/service-accounts", json!({ "name": "a", "role": "owner" })).await.is(403);
    admin.api.post("/v1/keys", json!({ "name": "k", "service_account": owning })).await.is(403);
    admin.api.patch(&path(&owning), json!({ "suspended": true })).await.is(403);
    admin.api.patch(&path(&owning), json!({ "role": "viewer" })).await.is(403);
    admin.api.delete(&path(&owning)).await.is(403);
    let (own, _) = admin.api.makes_account("own", "admin").await;
    admin.api.patch(&path(&own), json!({ "role": "owner" })).await.is(403);
    for (login, role) in [("ed", Role::Editor), ("vi", Role::Viewer)] {
        let who = team.person(login, role).await;
        who.api.post("/v1/service-accounts", json!({ "name": "b", "role": "viewer" })).await.is(403);
        who.api.post("/v1/keys", json!({ "name": "k", "service_account": own })).await.is(403);
        who.api.patch(&path(&own), json!({ "suspended": true })).await.is(403);
        who.api.delete(&path(&own)).await.is(403);
        who.api.get("/v1/service-accounts").await.is(200);
    }
}

#[tokio::test]
async fn a_name_is_had_once_and_another_organizations_account_is_not_there() {
    let team = Team::start().await;
    let (id, _) = team.key().makes_account("bot", "viewer").await;
    team.key().post("/v1/service-accounts", json!({ "name": "bot", "role": "viewer" })).await.is(409);
    let other = team.on().organization("neighbours").await;
    let theirs = team.by(&other.api_key);
    theirs.patch(&path(&id), json!({ "suspended": true })).await.is(404);
    theirs.delete(&path(&id)).await.is(404);
    theirs.post("/v1/keys", json!({ "name": "k", "service_account": id })).await.is(422);
    theirs.makes_account("bot", "viewer").await;
}
