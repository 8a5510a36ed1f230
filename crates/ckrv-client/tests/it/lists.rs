//! Lists that come in pages, and what a request that is about something else asks for.

use ckrv_client::AuditQuery;
use ckrv_types::ProjectId;
use ckrv_types::credential::{CredentialSecret, ReplaceSecret};
use ckrv_types::identity::{RotateKey, UpdateProject};
use ckrv_types::quota::UsageBy;
use ckrv_types::{CredentialId, KeyId, Secret};

use crate::peer::{Peer, Reply};

fn page(names: &[&str], next: Option<&str>) -> Reply {
    let items: Vec<String> = names
        .iter()
        .map(|name| {
            let id = ProjectId::new();
            format!(
                r#"{{"id":"{id}","name":"{name}","settings":{{}},"is_default":false,"created_at":"2026-01-01T00:00:00Z"}}"#
            )
        })
        .collect();
    let next = next.map(|next| format!(r#","next":"{next}""#)).unwrap_or_default();
    Reply::json(&format!(r#"{{"items":[{}]{next}}}"#, items.join(",")))
}

#[tokio::test]
async fn a_list_is_read_to_its_last_page() {
    let peer = Peer::start(|number, _| match number {
        0 => page(&["a", "b"], Some("x&y")),
        1 => page(&["c"], None),
        _ => panic!("it asks for more than there is"),
    })
    .await;
    let projects = peer.client().projects().await.unwrap();
    assert_eq!(projects.items.iter().map(|project| project.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let targets: Vec<String> = peer.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/v1/projects", "/v1/projects?cursor=x%26y"]);
}

#[tokio::test]
async fn a_server_that_points_to_the_same_page_again_is_not_asked_for_ever() {
    let peer = Peer::start(|_, _| page(&["a"], Some("here"))).await;
    peer.client().projects().await.unwrap();
    assert_eq!(peer.requests().len(), 2);
}

#[tokio::test]
async fn what_is_absent_in_a_change_is_not_sent() {
    let peer = Peer::start(|_, _| Reply::status("418 I'm a teapot", &[], "")).await;
    let (client, id) = (peer.client(), ProjectId::new());
    let update = UpdateProject { archived: Some(true), ..UpdateProject::default() };
    client.update_project(id, &update).await.unwrap_err();
    let request = peer.requests().remove(0);
    assert_eq!((request.method.as_str(), request.target), ("PATCH", format!("/v1/projects/{id}")));
    assert_eq!(request.body, r#"{"archived":true}"#);
}

#[tokio::test]
async fn a_rotation_whose_answer_is_lost_makes_one_key() {
    let peer = Peer::start(|number, _| match number {
        0 => Reply::json("{}").cut(20),
        _ => Reply::status("418 I'm a teapot", &[], ""),
    })
    .await;
    peer.client().rotate_key(KeyId::new(), &RotateKey::default()).await.unwrap_err();
    let requests = peer.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("idempotency-key"), requests[1].header("idempotency-key"));
    assert!(requests[0].header("idempotency-key").is_some());
}

#[tokio::test]
async fn a_secret_travels_in_the_body_alone() {
    let peer = Peer::start(|_, _| Reply::status("418 I'm a teapot", &[], "")).await;
    let (id, secret) = (CredentialId::new(), CredentialSecret(Secret::new("hunter2")));
    let error = peer.client().replace_secret(id, &ReplaceSecret { secret }).await.unwrap_err();
    let request = peer.requests().remove(0);
    assert_eq!((request.method.as_str(), request.body.as_str()), ("PUT", r#"{"secret":"hunter2"}"#));
    assert_eq!(request.target, format!("/v1/credentials/{id}/secret"));
    assert!(!format!("{:?} {error:?}", request.headers).contains("hunter2"));
}

#[tokio::test]
async fn conditions_are_sent_as_the_api_names_them() {
    let peer = Peer::start(|_, _| Reply::json(r#"{"items":[]}"#)).await;
    let client = peer.client();
    client.usage(None, UsageBy::Project).await.unwrap_err();
    client.usage(Some("2026-11"), UsageBy::ServiceAccount).await.unwrap_err();
    let since = time::OffsetDateTime::from_unix_timestamp(0).ok();
    let query = AuditQuery { since, action: Some("key.created".into()), ..AuditQuery::default() };
    client.audit(&query, None, 50).await.unwrap();
    client.audit(&AuditQuery::default(), Some("c"), 2).await.unwrap();
    let targets: Vec<String> = peer.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(
        targets,
        [
            "/v1/usage?by=project",
            "/v1/usage?month=2026-11&by=service_account",
            "/v1/audit?since=1970-01-01T00%3A00%3A00Z&action=key.created&limit=50",
            "/v1/audit?cursor=c&limit=2",
        ]
    );
}
