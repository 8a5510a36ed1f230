//! Who changes whom, and that an organization never loses its last owner.

use ckrv_tests::people;
use ckrv_tests::replica::Loops;

use super::*;

async fn role(team: &Team, user: UserId) -> String {
    team.authority.value(&format!("select role from members where user_id = '{}'", user.uuid())).await
}

fn path(user: UserId) -> String {
    format!("/v1/members/{user}")
}

#[tokio::test]
async fn the_last_owner_is_neither_demoted_nor_suspended_nor_removed_and_does_not_leave() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    team.person("bob", Role::Admin).await;
    for api in [&ada.api, &team.key()] {
        for change in
            [json!({ "role": "admin" }), json!({ "suspended": true }), json!({ "role": "viewer", "suspended": true })]
        {
            let refused = api.patch(&path(ada.user), change).await.is(409).refuses("conflict");
            assert!(!refused.text("hint").is_empty());
        }
        api.delete(&path(ada.user)).await.is(409);
    }
    assert_eq!(role(&team, ada.user).await, "owner");
}

#[tokio::test]
async fn an_owner_who_is_suspended_is_none_that_could_be_the_last() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    let bob = team.person("bob", Role::Owner).await;
    ada.api.patch(&path(bob.user), json!({ "suspended": true })).await.is(200);
    ada.api.delete(&path(ada.user)).await.is(409);
    ada.api.patch(&path(bob.user), json!({ "suspended": false })).await.is(200);
    ada.api.delete(&path(ada.user)).await.is(204);
    // Nor is one whom the operator has shut out.
    let eve = team.person("eve", Role::Owner).await;
    team.authority.sql(&format!("update users set suspended_at = now() where id = '{}'", eve.user.uuid())).await;
    bob.api.delete(&path(bob.user)).await.is(409);
}

#[tokio::test]
async fn two_owners_who_demote_each_other_at_once_leave_one() {
    let team = Team::start().await;
    let other = team.on().another_replica(Loops::Off).await;
    let ada = team.person("ada-l", Role::Owner).await;
    let bob = team.person("bob", Role::Owner).await;
    for _ in 0..5 {
        team.authority.sql("update members set role = 'owner'").await;
        let (there, viewer) = (bob.api.at(&other), json!({ "role": "viewer" }));
        let (to_ada, to_bob) = (path(ada.user), path(bob.user));
        let (one, two) = tokio::join!(ada.api.patch(&to_bob, viewer.clone()), there.patch(&to_ada, viewer));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        // Who comes second is no owner any more.
        assert_eq!(statuses, [200, 403], "{one:?} {two:?}");
        assert_eq!(team.authority.value("select count(*) from members where role = 'owner'").await, "1");
    }
}

#[tokio::test]
async fn two_owners_who_leave_at_once_leave_one() {
    let team = Team::start().await;
    let other = team.on().another_replica(Loops::Off).await;
    let ada = team.person("ada-l", Role::Owner).await;
    let bob = team.person("bob", Role::Owner).await;
    let (there, to_ada, to_bob) = (bob.api.at(&other), path(ada.user), path(bob.user));
    let (one, two) = tokio::join!(ada.api.delete(&to_ada), there.delete(&to_bob));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
}

#[tokio::test]
async fn an_admin_does_nothing_to_an_owner_and_makes_nobody_one() {
    let team = Team::start().await;
    let owner = team.person("ada-l", Role::Owner).await;
    team.person("second", Role::Owner).await;
    let admin = team.person("bob", Role::Admin).await;
    for change in [json!({ "role": "viewer" }), json!({ "suspended": true })] {
        admin.api.patch(&path(owner.user), change).await.is(403);
    }
    admin.api.delete(&path(owner.user)).await.is(403);
    for user in [admin.user, team.person("eve", Role::Viewer).await.user] {
        admin.api.patch(&path(user), json!({ "role": "owner" })).await.is(403);
        admin.api.patch(&path(user), json!({ "role": "admin" })).await.is(200);
    }
}

#[tokio::test]
async fn an_editor_and_a_viewer_change_nobody_not_even_themselves() {
    let team = Team::start().await;
    let other = team.person("ada-l", Role::Viewer).await;
    for (login, role) in [("ed", Role::Editor), ("vi", Role::Viewer)] {
        let who = team.person(login, role).await;
        for user in [who.user, other.user] {
            who.api.patch(&path(user), json!({ "role": "admin" })).await.is(403);
            who.api.patch(&path(user), json!({ "suspended": true })).await.is(403);
        }
        who.api.delete(&path(other.user)).await.is(403);
        who.api.get("/v1/members").await.is(200);
    }
}

#[tokio::test]
async fn who_is_demoted_is_so_at_once_and_cannot_undo_it_by_what_was_found_of_them_before() {
    let team = Team::start().await;
    let other = team.on().another_replica(Loops::Off).await;
    let owner = team.person("ada-l", Role::Owner).await;
    let admin = team.person("bob", Role::Admin).await;
    let there = admin.api.at(&other);
    let secret = json!({ "name": "lent", "kind": "git_token", "host": "git.example.com", "username": "bot", "secret": "passw0rd" });
    let lent = format!("/v1/credentials/{}", there.post("/v1/credentials", secret.clone()).await.is(201).text("id"));
    let runner = there.post("/v1/runners", json!({ "name": "known" })).await.is(201);
    let runner = format!("/v1/runners/{}", runner.text("id"));
    let project = format!("/v1/projects/{}", there.makes_project("known", json!({})).await);
    owner.api.patch(&path(admin.user), json!({ "role": "viewer" })).await.is(200);
    // The other replica still believes in an admin; what would last is refused all the same.
    there.patch(&path(admin.user), json!({ "role": "admin" })).await.is(403);
    for (made, body) in [
        ("/v1/service-accounts", json!({ "name": "door", "role": "admin" })),
        ("/v1/invitations", json!({ "role": "admin" })),
        ("/v1/runners", json!({ "name": "door" })),
        ("/v1/projects", json!({ "name": "door" })),
        ("/v1/credentials", secret),
    ] {
        there.post(made, body).await.is(403);
    }
    there.patch(&runner, json!({ "allow": {} })).await.is(403);
    there.patch(&project, json!({ "archived": true })).await.is(403);
    there.put(&format!("{lent}/secret"), json!({ "secret": "passw1rd" })).await.is(403);
    for removed in [&runner, &lent] {
        there.delete(removed).await.is(403);
    }
    assert_eq!(admin.api.get("/v1/whoami").await.body["scopes"], json!(["read"]));
}

#[tokio::test]
async fn anybody_may_leave() {
    let team = Team::start().await;
    team.person("ada-l", Role::Owner).await;
    for (login, role) in [("ad", Role::Admin), ("ed", Role::Editor), ("vi", Role::Viewer)] {
        let who = team.person(login, role).await;
        who.api.delete(&path(who.user)).await.is(204);
        assert_eq!(who.api.knocks().await, 401);
    }
    assert_eq!(team.audited("member.left").await, 3);
    let names: Vec<Option<String>> =
        sqlx::query_scalar("select actor_name from audit_log where action = 'member.left' order by xact")
            .fetch_all(&mut team.on().sql().await)
            .await
            .unwrap();
    assert!(names.iter().all(Option::is_some), "who left is told by name: {names:?}");
}

#[tokio::test]
async fn a_key_does_not_have_its_person_leave() {
    let team = Team::start().await;
    team.person("ada-l", Role::Owner).await;
    let ed = team.person("ed", Role::Editor).await;
    let (_, key) = ed.api.makes_key(json!({ "name": "mine" })).await;
    key.delete(&path(ed.user)).await.is(403);
}

#[tokio::test]
async fn a_removed_members_key_and_login_are_dead_here_at_once_and_elsewhere_soon() {
    let team = Team::start().await;
    let other = team.on().another_replica(Loops::Off).await;
    let owner = team.person("ada-l", Role::Owner).await;
    let ed = team.person("ed", Role::Editor).await;
    let (_, key) = ed.api.makes_key(json!({ "name": "mine" })).await;
    for api in [&ed.api, &key, &ed.api.at(&other), &key.at(&other)] {
        assert_eq!(api.knocks().await, 200);
    }
    owner.api.delete(&path(ed.user)).await.is(204);
    assert_eq!((ed.api.knocks().await, key.knocks().await), (401, 401));
    ed.api.at(&other).is_shut_out_soon().await;
    key.at(&other).is_shut_out_soon().await;
    assert!(!owner.api.get("/v1/members").await.each("user").contains(&ed.user.to_string()));
}

#[tokio::test]
async fn who_comes_back_does_not_bring_old_keys() {
    let team = Team::start().await;
    let owner = team.person("ada-l", Role::Owner).await;
    let ed = team.person("ed", Role::Editor).await;
    let (_, key) = ed.api.makes_key(json!({ "name": "mine" })).await;
    owner.api.delete(&path(ed.user)).await.is(204);
    people::join(&mut team.on().sql().await, team.on().keys().org, ed.user, Role::Editor).await;
    assert_eq!(key.knocks().await, 401);
    assert_eq!(ed.api.knocks().await, 200);
}

#[tokio::test]
async fn who_is_removed_keeps_their_other_organizations() {
    let team = Team::start().await;
    let owner = team.person("ada-l", Role::Owner).await;
    let eve = team.stranger("eve").await;
    people::join(&mut team.on().sql().await, team.on().keys().org, eve.user, Role::Editor).await;
    let here = eve.api.about("tests");
    let (_, key_there) = eve.api.makes_key(json!({ "name": "there" })).await;
    let (_, key_here) = here.makes_key(json!({ "name": "here" })).await;
    owner.api.delete(&path(eve.user)).await.is(204);
    assert_eq!((eve.api.knocks().await, key_there.knocks().await), (200, 200));
    assert_eq!((here.knocks().await, key_here.about("").knocks().await), (404, 401));
}

#[tokio::test]
async fn a_suspended_member_is_shut_out_and_let_in_again() {
    let team = Team::start().await;
    let owner = team.person("ada-l", Role::Owner).await;
    let ed = team.person("ed", Role::Editor).await;
    let (_, key) = ed.api.makes_key(json!({ "name": "mine" })).await;
    let suspended = owner.api.patch(&path(ed.user), json!({ "suspended": true })).await.is(200);
    assert!(suspended.body["suspended_at"].is_string());
    assert_eq!((ed.api.knocks().await, key.knocks().await), (401, 401));
    let again = owner.api.patch(&path(ed.user), json!({ "suspended": true })).await.is(200);
    assert_eq!(again.body["suspended_at"], suspended.body["suspended_at"]);
    let resumed = owner.api.patch(&path(ed.user), json!({ "suspended": false })).await.is(200);
    assert!(resumed.body.get("suspended_at").is_none());
    assert_eq!((ed.api.knocks().await, key.knocks().await), (200, 200));
    assert_eq!((team.audited("member.suspended").await, team.audited("member.resumed").await), (1, 1));
}

#[tokio::test]
async fn a_member_of_another_organization_is_not_there() {
    let team = Team::start().await;
    let eve = team.stranger("eve").await;
    for user in [eve.user, UserId::new()] {
        team.key().patch(&path(user), json!({ "role": "viewer" })).await.is(404);
        team.key().delete(&path(user)).await.is(404);
    }
    assert_eq!(eve.api.knocks().await, 200);
    assert_eq!(team.key().get("/v1/members").await.each("user"), Vec::<String>::new());
}

#[tokio::test]
async fn a_program_that_was_let_in_for_less_than_all_does_not_decide_where_its_person_belongs() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    team.person("bob", Role::Owner).await;
    let (key, _) = ada.api.makes_key(json!({ "name": "laptop", "scopes": ["read"] })).await;
    let (_, link) = team.key().invites("viewer").await;
    for scopes in ["read", "read run", "run manage read"] {
        let narrow = team.lets_in("ada-l", scopes).await;
        if scopes.contains("manage") {
            narrow.post("/v1/orgs", json!({ "name": "all" })).await.is(201);
            continue;
        }
        narrow.get("/v1/whoami").await.is(200);
        narrow.delete(&path(ada.user)).await.is(403).refuses("forbidden");
        narrow.post("/v1/orgs", json!({ "name": "adas" })).await.is(403).refuses("forbidden");
        narrow.accepts(&link).await.is(403).refuses("forbidden");
        narrow.delete(&format!("/v1/keys/{key}")).await.is(403).refuses("forbidden");
        let at_once = json!({ "overlap_seconds": 0 });
        narrow.post(&format!("/v1/keys/{key}/rotate"), at_once).await.is(403).refuses("forbidden");
    }
    ada.api.delete(&path(ada.user)).await.is(204);
}

#[tokio::test]
async fn a_login_that_has_ended_makes_nothing_that_lasts_while_it_is_still_believed() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    let eve = team.stranger("eve").await;
    let (_, link) = team.key().invites("viewer").await;
    for api in [&ada.api, &eve.api] {
        api.get("/v1/whoami").await.is(200);
    }
    let before = team.authority.value("select count(*) from api_keys").await;
    // Behind the server's back, as another replica would.
    team.authority.sql("update logins set revoked_at = now()").await;
    ada.api.get("/v1/jobs").await.is(200);
    for (route, body) in [
        ("/v1/keys", json!({ "name": "laptop" })),
        ("/v1/invitations", json!({ "role": "owner" })),
        ("/v1/service-accounts", json!({ "name": "ci", "role": "owner" })),
        ("/v1/orgs", json!({ "name": "adas" })),
    ] {
        ada.api.post(route, body).await.is(401).refuses("unauthenticated");
    }
    eve.api.accepts(&link).await.is(401).refuses("unauthenticated");
    assert_eq!(team.authority.value("select count(*) from api_keys").await, before);
    assert_eq!(team.authority.value("select count(*) from invitations").await, "1");
}
