//! Looking through the log.

use ckrv_types::ProblemCode;
use ckrv_types::audit::AuditActorKind;
use ckrv_types::identity::CreateRunner;

use super::{Auditor, actions, subjects};

#[tokio::test]
async fn pages_go_back_from_the_newest_entry_to_the_first() {
    let auditor = Auditor::new().await;
    auditor.write("test.done", &["1", "2", "3", "4", "5"]).await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = auditor.page(&format!("action=test.done&limit=2{cursor}")).await;
        seen.extend(page.items.iter().filter_map(|entry| entry.subject.clone()));
        // What is added meanwhile is on no further page.
        auditor.write("test.done", &["later"]).await;
        let Some(next) = page.next else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
}

#[tokio::test]
async fn entries_are_found_by_action_noun_actor_subject_and_time() {
    let auditor = Auditor::new().await;
    let made =
        auditor.on.client().create_runner(&CreateRunner { name: "one".to_owned(), allow: [].into() }).await.unwrap();
    auditor.write("runner.painted", &["a"]).await;
    auditor.write("runners-up.painted", &["b"]).await;
    let found = auditor.page("action=runner.created&actor=system").await.items;
    assert_eq!(found.len(), 1, "the one that the installation began with: {found:?}");
    let of_runners = auditor.page("action=runner.").await.items;
    assert_eq!(actions(&of_runners), ["runner.painted", "runner.created", "runner.created"]);
    let by_subject = auditor.page(&format!("subject={}", made.item.id)).await.items;
    assert_eq!(actions(&by_subject), ["runner.created"]);
    let actor = &by_subject[0].actor;
    assert_eq!((actor.kind, actor.name.as_deref()), (AuditActorKind::Key, Some("bootstrap")));
    let id = actor.id.clone().expect("a key has an id");
    assert_eq!(subjects(&auditor.page(&format!("actor={id}")).await.items), [made.item.id.to_string()]);
    assert_eq!(by_subject[0].address.as_deref(), Some("127.0.0.1"));

    let time =
        |entry: &ckrv_types::audit::AuditEntry| serde_json::to_value(entry).unwrap()["at"].as_str().unwrap().to_owned();
    let at = time(&of_runners[0]);
    assert_eq!(subjects(&auditor.page(&format!("since={at}")).await.items), ["b", "a"]);
    assert!(
        actions(&auditor.page(&format!("until={at}")).await.items).iter().all(|action| *action != "runner.painted")
    );
}

#[tokio::test]
async fn a_wrong_parameter_is_named_and_none_is_a_fault_of_the_server() {
    let auditor = Auditor::new().await;
    for (query, field) in [
        ("action=key", "action"),
        ("actor=nobody", "actor"),
        ("subject=a%00b", "subject"),
        ("cursor=x", "cursor"),
        ("limit=0", "limit"),
        ("after=aud-01k9zj3m5r8w2t6y4x0v7q1n5d", "after"),
    ] {
        let problem = auditor.refusal(query, "application/json").await;
        assert_eq!((problem.code, problem.errors[0].field.as_str()), (ProblemCode::BadRequest, field), "{query}");
    }
    for query in ["since=yesterday", "until=2026-13-01T00:00:00Z", "nothing=1"] {
        assert_eq!(auditor.refusal(query, "application/json").await.code, ProblemCode::BadRequest, "{query}");
    }
}
