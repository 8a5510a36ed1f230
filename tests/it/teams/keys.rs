//! What keys may: never more than who made them, nor than their owner.

use super::*;

#[tokio::test]
async fn a_person_makes_keys_of_their_own_with_no_more_than_they_have() {
    let team = Team::start().await;
    for (login, role, scopes) in [
        ("ow", Role::Owner, json!(["read", "run", "manage"])),
        ("ed", Role::Editor, json!(["read", "run"])),
        ("vi", Role::Viewer, json!(["read"])),
    ] {
        let who = team.person(login, role).await;
        let (id, key) = who.api.makes_key(json!({ "name": "mine" })).await;
        let whoami = key.get("/v1/whoami").await.is(200);
        assert_eq!((&whoami.body["scopes"], &whoami.body["key"]["user"]), (&scopes, &json!(who.user)));
        assert_eq!(whoami.body["key"]["id"], json!(id));
        let refused = who.api.post("/v1/keys", json!({ "name": "more", "scopes": ["manage"] })).await;
        assert_eq!(refused.status, if role == Role::Owner { 201 } else { 403 });
    }
}

#[tokio::test]
async fn a_key_makes_keys_only_with_the_scope_to_manage_and_none_with_more() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    let (_, runs) = ada.api.makes_key(json!({ "name": "runs", "scopes": ["read", "run"] })).await;
    runs.post("/v1/keys", json!({ "name": "k" })).await.is(403);
    let (_, manages) = ada.api.makes_key(json!({ "name": "manages", "scopes": ["read", "manage"] })).await;
    let (_, made) = manages.makes_key(json!({ "name": "k" })).await;
    let whoami = made.get("/v1/whoami").await;
    assert_eq!((&whoami.body["scopes"], &whoami.body["key"]["user"]), (&json!(["read", "manage"]), &json!(ada.user)));
    manages.post("/v1/keys", json!({ "name": "k", "scopes": ["run"] })).await.is(403);
}

#[tokio::test]
async fn a_key_needs_a_scope_a_name_and_a_life_that_it_can_have() {
    let team = Team::start().await;
    for body in [
        json!({ "name": "k", "scopes": [] }),
        json!({ "name": "K" }),
        json!({ "name": "k", "expires_in_days": 0 }),
        json!({ "name": "k", "expires_in_days": 36501 }),
        json!({ "name": "k", "scopes": ["everything"] }),
        json!({ "name": "k", "projects": [ckrv_types::ProjectId::new()] }),
        json!({ "name": "k", "service_account": ckrv_types::ServiceAccountId::new() }),
    ] {
        team.key().post("/v1/keys", body.clone()).await.is(422).refuses("invalid");
    }
}

#[tokio::test]
async fn a_demoted_persons_key_may_no_more_than_they() {
    let team = Team::start().await;
    team.person("ada-l", Role::Owner).await;
    let bob = team.person("bob", Role::Admin).await;
    let (_, key) = bob.api.makes_key(json!({ "name": "mine" })).await;
    let path = format!("/v1/members/{}", bob.user);
    team.key().patch(&path, json!({ "role": "viewer" })).await.is(200);
    assert_eq!(key.get("/v1/whoami").await.body["scopes"], json!(["read"]));
    key.submits(None, json!({})).await.is(403);
    team.key().patch(&path, json!({ "role": "admin" })).await.is(200);
    assert_eq!(key.get("/v1/whoami").await.body["scopes"], json!(["read", "run", "manage"]));
}

#[tokio::test]
async fn who_may_not_manage_sees_their_own_keys_and_of_others_none() {
    let team = Team::start().await;
    let (ed, vi) = (team.person("ed", Role::Editor).await, team.person("vi", Role::Viewer).await);
    let (own, _) = ed.api.makes_key(json!({ "name": "ed" })).await;
    let (other, key) = vi.api.makes_key(json!({ "name": "vi" })).await;
    assert_eq!(ed.api.get("/v1/keys").await.each("id"), [own.as_str()]);
    assert_eq!(key.get("/v1/keys").await.each("id"), [other.as_str()]);
    assert_eq!(team.key().get("/v1/keys").await.each("id").len(), 3);
    ed.api.delete(&format!("/v1/keys/{other}")).await.is(404);
    ed.api.post(&format!("/v1/keys/{other}/rotate"), json!({})).await.is(404);
    ed.api.delete(&format!("/v1/keys/{own}")).await.is(204);
}

#[tokio::test]
async fn a_key_that_may_not_manage_does_not_revoke_itself_nor_its_siblings() {
    let team = Team::start().await;
    let ed = team.person("ed", Role::Editor).await;
    let (one, key) = ed.api.makes_key(json!({ "name": "one" })).await;
    let (two, _) = ed.api.makes_key(json!({ "name": "two" })).await;
    for id in [one, two] {
        key.delete(&format!("/v1/keys/{id}")).await.is(403);
    }
}

#[tokio::test]
async fn an_admin_ends_others_keys_but_no_owners_and_has_none_of_them() {
    let team = Team::start().await;
    let (owner, admin) = (team.person("ada-l", Role::Owner).await, team.person("bob", Role::Admin).await);
    let ed = team.person("ed", Role::Editor).await;
    let (owners, _) = owner.api.makes_key(json!({ "name": "o" })).await;
    let (editors, key) = ed.api.makes_key(json!({ "name": "e" })).await;
    let (_, of_account) = team.key().makes_account("bot", "owner").await;
    let accounts = of_account.get("/v1/whoami").await.body["key"]["id"].as_str().unwrap().to_owned();
    for id in [&owners, &accounts] {
        admin.api.delete(&format!("/v1/keys/{id}")).await.is(403);
        admin.api.post(&format!("/v1/keys/{id}/rotate"), json!({})).await.is(403);
    }
    // Whoever is shown the next token of a person acts in that person's name.
    for api in [&admin.api, &owner.api] {
        api.post(&format!("/v1/keys/{editors}/rotate"), json!({})).await.is(403);
    }
    admin.api.delete(&format!("/v1/keys/{editors}")).await.is(204);
    assert_eq!(key.knocks().await, 401);
}

#[tokio::test]
async fn a_key_of_several_projects_sees_those_and_no_other() {
    let team = Team::start().await;
    let whole = team.key();
    let mut projects = Vec::new();
    for name in ["one", "two", "three"] {
        projects.push(whole.makes_project(name, json!({})).await);
    }
    let (_, narrow) = whole.makes_key(json!({ "name": "narrow", "projects": [projects[0], projects[1]] })).await;
    let mut jobs = Vec::new();
    for project in &projects {
        jobs.push(whole.submits(Some(project), json!({})).await.is(201).text("id").to_owned());
    }
    assert_eq!(narrow.get("/v1/projects").await.each("name"), ["one", "two"]);
    let mut listed = narrow.get("/v1/jobs").await.each("id");
    listed.sort();
    assert_eq!(listed, jobs[..2]);
    assert_eq!(narrow.get(&format!("/v1/jobs?project={}", projects[2])).await.each("id"), Vec::<String>::new());
    assert_eq!(narrow.get(&format!("/v1/jobs?project={}", projects[1])).await.each("id"), [jobs[1].as_str()]);
    for (job, status) in [(&jobs[1], 200), (&jobs[2], 404)] {
        for path in ["", "/explain", "/artifacts", "/logs?follow=false"] {
            let answer = narrow.get(&format!("/v1/jobs/{job}{path}")).await;
            // A queued job's log has nothing in it yet.
            assert!(answer.status == status || (status == 200 && answer.status < 300), "{path}: {answer:?}");
        }
        let cancelled = narrow.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
        assert_eq!(cancelled.status, status, "{cancelled:?}");
    }
    narrow.get(&format!("/v1/jobs/{}/events", jobs[2])).await.is(404);
    narrow.submits(Some(&projects[2]), json!({})).await.is(422);
    narrow.submits(None, json!({})).await.is(422);
    narrow.submits(Some(&projects[1]), json!({})).await.is(201);
    narrow.get(&format!("/v1/projects/{}", projects[2])).await.is(404);
}

#[tokio::test]
async fn a_key_that_is_limited_to_projects_manages_nothing() {
    let team = Team::start().await;
    let project = team.key().makes_project("one", json!({})).await;
    let (id, narrow) = team.key().makes_key(json!({ "name": "narrow", "projects": [project] })).await;
    for path in ["/v1/keys", "/v1/members", "/v1/invitations", "/v1/service-accounts"] {
        narrow.get(path).await.is(403);
    }
    narrow.post("/v1/keys", json!({ "name": "k", "projects": [project] })).await.is(403);
    narrow.post(&format!("/v1/keys/{id}/rotate"), json!({})).await.is(403);
    narrow.delete(&format!("/v1/keys/{id}")).await.is(403);
    narrow.post("/v1/invitations", json!({ "role": "viewer" })).await.is(403);
    narrow.post("/v1/service-accounts", json!({ "name": "a", "role": "viewer" })).await.is(403);
    narrow.post("/v1/projects", json!({ "name": "p" })).await.is(403);
    narrow.patch(&format!("/v1/projects/{project}"), json!({ "archived": true })).await.is(403);
    narrow.patch("/v1/org", json!({ "name": "mine" })).await.is(403);
    narrow.get("/v1/org").await.is(200);
}
