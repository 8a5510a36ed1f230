//! A key is followed by another, and goes a while later.

use super::*;

async fn rotate(api: &Api, id: &str, body: Value) -> Answer {
    api.post(&format!("/v1/keys/{id}/rotate"), body).await
}

#[tokio::test]
async fn both_keys_are_good_for_the_overlap_and_then_the_new_one_alone() {
    let team = Team::start().await;
    let ed = team.person("ed", Role::Editor).await;
    let (old, key) = ed.api.makes_key(json!({ "name": "ci", "scopes": ["run"] })).await;
    let made = rotate(&ed.api, &old, json!({ "overlap_seconds": 600 })).await.is(201);
    assert_eq!((made.text("name"), made.text("rotated_from")), ("ci", old.as_str()));
    assert_eq!(made.body["scopes"], json!(["run"]));
    let new = key.with(made.text("token"));
    assert_eq!((key.submits(None, json!({})).await.status, new.submits(None, json!({})).await.status), (201, 201));
    team.authority
        .sql("update api_keys set expires_at = expires_at - interval '10 minutes' where expires_at is not null")
        .await;
    wait_for("the old key is refused", Duration::from_secs(15), async || {
        (key.submits(None, json!({})).await.status == 401).then_some(())
    })
    .await;
    new.submits(None, json!({})).await.is(201);
    assert_eq!(team.audited("key.rotated").await, 1);
}

#[tokio::test]
async fn without_an_overlap_the_old_one_is_dead_at_once() {
    let team = Team::start().await;
    let ed = team.person("ed", Role::Editor).await;
    let (old, key) = ed.api.makes_key(json!({ "name": "ci" })).await;
    assert_eq!(key.knocks().await, 200);
    rotate(&ed.api, &old, json!({ "overlap_seconds": 0 })).await.is(201);
    assert_eq!(key.knocks().await, 401);
}

#[tokio::test]
async fn the_usual_overlap_is_a_day_and_no_longer_than_the_old_one_had() {
    let team = Team::start().await;
    let hours = |id: &str| {
        format!(
            "select round(extract(epoch from expires_at - now()) / 3600) from api_keys where id = (select k.id from api_keys k where k.name = '{id}' order by k.id limit 1)"
        )
    };
    let (long, _) = team.key().makes_key(json!({ "name": "long" })).await;
    rotate(&team.key(), &long, json!({})).await.is(201);
    assert_eq!(team.authority.value(&hours("long")).await, "24");
    let (short, _) = team.key().makes_key(json!({ "name": "short", "expires_in_days": 1 })).await;
    rotate(&team.key(), &short, json!({ "overlap_seconds": 172_800 })).await.is(201);
    assert_eq!(team.authority.value(&hours("short")).await, "24");
}

#[tokio::test]
async fn the_new_one_lives_as_long_as_the_old_one_was_made_for_unless_it_is_said() {
    let team = Team::start().await;
    let days = "select round(extract(epoch from expires_at - created_at) / 86400) from api_keys where rotated_from is not null order by id desc limit 1";
    for (made_for, asked, lives) in [(Some(30), None, "30"), (None, None, ""), (Some(30), Some(7), "7")] {
        let (old, _) = team.key().makes_key(json!({ "name": "k", "expires_in_days": made_for })).await;
        team.authority.sql("update api_keys set created_at = created_at - interval '5 days', expires_at = expires_at - interval '5 days' where rotated_from is null and expires_at is not null").await;
        rotate(&team.key(), &old, json!({ "expires_in_days": asked })).await.is(201);
        assert_eq!(team.authority.value(days).await, lives);
    }
}

#[tokio::test]
async fn a_key_has_one_successor_and_a_dead_one_none() {
    let team = Team::start().await;
    let (once, _) = team.key().makes_key(json!({ "name": "once" })).await;
    rotate(&team.key(), &once, json!({})).await.is(201);
    let (revoked, _) = team.key().makes_key(json!({ "name": "revoked" })).await;
    team.key().delete(&format!("/v1/keys/{revoked}")).await.is(204);
    let (over, _) = team.key().makes_key(json!({ "name": "over" })).await;
    team.authority.sql("update api_keys set expires_at = now() where name = 'over'").await;
    for id in [once, revoked, over] {
        rotate(&team.key(), &id, json!({})).await.is(409).refuses("conflict");
    }
}

#[tokio::test]
async fn a_key_that_is_rotated_many_times_at_once_has_one_successor() {
    let team = Team::start().await;
    let (old, _) = team.key().makes_key(json!({ "name": "k" })).await;
    let api = team.key();
    let answers = futures::future::join_all((0..6).map(|_| rotate(&api, &old, json!({})))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn the_new_key_is_of_the_same_projects() {
    let team = Team::start().await;
    let project = team.key().makes_project("one", json!({})).await;
    let (old, _) = team.key().makes_key(json!({ "name": "k", "projects": [project] })).await;
    let made = rotate(&team.key(), &old, json!({})).await.is(201);
    assert_eq!(made.body["projects"], json!([project]));
}

#[tokio::test]
async fn a_program_with_less_than_the_key_has_does_not_get_its_successor() {
    let team = Team::start().await;
    let (_, narrow) = team.key().makes_key(json!({ "name": "narrow", "scopes": ["read", "manage"] })).await;
    let (wide, _) = team.key().makes_key(json!({ "name": "wide" })).await;
    rotate(&narrow, &wide, json!({})).await.is(403);
}

#[tokio::test]
async fn nobody_has_more_than_a_hundred_good_keys() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    let (first, _) = ada.api.makes_key(json!({ "name": "first" })).await;
    team.authority
        .sql(&format!(
            "insert into api_keys (id, org_id, user_id, name, token_hash)
             select gen_random_uuid(), org_id, user_id, 'more', sha256(i::text::bytea)
             from api_keys, generate_series(1, 99) i where user_id = '{}'",
            ada.user.uuid()
        ))
        .await;
    let refused = ada.api.post("/v1/keys", json!({ "name": "k" })).await.is(409);
    assert!(refused.text("hint").contains("ckrv key list"), "{refused:?}");
    // While both are good there would be one more.
    rotate(&ada.api, &first, json!({})).await.is(409);
    rotate(&ada.api, &first, json!({ "overlap_seconds": 0 })).await.is(201);
    ada.api.makes_account("bot", "viewer").await;
}

#[tokio::test]
async fn an_overlap_is_a_month_at_most() {
    let team = Team::start().await;
    let (id, _) = team.key().makes_key(json!({ "name": "k" })).await;
    rotate(&team.key(), &id, json!({ "overlap_seconds": 2_592_001 })).await.is(422);
}
