//! Whatever changes who may do what is written down, with who did it and from where.

use super::*;

#[tokio::test]
async fn every_act_has_its_line_in_the_organizations_log() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    let eve = team.stranger("eve").await;
    let api = &ada.api;
    let (account, _) = api.makes_account("bot", "viewer").await;
    let account = format!("/v1/service-accounts/{account}");
    api.patch(&account, json!({ "role": "editor", "suspended": true })).await.is(200);
    api.patch(&account, json!({ "suspended": false })).await.is(200);
    api.delete(&account).await.is(204);
    let (key, _) = api.makes_key(json!({ "name": "k" })).await;
    api.post(&format!("/v1/keys/{key}/rotate"), json!({})).await.is(201);
    api.delete(&format!("/v1/keys/{key}")).await.is(204);
    let runner = api.post("/v1/runners", json!({ "name": "r" })).await.is(201).text("id").to_owned();
    let runner = format!("/v1/runners/{runner}");
    api.patch(&runner, json!({ "allow": {} })).await.is(200);
    api.delete(&runner).await.is(204);
    let project = api.makes_project("p", json!({})).await;
    let project = format!("/v1/projects/{project}");
    api.patch(&project, json!({ "name": "q", "archived": true })).await.is(200);
    api.patch(&project, json!({ "archived": false })).await.is(200);
    let (invitation, _) = api.invites("viewer").await;
    api.delete(&format!("/v1/invitations/{invitation}")).await.is(204);
    let (_, link) = api.invites("viewer").await;
    eve.api.accepts(&link).await.is(200);
    let member = format!("/v1/members/{}", eve.user);
    api.patch(&member, json!({ "role": "editor", "suspended": true })).await.is(200);
    api.patch(&member, json!({ "suspended": false })).await.is(200);
    api.delete(&member).await.is(204);
    api.patch("/v1/org", json!({ "name": "renamed" })).await.is(200);

    let org = team.on().keys().org.uuid();
    let acts = format!(
        "select string_agg(action, ' ' order by action) from (
             select distinct action from audit_log where org_id = '{org}' and address = '127.0.0.1'
                 and actor_kind = 'user' and subject is not null and action !~ '^(login|device|session)[.]'
         ) acts"
    );
    assert_eq!(
        team.authority.value(&acts).await,
        "invitation.accepted invitation.created invitation.revoked key.created key.revoked key.rotated \
         member.joined member.removed member.resumed member.role-changed member.suspended org.renamed \
         project.archived project.changed project.created project.restored \
         runner.changed runner.created runner.revoked \
         service-account.changed service-account.created service-account.removed service-account.resumed \
         service-account.suspended"
    );
}

#[tokio::test]
async fn what_was_refused_or_changes_nothing_leaves_no_line() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    let count = "select count(*) from audit_log where action !~ '^(login|device|session)[.]'";
    let before = team.authority.value(count).await;
    let member = format!("/v1/members/{}", ada.user);
    ada.api.patch(&member, json!({})).await.is(200);
    ada.api.patch(&member, json!({ "role": "owner", "suspended": false })).await.is(200);
    ada.api.delete(&member).await.is(409);
    ada.api.patch("/v1/org", json!({ "name": "tests" })).await.is(200);
    ada.api.post("/v1/projects", json!({ "name": "default" })).await.is(409);
    let project = format!("/v1/projects/{}", team.on().keys().project);
    ada.api.patch(&project, json!({ "name": "default" })).await.is(200);
    assert_eq!(team.authority.value(count).await, before);
}
