//! The audit log.

use ckrv_types::Page;
use ckrv_types::audit::AuditEntry;
use ckrv_types::identity::{Project, Role};

use super::Team;

#[tokio::test]
async fn the_log_is_listed_by_who_did_what_to_what() {
    let team = Team::new().await;
    let (ada, bob) = (team.member("ada", Role::Owner).await, team.member("bob", Role::Viewer).await);
    let made: Project = team.says(&ada, &["project", "create", "web", "-o", "json"]).await.exits(0).json();
    team.says(&ada, &["org", "role", "Bob", "editor"]).await.exits(0);
    team.says(&ada, &["audit", "list"]).await.exits(0).prints(&["user Ada", "project.created", "member.role-changed"]);
    let actions = async |filter: &[&str]| -> Vec<String> {
        let page: Page<AuditEntry> =
            team.says(&ada, &[&["audit", "list", "-o", "json"], filter].concat()).await.exits(0).json();
        page.items.into_iter().map(|entry| entry.action).collect()
    };
    assert_eq!(actions(&["--action", "project"]).await, ["project.created"]);
    assert_eq!(actions(&["--subject", &made.id.to_string()]).await, ["project.created"]);
    assert_eq!(actions(&["--actor", "Ada", "--action", "member.role-changed"]).await, ["member.role-changed"]);
    assert_eq!(actions(&["--action", "project", "--until", "1h"]).await, Vec::<String>::new());
    assert_eq!(actions(&["--limit", "1"]).await.len(), 1);
    team.says(&ada, &["audit", "list", "--actor", "nobody"]).await.exits(6);
    team.says(&bob, &["audit", "list"]).await.exits(5);
}

#[tokio::test]
async fn an_export_has_every_entry_and_goes_on_where_one_ended() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    let export = async |more: &[&str]| -> Vec<AuditEntry> {
        let said = team.says(&ada, &[&["audit", "export"], more].concat()).await.exits(0);
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let before = export(&[]).await;
    assert!(!before.is_empty(), "a login is an act");
    team.says(&ada, &["project", "create", "web"]).await.exits(0);
    let last = before.last().unwrap().id.to_string();
    let after = export(&["--after", &last]).await;
    assert_eq!(after.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["project.created"]);
    let all = export(&[]).await;
    assert_eq!(all.len(), before.len() + 1);
    assert_eq!(export(&["--action", "project"]).await, after);
}
