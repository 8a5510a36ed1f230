//! The export of the audit log over connections that fail.

use std::time::Duration;

use ckrv_client::{AuditQuery, ClientError, Exported};
use ckrv_types::{AuditId, ProblemCode};
use futures::StreamExt as _;

use crate::peer::{Peer, Reply};

fn entry(id: AuditId) -> String {
    // A member that this version does not know is kept.
    format!(
        r#"{{"id":"{id}","at":"2026-01-01T00:00:00Z","actor":{{"kind":"system"}},"action":"key.created","detail":{{}},"new":1}}"#
    )
}

fn body(ids: &[AuditId]) -> Reply {
    let lines: String = ids.iter().map(|id| entry(*id) + "\n").collect();
    Reply::status("200 OK", &[("content-type", "application/x-ndjson")], &lines)
}

async fn export(peer: &Peer, after: Option<AuditId>, give_up: Duration) -> Vec<Result<Exported, ClientError>> {
    peer.client().export_audit(AuditQuery::default(), after, give_up).collect().await
}

#[tokio::test]
async fn an_export_that_is_cut_goes_on_behind_its_last_whole_line() {
    let ids: Vec<AuditId> = (0..4).map(|_| AuditId::new()).collect();
    let all = ids.clone();
    let peer = Peer::start(move |number, request| {
        assert_eq!(request.header("accept"), Some("application/x-ndjson"));
        match number {
            0 => {
                let whole = body(&all);
                let size = whole.bytes.len();
                // In the midst of the third entry.
                whole.cut(size - entry(all[3]).len() - 40)
            }
            1 => Reply::status("502 Bad Gateway", &[], ""),
            _ => body(&all[2..]),
        }
    })
    .await;
    let told = export(&peer, None, Duration::from_secs(5)).await;
    let told: Vec<Exported> = told.into_iter().map(Result::unwrap).collect();
    assert_eq!(told.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
    assert_eq!(told[0].line, entry(ids[0]));
    let targets: Vec<String> = peer.requests().into_iter().map(|request| request.target).collect();
    let rest = format!("/v1/audit?after={}", ids[1]);
    assert_eq!(targets, ["/v1/audit", &rest, &rest]);
}

#[tokio::test]
async fn an_export_that_is_refused_ends_with_the_refusal() {
    let refusal = r#"{"title":"Not allowed","status":403,"code":"forbidden"}"#;
    let peer = Peer::start(move |_, _| Reply::problem("403 Forbidden", &[], refusal)).await;
    let told = export(&peer, None, Duration::from_secs(5)).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].as_ref().unwrap_err().problem_code(), Some(ProblemCode::Forbidden));
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn an_export_gives_up_when_nothing_answers() {
    let peer = Peer::start(|_, _| Reply::status("503 Service Unavailable", &[], "")).await;
    let after = AuditId::new();
    let told = export(&peer, Some(after), Duration::from_millis(300)).await;
    assert!(told.last().unwrap().as_ref().unwrap_err().is_unreachable(), "{told:?}");
    assert!(peer.requests().iter().all(|request| request.target == format!("/v1/audit?after={after}")));
}
