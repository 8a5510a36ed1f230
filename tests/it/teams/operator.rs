//! `ckrv-server admin create-org|suspend-user|resume-user`.

use std::process::Output;

use ckrv_tests::stack::program;
use tokio::process::Command;

use super::*;

async fn admin(team: &Team, arguments: &[&str]) -> Output {
    Command::new(program("ckrv-server"))
        .arg("admin")
        .args(arguments)
        .env("CKRV_DATABASE_URL", team.on().urls().app.expose())
        .env("CKRV_SYSTEM_DATABASE_URL", team.on().urls().system.expose())
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn the_operator_makes_an_organization_for_somebody() {
    let team = Team::with(&[]).await;
    let vi = team.person("vi", Role::Viewer).await;
    let made = admin(&team, &["create-org", "--name", "vis", "--owner-login", "vi"]).await;
    assert!(made.status.success() && made.stdout.starts_with(b"organization: org-"), "{made:?}");
    assert_eq!(vi.api.get("/v1/orgs").await.each("role"), ["viewer", "owner"]);
    let user = vi.user.to_string();
    let more = ["create-org", "--name", "more", "--owner-user", &user, "--tier", "team"];
    assert!(admin(&team, &more).await.status.success());
    assert_eq!(vi.api.about("vis").get("/v1/org").await.text("tier"), "free");
    assert_eq!(vi.api.about("more").get("/v1/org").await.text("tier"), "team");
    for (arguments, why) in [
        (&["create-org", "--name", "vis", "--owner-login", "vi"][..], "already"),
        (&["create-org", "--name", "Not", "--owner-login", "vi"], "cannot name an organization"),
        (&["create-org", "--name", "x", "--owner-login", "nobody"], "no such person"),
        (&["create-org", "--name", "x", "--owner-login", "vi", "--tier", "golden"], "no tier `golden`"),
        (&["create-org", "--name", "x"], "--owner-login"),
    ] {
        let refused = admin(&team, arguments).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains(why), "{said}");
    }
    // The first is the installation's own.
    assert_eq!(team.audited("org.created").await, 3);
}

#[tokio::test]
async fn whom_the_operator_suspends_is_shut_out_of_everything_until_resumed() {
    let team = Team::start().await;
    let ada = team.person("ada-l", Role::Owner).await;
    let (_, key) = ada.api.makes_key(json!({ "name": "k" })).await;
    let (_, of_account) = ada.api.makes_account("bot", "editor").await;
    let said = async |arguments: &[&str]| {
        let output = admin(&team, arguments).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(&["suspend-user", "--login", "ada-l"]).await, "user: suspended\n");
    assert_eq!(said(&["suspend-user", "--login", "ada-l"]).await, "user: suspended already\n");
    ada.api.is_shut_out_soon().await;
    key.is_shut_out_soon().await;
    assert_eq!(of_account.knocks().await, 200, "a service account is nobody's");
    assert_eq!(said(&["resume-user", "--user", &ada.user.to_string()]).await, "user: not suspended\n");
    assert_eq!((ada.api.knocks().await, key.knocks().await), (200, 200));
    // Once for the control plane, once for the organization.
    assert_eq!((team.audited("user.suspended").await, team.audited("user.resumed").await), (2, 2));
}
