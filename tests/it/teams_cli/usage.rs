//! Quotas and what was used.

use ckrv_types::identity::Role;
use serde_json::Value;

use super::Team;

#[tokio::test]
async fn what_is_used_is_shown_with_the_quotas() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    team.says(&ada, &["org", "create", "acme"]).await.exits(0);
    team.says(&ada, &["profile", "org", "acme"]).await.exits(0);
    team.says(&ada, &["run", "--repo", "https://git.example.com/x", "--", "true"]).await.exits(0);
    let shown = team.says(&ada, &["usage"]).await.exits(0).prints(&["free", "jobs this month", "RESETS", "default"]);
    let month = shown.out.split_once("all of ").unwrap().1[..7].to_owned();
    let told: Value = team.says(&ada, &["usage", "--by", "user", "-o", "json"]).await.exits(0).json();
    assert_eq!(told["usage"]["month"], Value::from(month));
    assert_eq!(told["usage"]["rows"][0]["user"], Value::from(ada.user.to_string()));
    assert_eq!(told["usage"]["total"]["jobs"], 1);
    assert_eq!(told["quota"]["tier"], "free");
    let before: Value = team.says(&ada, &["usage", "--month", "2020-01", "-o", "json"]).await.exits(0).json();
    assert!(before.get("quota").is_none(), "{before}");
    assert_eq!(before["usage"]["total"]["jobs"], 0);
    team.says(&ada, &["cloud", "whoami"]).await.exits(0).prints(&["tier", "free", "jobs this month"]);
}

#[tokio::test]
async fn a_quota_that_is_used_up_says_how_much_when_it_resets_and_what_to_do() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    team.says(&ada, &["org", "create", "acme"]).await.exits(0);
    team.says(&ada, &["profile", "org", "acme"]).await.exits(0);
    let mut refused = None;
    // The free tier has few projects.
    for number in 0..100 {
        let said = team.says(&ada, &["project", "create", &format!("p{number}")]).await;
        if said.code != Some(0) {
            refused = Some(said);
            break;
        }
    }
    let said = refused.expect("there is a limit").exits(5);
    said.tells(&["error:", "cause: projects: ", " used", "hint: "]);
}
