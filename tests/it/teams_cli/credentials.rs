//! Credentials for jobs.

use ckrv_types::Page;
use ckrv_types::credential::{Credential, CredentialKind};
use ckrv_types::identity::Role;

use super::Team;

const SECRET: &str = "hunter2-of-the-tests";

#[tokio::test]
async fn a_token_goes_in_by_stdin_and_is_never_shown_again() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    let add = ["cloud", "credentials", "add", "github", "--kind", "git-token", "--host", "github.com"];
    let said = team.hears(&ada, &[&add[..], &["--project", "default"]].concat(), &format!("{SECRET}\n")).await.exits(0);
    assert!(!said.out.contains(SECRET) && !said.err.contains(SECRET), "{said}");
    let said = team.says(&ada, &["cloud", "credentials", "list"]).await.exits(0);
    let said = said.prints(&["github", "git-token", "github.com", "default"]);
    assert!(!said.out.contains(SECRET), "{said}");
    let replaced =
        team.hears(&ada, &["cloud", "credentials", "replace", "github", "-o", "json"], "another-of-the-tests").await;
    assert_eq!(replaced.exits(0).json::<Credential>().version, 2);
    team.hears(&ada, &add, SECRET).await.exits(1);
    team.says(&ada, &["cloud", "credentials", "remove", "github"]).await.exits(0).tells(&["is removed"]);
    let left: Page<Credential> = team.says(&ada, &["cloud", "creds", "list", "-o", "json"]).await.exits(0).json();
    assert_eq!(left.items, []);
}

#[tokio::test]
async fn a_model_key_goes_to_the_provider_of_its_name() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    let add = ["cloud", "credentials", "add", "anthropic", "--kind", "model-key", "-o", "json"];
    let kept: Credential = team.hears(&ada, &add, SECRET).await.exits(0).json();
    assert_eq!((kept.kind, kept.host.as_str()), (CredentialKind::ModelKey, "anthropic"));
}

#[tokio::test]
async fn what_is_no_secret_of_its_kind_is_refused_before_it_is_sent() {
    let team = Team::new().await;
    let (ada, bob) = (team.member("ada", Role::Owner).await, team.member("bob", Role::Editor).await);
    let add = |kind| ["cloud", "credentials", "add", "x", "--host", "git.example.com", "--kind", kind];
    team.hears(&ada, &add("git-token"), "").await.exits(2).tells(&["no secret on stdin"]);
    team.hears(&ada, &add("git-token"), "a\nb").await.exits(2).tells(&["more than one line"]);
    team.hears(&ada, &add("deploy-key"), "").await.exits(2).tells(&["--known-hosts"]);
    std::fs::write(ada.home.join("known_hosts"), "git.example.com ssh-ed25519 AAAA\n").unwrap();
    let add_key = [&add("deploy-key")[..], &["--known-hosts", "known_hosts"]].concat();
    team.hears(&ada, &add_key, "ssh-ed25519 AAAA x").await.exits(2).tells(&["public half"]);
    team.hears(&bob, &add("git-token"), SECRET).await.exits(5);
}
