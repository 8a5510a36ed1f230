//! Invitations by programs: whoever has the link joins, once, as what they were invited to be.

use ckrv_tests::replica::Loops;

use super::*;

async fn members(team: &Team) -> String {
    let org = team.on().keys().org.uuid();
    team.authority.value(&format!("select count(*) from members where org_id = '{org}'")).await
}

#[tokio::test]
async fn who_has_the_link_joins_as_what_it_says() {
    let team = Team::start().await;
    let (_, link) = team.key().invites("editor").await;
    assert!(link.starts_with(&format!("{}/invitations/", team.authority.issuer())), "{link}");
    let eve = team.stranger("eve").await;
    let joined = eve.api.accepts(&link).await.is(200);
    assert_eq!((joined.text("org_name"), joined.text("role")), ("tests", "editor"));
    let here = eve.api.about("tests");
    assert_eq!(here.get("/v1/whoami").await.body["scopes"], json!(["read", "run"]));
    here.submits(None, json!({})).await.is(201);
    assert_eq!(team.key().get("/v1/invitations").await.each("id"), Vec::<String>::new());
}

#[tokio::test]
async fn an_invitation_is_good_for_a_week() {
    let team = Team::start().await;
    team.key().invites("viewer").await;
    assert_eq!(team.authority.value("select expires_at - created_at from invitations").await, "7 days");
}

#[tokio::test]
async fn invitations_end_with_the_right_to_make_them_and_take_no_places_any_more() {
    let team = Team::start().await;
    let owner = team.person("ada-l", Role::Owner).await;
    let admin = team.person("bob", Role::Admin).await;
    let (account, bot) = owner.api.makes_account("bot", "owner").await;
    let (kept, _) = owner.api.invites("viewer").await;
    admin.api.invites("editor").await;
    let (for_owner, _) = bot.invites("owner").await;
    let (for_viewer, _) = bot.invites("viewer").await;
    let open = async || {
        let mut open = owner.api.get("/v1/invitations").await.each("id");
        open.sort();
        open
    };
    assert_eq!(open().await.len(), 4);
    owner.api.patch(&format!("/v1/members/{}", admin.user), json!({ "suspended": true })).await.is(200);
    assert_eq!(open().await.len(), 4, "who is suspended may come back");
    owner.api.patch(&format!("/v1/members/{}", admin.user), json!({ "role": "editor" })).await.is(200);
    assert_eq!(open().await, [kept.clone(), for_owner, for_viewer.clone()]);
    let account = format!("/v1/service-accounts/{account}");
    owner.api.patch(&account, json!({ "role": "admin" })).await.is(200);
    assert_eq!(open().await, [kept.clone(), for_viewer]);
    owner.api.delete(&account).await.is(204);
    assert_eq!(open().await, [kept]);
    assert_eq!(team.audited("invitation.revoked").await, 3);
}

#[tokio::test]
async fn the_last_part_of_the_link_is_enough() {
    let team = Team::start().await;
    let (_, link) = team.key().invites("viewer").await;
    let token = link.rsplit('/').next().unwrap();
    team.stranger("eve").await.api.accepts(token).await.is(200);
}

#[tokio::test]
async fn an_invitation_is_taken_once() {
    let team = Team::start().await;
    let (_, link) = team.key().invites("viewer").await;
    let (eve, mallory) = (team.stranger("eve").await, team.stranger("mallory").await);
    let first = eve.api.accepts(&link).await.is(200);
    mallory.api.accepts(&link).await.is(404);
    assert_eq!(eve.api.accepts(&link).await.is(200).body, first.body, "who has it gets the same answer again");
    assert_eq!(members(&team).await, "1");
    // Nor does it bring back whoever has left.
    eve.api.about("tests").delete(&format!("/v1/members/{}", eve.user)).await.is(204);
    eve.api.accepts(&link).await.is(404);
}

#[tokio::test]
async fn of_two_who_take_one_invitation_at_once_one_joins() {
    let team = Team::start().await;
    let other = team.on().another_replica(Loops::Off).await;
    let (eve, mallory) = (team.stranger("eve").await, team.stranger("mallory").await);
    for round in 1..=5 {
        let (_, link) = team.key().invites("viewer").await;
        let there = mallory.api.at(&other);
        let (one, two) = tokio::join!(eve.api.accepts(&link), there.accepts(&link));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404], "round {round}");
        team.authority.sql("delete from members where role = 'viewer'").await;
    }
}

#[tokio::test]
async fn an_invitation_that_is_over_or_revoked_or_made_up_lets_nobody_in() {
    let team = Team::start().await;
    let eve = team.stranger("eve").await;
    let (_, over) = team.key().invites("viewer").await;
    team.authority.sql("update invitations set expires_at = now() - interval '1 second'").await;
    let (revoked_id, revoked) = team.key().invites("viewer").await;
    let path = format!("/v1/invitations/{revoked_id}");
    for _ in 0..2 {
        team.key().delete(&path).await.is(204);
    }
    let made_up = format!("{revoked}x");
    for link in [over.as_str(), &revoked, &made_up, "x", "/"] {
        let refused = eve.api.accepts(link).await.is(404);
        assert!(refused.text("hint").contains("a new one"), "{refused:?}");
    }
    assert_eq!(members(&team).await, "0");
    assert_eq!(team.key().get("/v1/invitations").await.each("id"), Vec::<String>::new());
}

#[tokio::test]
async fn an_invitation_is_worth_no_more_than_who_made_it() {
    let team = Team::start().await;
    let owner = team.person("ada-l", Role::Owner).await;
    let eve = team.stranger("eve").await;
    let admin = team.person("bob", Role::Admin).await;
    let (_, link) = admin.api.invites("admin").await;
    let path = format!("/v1/members/{}", admin.user);
    for change in [json!({ "role": "editor" }), json!({ "role": "admin", "suspended": true })] {
        owner.api.patch(&path, change).await.is(200);
        eve.api.accepts(&link).await.is(404);
    }
    owner.api.delete(&path).await.is(204);
    eve.api.accepts(&link).await.is(404);
    // In particular not for whoever made it, to come back by.
    team.stranger("bob-again").await.api.accepts(&link).await.is(404);
}

#[tokio::test]
async fn nobody_invites_somebody_above_themselves() {
    let team = Team::start().await;
    let admin = team.person("bob", Role::Admin).await;
    admin.api.post("/v1/invitations", json!({ "role": "owner" })).await.is(403);
    admin.api.post("/v1/invitations", json!({ "role": "admin" })).await.is(201);
    for (login, role) in [("ed", Role::Editor), ("vi", Role::Viewer)] {
        let who = team.person(login, role).await;
        who.api.post("/v1/invitations", json!({ "role": "viewer" })).await.is(403);
        who.api.get("/v1/invitations").await.is(403);
    }
    let (_, narrow) = team.key().makes_key(json!({ "name": "narrow", "scopes": ["read", "manage"] })).await;
    narrow.post("/v1/invitations", json!({ "role": "editor" })).await.is(403);
    narrow.post("/v1/invitations", json!({ "role": "viewer" })).await.is(201);
}

#[tokio::test]
async fn an_admin_does_not_revoke_an_owners_invitation_to_own() {
    let team = Team::start().await;
    let (id, _) = team.key().invites("owner").await;
    let admin = team.person("bob", Role::Admin).await;
    admin.api.delete(&format!("/v1/invitations/{id}")).await.is(403);
}

#[tokio::test]
async fn who_is_a_member_already_stays_what_they_are() {
    let team = Team::start().await;
    let viewer = team.person("vi", Role::Viewer).await;
    let (_, link) = team.key().invites("owner").await;
    viewer.api.accepts(&link).await.is(409).refuses("conflict");
    assert_eq!(viewer.api.get("/v1/whoami").await.body["scopes"], json!(["read"]));
    team.stranger("eve").await.api.accepts(&link).await.is(200);
}

#[tokio::test]
async fn who_is_suspended_does_not_come_back_by_an_invitation() {
    let team = Team::start().await;
    let eve = team.stranger("eve").await;
    let (_, first) = team.key().invites("viewer").await;
    eve.api.accepts(&first).await.is(200);
    team.key().patch(&format!("/v1/members/{}", eve.user), json!({ "suspended": true })).await.is(200);
    let (_, second) = team.key().invites("viewer").await;
    eve.api.accepts(&second).await.is(409);
    assert_eq!(eve.api.about("tests").knocks().await, 404);
}

#[tokio::test]
async fn an_api_key_joins_nothing() {
    let team = Team::start().await;
    let (_, link) = team.key().invites("owner").await;
    let other = team.on().organization("neighbours").await;
    team.by(&other.api_key).accepts(&link).await.is(403);
    assert_eq!(members(&team).await, "0");
}

#[tokio::test]
async fn an_invitation_that_was_taken_is_not_revoked_and_another_organizations_is_not_there() {
    let team = Team::start().await;
    let (id, link) = team.key().invites("viewer").await;
    let path = format!("/v1/invitations/{id}");
    let other = team.on().organization("neighbours").await;
    team.by(&other.api_key).delete(&path).await.is(404);
    assert_eq!(team.by(&other.api_key).get("/v1/invitations").await.each("id"), Vec::<String>::new());
    team.stranger("eve").await.api.accepts(&link).await.is(200);
    team.key().delete(&path).await.is(409);
}

#[tokio::test]
async fn the_same_request_to_invite_makes_one_invitation_and_shows_its_link_again() {
    let team = Team::start().await;
    let url = team.on().replica.url().join("/v1/invitations").unwrap();
    let mut links = Vec::new();
    for _ in 0..2 {
        let request = team.authority.http.post(url.clone()).bearer_auth(team.on().keys().api_key.expose());
        let request = request.header("idempotency-key", "k").json(&json!({ "role": "viewer", "note": "for Eve" }));
        links.push(Answer::of(request).await.is(201).text("token").to_owned());
    }
    assert_eq!(links[0], links[1]);
    assert_eq!(team.key().get("/v1/invitations").await.each("note"), ["for Eve"]);
    team.stranger("eve").await.api.accepts(&links[1]).await.is(200);
}

#[tokio::test]
async fn no_link_is_kept() {
    let team = Team::start().await;
    let (_, link) = team.key().invites("viewer").await;
    let secret = link.rsplit('_').next().unwrap();
    let secret = &secret[..64];
    let kept = team.authority.value("select string_agg(t::text, '') from invitations t").await;
    let answers = team.authority.value("select string_agg(t::text, '') from idempotency t").await;
    assert!(!kept.is_empty() && !kept.contains(secret) && !answers.contains(secret));
}

#[tokio::test]
async fn a_note_is_of_one_line_that_can_be_read() {
    let team = Team::start().await;
    for note in ["", "a\nb", "a\u{202e}b", &"a".repeat(201)] {
        team.key().post("/v1/invitations", json!({ "role": "viewer", "note": note })).await.is(422);
    }
}
