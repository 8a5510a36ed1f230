//! API keys and service accounts.

use ckrv_types::Page;
use ckrv_types::identity::{ApiKey, Role, Scope, ServiceAccount, WhoAmI, WithToken};

use super::Team;

#[tokio::test]
async fn a_key_of_ones_own_has_the_scopes_that_were_asked_for() {
    let team = Team::new().await;
    let bob = team.member("bob", Role::Editor).await;
    let said =
        team.says(&bob, &["key", "create", "laptop", "--scope", "read", "--expires-in-days", "9"]).await.exits(0);
    let key = said.out.trim().to_owned();
    assert!(key.starts_with("ck_live_") && !said.err.contains(&key), "{said}");
    let me: WhoAmI = team.key_says(&key, &["cloud", "whoami", "-o", "json"]).await.exits(0).json();
    assert_eq!(me.scopes, [Scope::Read]);
    assert_eq!(me.key.unwrap().user, Some(bob.user));
    team.key_says(&key, &["list"]).await.exits(0);
    team.key_says(&key, &["run", "--repo", "https://git.example.com/x", "--", "true"]).await.exits(5);
    team.says(&bob, &["key", "create", "more", "--scope", "manage"]).await.exits(5);
    team.says(&bob, &["key", "list"]).await.exits(0).prints(&["laptop", "read"]);
}

#[tokio::test]
async fn a_key_of_a_service_account_is_limited_to_projects_by_name() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    team.says(&ada, &["project", "create", "web"]).await.exits(0);
    team.says(&ada, &["sa", "create", "ci", "--role", "editor"]).await.exits(0).tells(&["--service-account ci"]);
    let create = ["key", "create", "ci", "--service-account", "ci", "--project", "web"];
    let key = team.says(&ada, &create).await.exits(0).out.trim().to_owned();
    team.says(&ada, &["key", "list"]).await.exits(0).prints(&["web", "ci"]);
    let run = |project| ["run", "--project", project, "--repo", "https://git.example.com/x", "--", "true"];
    team.key_says(&key, &run("web")).await.exits(0);
    team.key_says(&key, &run("default")).await.exits(6);
    let listed: Page<ServiceAccount> = team.says(&ada, &["sa", "list", "-o", "json"]).await.exits(0).json();
    assert_eq!(listed.items.iter().find(|account| account.name == "ci").map(|account| account.keys), Some(1));
    team.says(&ada, &["sa", "role", "ci", "viewer"]).await.exits(0).prints(&["viewer"]);
    team.says(&ada, &["sa", "remove", "ci"]).await.exits(0).tells(&["is removed"]);
    team.key_says(&key, &["list"]).await.exits(4);
}

#[tokio::test]
async fn a_rotated_key_leaves_the_old_one_a_while_and_is_meant_by_its_name() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    let first: WithToken<ApiKey> = team.says(&ada, &["key", "create", "ci", "-o", "json"]).await.exits(0).json();
    let said = team.says(&ada, &["key", "rotate", "ci", "--overlap", "1h"]).await.exits(0);
    let second = said.out.trim().to_owned();
    said.tells(&["takes the place of", &first.item.id.to_string(), "ends in 1h"]);
    team.key_says(&first.token, &["list"]).await.exits(0);
    team.key_says(&second, &["list"]).await.exits(0);
    // The name means the newest one to rotate, and may mean either to revoke.
    let third = team.says(&ada, &["key", "rotate", "ci", "--overlap", "0s"]).await.exits(0).out;
    team.key_says(&second, &["list"]).await.exits(4);
    team.key_says(third.trim(), &["list"]).await.exits(0);
    team.says(&ada, &["key", "revoke", "ci"]).await.exits(2).tells(&["may be any of", &first.item.id.to_string()]);
    team.says(&ada, &["key", "revoke", &first.item.id.to_string()]).await.exits(0);
    team.key_says(&first.token, &["list"]).await.exits(4);
}
