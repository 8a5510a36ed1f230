//! `ckrv-server admin audit`: everything, also what concerns no organization.

use std::process::Output;

use ckrv_tests::people;
use ckrv_tests::stack::program;
use ckrv_types::identity::Role;
use serde_json::Value;
use tokio::process::Command;

use super::Auditor;

async fn printed(auditor: &Auditor, arguments: &[&str]) -> Output {
    let urls = auditor.on.urls();
    Command::new(program("ckrv-server"))
        .args(["admin", "audit"])
        .args(arguments)
        .env("CKRV_DATABASE_URL", urls.app.expose())
        .env("CKRV_SYSTEM_DATABASE_URL", urls.system.expose())
        .output()
        .await
        .unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_operator_reads_what_concerns_no_organization_and_goes_on_from_there() {
    let auditor = Auditor::new().await;
    people::add(&mut auditor.on.sql().await, auditor.org(), "ada", Role::Owner).await;
    people::sign_in(&auditor.on.replica.url(), "ada").await;
    auditor.settled().await;
    let all = lines(&printed(&auditor, &[]).await);
    let signed_in = all.iter().find(|line| line["action"] == "session.begun").expect("a sign-in is an act");
    assert_eq!((&signed_in["org"], &signed_in["actor"]["name"]), (&Value::Null, &"Ada".into()));
    assert!(all.iter().any(|line| line["org"] == auditor.org().to_string()));

    let last = all.last().unwrap()["id"].as_str().unwrap();
    assert!(lines(&printed(&auditor, &["--after", last]).await).is_empty());
    auditor.write("test.done", &["new"]).await;
    auditor.settled().await;
    let new = lines(&printed(&auditor, &["--after", last]).await);
    assert_eq!(new.iter().map(|line| line["subject"].as_str().unwrap()).collect::<Vec<_>>(), ["new"]);
    let of_org = lines(&printed(&auditor, &["--org", "tests"]).await);
    assert!(!of_org.is_empty() && of_org.iter().all(|line| line["org"] == auditor.org().to_string()));
}

#[tokio::test]
async fn a_log_whose_order_is_lost_is_not_printed_and_the_statement_is_named_that_mends_it() {
    let auditor = Auditor::new().await;
    auditor.write("test.done", &["one"]).await;
    let moved = "update audit_log set xact = xact + 1000000000";
    sqlx::query(moved).execute(&mut auditor.on.sql().await).await.unwrap();
    let output = printed(&auditor, &[]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("execute `update audit_log set xact"), "{said}");
}

#[tokio::test]
async fn an_organization_or_entry_that_is_not_there_is_said_so() {
    let auditor = Auditor::new().await;
    let unknown = ckrv_types::AuditId::new().to_string();
    for arguments in [["--org", "nowhere"], ["--after", &unknown]] {
        let output = printed(&auditor, &arguments).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("there is no"), "{said}");
    }
}
