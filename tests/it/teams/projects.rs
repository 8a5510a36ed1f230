//! Projects: what holds for their jobs.

use ckrv_tests::replica::MACHINE;
use ckrv_types::runner::{HandIn, Origin};

use super::*;

fn path(id: &str) -> String {
    format!("/v1/projects/{id}")
}

#[tokio::test]
async fn an_archived_project_takes_no_jobs_and_can_be_read() {
    let team = Team::start().await;
    let api = team.key();
    let project = api.makes_project("old", json!({})).await;
    let job = api.submits(Some(&project), json!({})).await.is(201).text("id").to_owned();
    api.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await.is(200);
    assert!(api.patch(&path(&project), json!({ "archived": true })).await.is(200).body["archived_at"].is_string());
    api.submits(Some(&project), json!({})).await.is(409).refuses("conflict");
    api.post(&format!("/v1/jobs/{job}/retry"), json!({})).await.is(409);
    api.get(&format!("/v1/jobs/{job}")).await.is(200);
    assert_eq!(api.get("/v1/projects").await.each("name"), ["default", "old"]);
    api.patch(&path(&project), json!({ "archived": false })).await.is(200);
    api.submits(Some(&project), json!({})).await.is(201);
    assert_eq!((team.audited("project.archived").await, team.audited("project.restored").await), (1, 1));
}

#[tokio::test]
async fn where_jobs_go_that_name_no_project_is_never_archived() {
    let team = Team::start().await;
    let api = team.key();
    let newer = api.makes_project("newer", json!({})).await;
    let listed = api.get("/v1/projects").await;
    let is_default: Vec<_> = listed.body["items"].as_array().unwrap().iter().map(|item| &item["is_default"]).collect();
    assert_eq!(is_default, [&json!(true), &json!(false)]);
    let default = team.on().keys().project.to_string();
    api.patch(&path(&default), json!({ "archived": true })).await.is(409);
    api.patch(&path(&newer), json!({ "archived": true })).await.is(200);
    assert_eq!(api.submits(None, json!({})).await.is(201).text("project"), default);
}

#[tokio::test]
async fn a_projects_settings_refuse_what_they_do_not_allow_by_field() {
    let team = Team::start().await;
    let api = team.key();
    let settings = json!({ "classes": ["small", "large"], "max_run_seconds": 600, "repositories": ["https://example.com/team/*"] });
    let project = api.makes_project("strict", settings).await;
    for (more, field) in [
        (json!({}), "spec.class"),
        (json!({ "class": "huge" }), "spec.class"),
        (json!({ "class": "small", "limits": { "run": 601 } }), "spec.limits.run"),
        (json!({ "class": "small", "repo": "https://example.com/other/app.git" }), "spec.repo"),
        (json!({ "class": "small", "repo": "https://example.com.evil.example/team/app" }), "spec.repo"),
    ] {
        let refused = api.submits(Some(&project), more).await.is(422).refuses("invalid");
        assert_eq!(refused.body["errors"][0]["field"], field, "{refused:?}");
    }
    let made = api.submits(Some(&project), json!({ "class": "small", "limits": { "run": 60 } })).await.is(201);
    assert_eq!(made.body["spec"]["limits"]["run"], 60);
}

#[tokio::test]
async fn a_projects_settings_fill_in_what_a_job_leaves_open() {
    let team = Team::start().await;
    let api = team.key();
    let project = api.makes_project("filled", json!({ "class": "small", "max_run_seconds": 600 })).await;
    let made = api.submits(Some(&project), json!({})).await.is(201);
    assert_eq!((&made.body["spec"]["class"], &made.body["spec"]["limits"]["run"]), (&json!("small"), &json!(600)));
    let shown = api.get(&format!("/v1/jobs/{}", made.text("id"))).await;
    assert_eq!(shown.body["spec"], made.body["spec"]);
    let kept = team.authority.value("select class || ' ' || run_limit from attempts").await;
    assert_eq!(kept, "small 600");
}

#[tokio::test]
async fn who_named_no_class_is_told_that_the_project_gave_the_one_that_is_refused() {
    let team = Team::start().await;
    let api = team.key();
    let project = api.makes_project("classy", json!({ "class": "small" })).await;
    team.authority.sql("update tiers set classes = '{}'").await;
    let told = api.submits(Some(&project), json!({})).await.is(403);
    assert!(told.text("detail").contains("settings of the project `classy` gave it"), "{told:?}");
    assert!(told.text("hint").contains("out of the project's settings"), "{told:?}");
    let named = api.submits(Some(&project), json!({ "class": "small" })).await.is(403);
    assert!(!named.text("detail").contains("classy"), "{named:?}");
}

#[tokio::test]
async fn a_retry_keeps_to_what_holds_now() {
    let team = Team::start().await;
    let api = team.key();
    let project = api.makes_project("later", json!({})).await;
    let job = api.submits(Some(&project), json!({ "limits": { "run": 900 } })).await.is(201).text("id").to_owned();
    api.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await.is(200);
    api.patch(&path(&project), json!({ "settings": { "max_run_seconds": 600 } })).await.is(200);
    api.post(&format!("/v1/jobs/{job}/retry"), json!({})).await.is(422);
    api.patch(&path(&project), json!({ "settings": {} })).await.is(200);
    api.post(&format!("/v1/jobs/{job}/retry"), json!({})).await.is(201);
}

#[tokio::test]
async fn a_job_that_a_runner_hands_in_keeps_to_its_projects_settings() {
    let team = Team::start().await;
    let api = team.key();
    let project =
        api.makes_project("cluster", json!({ "class": "small", "repositories": ["https://example.com/team/*"] })).await;
    let made = api.post("/v1/runners", json!({ "name": "cluster", "allow": { "*": project } })).await.is(201);
    let runner = team.on().replica.runner(&Secret::new(made.text("token")), 1, &["small"]).await;
    let hand_in = |uid: &str, repo: &str| HandIn {
        instance: MACHINE.to_owned(),
        origin: Origin { namespace: "jobs".into(), name: uid.to_owned(), uid: uid.to_owned() },
        spec: ckrv_types::JobSpec { repo: repo.to_owned(), ..ckrv_tests::replica::spec() },
    };
    let job = runner.hand_in(&hand_in("one", "https://example.com/team/app")).await.unwrap().job;
    let shown = api.get(&format!("/v1/jobs/{job}")).await;
    assert_eq!((shown.text("project"), &shown.body["spec"]["class"]), (project.as_str(), &json!("small")));
    let refused = runner.hand_in(&hand_in("two", "https://example.com/other/app")).await;
    assert_eq!(ckrv_tests::acting::refused(refused), ckrv_types::ProblemCode::Invalid);
    api.patch(&path(&project), json!({ "archived": true })).await.is(200);
    let refused = runner.hand_in(&hand_in("three", "https://example.com/team/app")).await;
    assert_eq!(ckrv_tests::acting::refused(refused), ckrv_types::ProblemCode::Conflict);
    // What was taken before stays taken.
    assert_eq!(runner.hand_in(&hand_in("one", "https://example.com/team/app")).await.unwrap().job, job);
}

#[tokio::test]
async fn settings_that_cannot_hold_are_refused_by_field() {
    let team = Team::start().await;
    for (settings, field) in [
        (json!({ "class": "large", "classes": ["small"] }), "settings.class"),
        (json!({ "max_run_seconds": 0 }), "settings.max_run_seconds"),
        (json!({ "concurrency": 10_001 }), "settings.concurrency"),
        (json!({ "repositories": ["https://example.com*"] }), "settings.repositories"),
        (json!({ "repositories": ["https://*.example.com/x"] }), "settings.repositories"),
    ] {
        let refused = team.key().post("/v1/projects", json!({ "name": "p", "settings": settings })).await.is(422);
        assert_eq!(refused.body["errors"][0]["field"], field, "{refused:?}");
    }
}

#[tokio::test]
async fn what_is_not_said_stays_and_settings_are_taken_whole() {
    let team = Team::start().await;
    let api = team.key();
    let project = api.makes_project("p", json!({ "class": "small", "concurrency": 3 })).await;
    let renamed = api.patch(&path(&project), json!({ "name": "q" })).await.is(200);
    assert_eq!(renamed.body["settings"], json!({ "class": "small", "concurrency": 3 }));
    let changed = api.patch(&path(&project), json!({ "settings": { "class": "large" } })).await.is(200);
    assert_eq!((changed.text("name"), &changed.body["settings"]), ("q", &json!({ "class": "large" })));
    assert_eq!(api.get(&path(&project)).await.body, changed.body);
    api.patch(&path(&project), json!({ "name": "default" })).await.is(409);
    api.post("/v1/projects", json!({ "name": "default" })).await.is(409);
}

#[tokio::test]
async fn who_may_not_manage_makes_and_changes_no_project_and_anothers_is_not_there() {
    let team = Team::start().await;
    let project = team.key().makes_project("p", json!({})).await;
    for (login, role) in [("ed", Role::Editor), ("vi", Role::Viewer)] {
        let who = team.person(login, role).await;
        who.api.post("/v1/projects", json!({ "name": "mine" })).await.is(403);
        who.api.patch(&path(&project), json!({ "archived": true })).await.is(403);
        who.api.get(&path(&project)).await.is(200);
    }
    let other = team.on().organization("neighbours").await;
    let theirs = team.by(&other.api_key);
    theirs.get(&path(&project)).await.is(404);
    theirs.patch(&path(&project), json!({ "archived": true })).await.is(404);
    theirs.submits(Some(&project), json!({})).await.is(422);
    assert_eq!(theirs.get("/v1/projects").await.each("name"), ["default"]);
}
