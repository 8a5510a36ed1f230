//! The export, which another system resumes for ever and which must never have missed anything.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ckrv_server::db::{audit, audit_entries};
use ckrv_tests::acting::SOON;
use ckrv_tests::wait::wait_for;
use ckrv_types::audit::AuditEntry;
use ckrv_types::identity::CreateKey;
use ckrv_types::{AuditId, ProblemCode, Secret};

use super::{Auditor, NDJSON, entry, subjects};

const ONLY: &str = "action=test.done";

#[tokio::test]
async fn an_export_is_all_oldest_first_and_goes_on_behind_the_last_entry() {
    let auditor = Auditor::new().await;
    let many: Vec<String> = (0..450).map(|number| number.to_string()).collect();
    auditor.write("test.done", &many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let all = auditor.export(ONLY).await;
    assert_eq!(subjects(&all), many, "more than is fetched at once");
    let behind = |entry: &AuditEntry| format!("{ONLY}&after={}", entry.id);
    assert_eq!(subjects(&auditor.export(&behind(&all[446])).await), ["447", "448", "449"]);
    assert!(auditor.export(&behind(&all[449])).await.is_empty());
    auditor.write("test.done", &["new"]).await;
    assert_eq!(subjects(&auditor.export(&behind(&all[449])).await), ["new"]);
}

#[tokio::test]
async fn what_commits_late_is_in_the_next_export_and_nothing_younger_was_told_before_it() {
    let auditor = Auditor::new().await;
    auditor.write("test.done", &["first"]).await;
    auditor.export(ONLY).await;
    let mut late = auditor.on.state().db.tenant(auditor.org()).await.unwrap();
    audit::write(&mut late, &entry(Some(auditor.org()), "test.done", "late")).await.unwrap();
    auditor.write("test.done", &["quick"]).await;

    let before = auditor.export_now(ONLY).await;
    assert_eq!(subjects(&before), ["first"], "an older transaction is open");
    late.commit().await.unwrap();
    let after = auditor.export(&format!("{ONLY}&after={}", before[0].id)).await;
    assert_eq!(subjects(&after), ["late", "quick"]);
}

#[tokio::test]
async fn an_export_behind_an_entry_that_is_not_settled_yet_is_refused_until_it_is() {
    let auditor = Auditor::new().await;
    let mut late = auditor.on.state().db.tenant(auditor.org()).await.unwrap();
    audit::write(&mut late, &entry(Some(auditor.org()), "test.done", "late")).await.unwrap();
    auditor.write("test.done", &["quick"]).await;
    let after = format!("{ONLY}&after={}", auditor.page(ONLY).await.items[0].id);
    let problem = auditor.refusal(&after, NDJSON).await;
    assert_eq!(problem.code, ProblemCode::Unavailable);
    assert!(problem.detail.unwrap().contains("not settled yet"));
    late.commit().await.unwrap();
    assert_eq!(subjects(&auditor.export(ONLY).await), ["late", "quick"]);
    assert!(auditor.export(&after).await.is_empty());
}

#[tokio::test]
async fn a_log_that_was_loaded_from_a_cluster_that_had_counted_further_is_not_exported_until_it_is_renumbered() {
    let auditor = Auditor::new().await;
    auditor.write("test.done", &["first", "second"]).await;
    let before = auditor.export(ONLY).await;
    let mut sql = auditor.on.sql().await;
    // As from a dump.
    sqlx::query("update audit_log set xact = xact + 1000000000").execute(&mut sql).await.unwrap();
    let problem = auditor.refusal(ONLY, NDJSON).await;
    assert_eq!(problem.code, ProblemCode::Unavailable);
    assert!(problem.detail.unwrap().contains("another PostgreSQL"));
    sqlx::query(audit_entries::RENUMBER).execute(&mut sql).await.unwrap();
    auditor.write("test.done", &["third"]).await;
    assert_eq!(subjects(&auditor.export(ONLY).await), ["first", "second", "third"]);
    let behind = format!("{ONLY}&after={}", before[1].id);
    assert_eq!(subjects(&auditor.export(&behind).await), ["third"]);
}

#[tokio::test]
async fn an_id_that_is_made_early_and_written_late_is_not_skipped() {
    let auditor = Auditor::new().await;
    // Its id is older than any other, its transaction the youngest.
    let early = AuditId::new();
    auditor.write("test.done", &["first", "second"]).await;
    let exported = auditor.export(ONLY).await;
    sqlx::query("insert into audit_log (id, org_id, actor_kind, action, subject) values ($1, $2, 'system', 'test.done', 'early')")
        .bind(early.uuid())
        .bind(auditor.org().uuid())
        .execute(&mut auditor.on.sql().await)
        .await
        .unwrap();
    let last = exported.last().expect("two were written");
    assert_eq!(subjects(&auditor.export(&format!("{ONLY}&after={}", last.id)).await), ["early"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_resumes_while_many_write_gets_each_entry_once() {
    const WRITERS: usize = 6;
    const EACH: usize = 15;
    let auditor = Auditor::new().await;
    let (db, org) = (auditor.on.state().db.clone(), auditor.org());
    let writers = (0..WRITERS).map(|writer| {
        let db = db.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                let mut tx = db.tenant(org).await.unwrap();
                audit::write(&mut tx, &entry(Some(org), "test.done", &format!("{writer}.{number}"))).await.unwrap();
                tokio::time::sleep(Duration::from_millis(rand::random_range(0..20))).await;
                tx.commit().await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut seen: Vec<AuditEntry> = Vec::new();
    loop {
        let all_wrote = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let after = seen.last().map(|entry| format!("&after={}", entry.id)).unwrap_or_default();
        seen.extend(auditor.export_now(&format!("{ONLY}{after}")).await);
        if all_wrote {
            break;
        }
    }
    let after = seen.last().map(|entry| format!("&after={}", entry.id)).unwrap_or_default();
    seen.extend(auditor.export(&format!("{ONLY}{after}")).await);
    let distinct: BTreeSet<AuditId> = seen.iter().map(|entry| entry.id).collect();
    assert_eq!((seen.len(), distinct.len()), (WRITERS * EACH, WRITERS * EACH));
}

/// Entries of 50 KB each, 100 MB in all: more than lies between the server and a reader who does not read.
const MANY: usize = 2000;

impl Auditor {
    async fn write_much(&self) {
        sqlx::query(
            "insert into audit_log (id, org_id, actor_kind, action, detail)
             select gen_random_uuid(), $1, 'system', 'test.done', jsonb_build_object('text', repeat('x', 50000))
             from generate_series(1, $2)",
        )
        .bind(self.org().uuid())
        .bind(i32::try_from(MANY).unwrap())
        .execute(&mut self.on.sql().await)
        .await
        .unwrap();
        self.settled().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_runs_when_its_key_is_revoked_breaks_off_without_the_rest_of_the_log() {
    const LOOKS_AGAIN: Duration = Duration::from_secs(1);
    let auditor = Auditor::with(&["--stream-recheck-seconds", "1"]).await;
    auditor.write_much().await;
    let client = auditor.on.client();
    let key = client.create_key(&CreateKey { name: "siem".into(), ..CreateKey::default() }).await.unwrap();
    let token = Secret::new(key.token);
    let began = Instant::now();
    let mut running = auditor.get_as(&token, ONLY, NDJSON).await;
    let mut read = running.chunk().await.unwrap().expect("it begins");
    client.revoke_key(key.item.id).await.unwrap();
    wait_for("its right is to be looked at again", SOON, async || (began.elapsed() > LOOKS_AGAIN).then_some(())).await;
    let mut lines = 0;
    let end = loop {
        lines += String::from_utf8_lossy(&read).matches('\n').count();
        match running.chunk().await {
            Ok(Some(more)) => read = more,
            end => break end,
        }
    };
    assert!(end.is_err(), "it ends as if {lines} lines of {MANY} were all");
    assert!(lines < MANY, "the whole log was given");
    assert_eq!(auditor.get_as(&token, ONLY, NDJSON).await.status(), 401);
    // Who may, gets all of it.
    assert_eq!(auditor.export_now(ONLY).await.len(), MANY);
}

#[tokio::test]
async fn pages_and_exports_do_not_take_each_others_parameters() {
    let auditor = Auditor::new().await;
    for (query, field) in [("limit=1", "limit"), ("cursor=x", "cursor")] {
        let problem = auditor.refusal(query, NDJSON).await;
        assert_eq!((problem.code, problem.errors[0].field.as_str()), (ProblemCode::BadRequest, field));
    }
    let unknown = format!("after={}", AuditId::new());
    assert_eq!(auditor.refusal(&unknown, NDJSON).await.errors[0].field, "after");
}
