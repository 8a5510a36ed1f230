//! Organizations by people.

use super::*;

#[tokio::test]
async fn a_person_makes_an_organization_and_owns_it() {
    let team = Team::start().await;
    let vi = team.person("vi", Role::Viewer).await;
    let made = vi.api.post("/v1/orgs", json!({ "name": "vis" })).await.is(201);
    assert_eq!((made.text("name"), &made.body["members"], &made.body["projects"]), ("vis", &json!(1), &json!(1)));
    let there = vi.api.about("vis");
    let whoami = there.get("/v1/whoami").await.is(200);
    assert_eq!((whoami.text("project_name"), whoami.body["user"]["role"].as_str()), ("default", Some("owner")));
    assert_eq!(there.get("/v1/org").await.body, made.body);
    assert_eq!(vi.api.get("/v1/orgs").await.each("org_name"), ["tests", "vis"]);
    assert_eq!(vi.api.get("/v1/orgs").await.each("role"), ["viewer", "owner"]);
    // The first is the installation's own.
    assert_eq!(team.audited("org.created").await, 2);
    there.submits(None, json!({})).await.is(201);
}

#[tokio::test]
async fn organizations_are_the_operators_to_make_unless_it_is_said() {
    let team = Team::with(&[]).await;
    let ada = team.person("ada-l", Role::Owner).await;
    let refused = ada.api.post("/v1/orgs", json!({ "name": "mine" })).await.is(403);
    assert!(refused.text("hint").contains("admin create-org"), "{refused:?}");
}

#[tokio::test]
async fn a_person_makes_ten_organizations_and_no_more_however_many_at_once() {
    let team = Team::start().await;
    let arguments = ["--org-creation", "anyone"];
    let other = team.on().another_replica_with(ckrv_tests::replica::Loops::Off, &arguments).await;
    // Those that the operator has made for somebody are none of theirs.
    let eve = team.stranger("eve").await;
    let there = eve.api.at(&other);
    let asked = (0..12).map(|number| {
        let api = if number % 2 == 0 { &eve.api } else { &there };
        api.post("/v1/orgs", json!({ "name": format!("n{number}") }))
    });
    let answers = futures::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 10);
    let refused = answers.into_iter().find(|answer| answer.status != 201).unwrap().is(409);
    assert!(refused.text("hint").contains("admin create-org"), "{refused:?}");
}

#[tokio::test]
async fn an_api_key_makes_no_organization() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    let (_, key) = ada.api.makes_key(json!({ "name": "k" })).await;
    for api in [&key, &team.key()] {
        api.post("/v1/orgs", json!({ "name": "more" })).await.is(403);
    }
    assert_eq!(key.get("/v1/orgs").await.each("org_name"), ["tests"]);
}

#[tokio::test]
async fn a_name_is_had_once_and_the_same_request_makes_one_organization() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    for name in ["tests", "x", "x"] {
        let made = ada.api.post("/v1/orgs", json!({ "name": name })).await;
        assert!(made.status == 201 || made.status == 409, "{made:?}");
    }
    ada.api.post("/v1/orgs", json!({ "name": "Not a name" })).await.is(422);
    let url = team.on().replica.url().join("/v1/orgs").unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = team.authority.http.post(url.clone()).bearer_auth(&ada.api.token).header("idempotency-key", "k");
        ids.push(Answer::of(request.json(&json!({ "name": "y" }))).await.is(201).text("id").to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ada.api.get("/v1/orgs").await.each("org_name"), ["tests", "x", "y"]);
}

#[tokio::test]
async fn an_owner_renames_the_organization_and_nobody_else() {
    let team = Team::start().await;
    let (ada, bob) = (team.person("ada-l", Role::Owner).await, team.person("bob", Role::Admin).await);
    team.on().organization("neighbours").await;
    bob.api.patch("/v1/org", json!({ "name": "bobs" })).await.is(403);
    ada.api.patch("/v1/org", json!({ "name": "neighbours" })).await.is(409);
    ada.api.patch("/v1/org", json!({ "name": "Not a name" })).await.is(422);
    assert_eq!(ada.api.about("tests").knocks().await, 200);
    assert_eq!(ada.api.patch("/v1/org", json!({ "name": "adas" })).await.is(200).text("name"), "adas");
    assert_eq!(ada.api.about("tests").knocks().await, 404);
    assert_eq!(ada.api.about("adas").get("/v1/whoami").await.text("org_name"), "adas");
    assert_eq!(team.audited("org.renamed").await, 1);
}
