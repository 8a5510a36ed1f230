//! Organizations, members and invitations.

use ckrv_types::Page;
use ckrv_types::identity::{Invitation, Member, Membership, Org, Role, WhoAmI, WithToken};

use super::{TEAM, Team};

#[tokio::test]
async fn an_invitation_is_a_link_that_one_person_takes() {
    let team = Team::new().await;
    let (ada, grace) = (team.member("ada", Role::Owner).await, team.stranger("grace").await);
    let said = team.says(&ada, &["org", "invite", "--role", "editor", "for Grace"]).await.exits(0);
    let link = said.out.trim_end().to_owned();
    assert!(link.starts_with(&team.stack.server_url()), "{link}");
    let said = said.tells(&["shown this one time", "becomes editor"]);
    assert!(!said.err.contains(&link), "{}", said.err);
    let listed = team.says(&ada, &["org", "invitations"]).await.exits(0).prints(&["for Grace", "editor", "Ada"]);
    assert!(!listed.out.contains("http"), "{}", listed.out);

    let joined: Membership = team.says(&grace, &["org", "join", &link, "-o", "json"]).await.exits(0).json();
    assert_eq!((joined.org, joined.role), (team.stack.keys.org, Role::Editor));
    team.says(&grace, &["org", "list"]).await.exits(0).prints(&[TEAM, "of-grace"]);
    team.says(&grace, &["org", "members", "--org", TEAM]).await.exits(0).prints(&["Ada", "Grace"]);
    // Whoever has taken it is told so again; it is nobody else's.
    team.says(&grace, &["org", "join", &link]).await.exits(0);
    let bob = team.stranger("bob").await;
    team.says(&bob, &["org", "join", &link]).await.exits(6);
    let open: Page<Invitation> = team.says(&ada, &["org", "invitations", "-o", "json"]).await.exits(0).json();
    assert_eq!(open.items, []);
}

#[tokio::test]
async fn an_invitation_can_be_taken_from_stdin_and_is_useless_once_it_is_revoked() {
    let team = Team::new().await;
    let (ada, grace) = (team.member("ada", Role::Owner).await, team.stranger("grace").await);
    let made: WithToken<Invitation> =
        team.says(&ada, &["org", "invite", "--role", "viewer", "Bob", "-o", "json"]).await.exits(0).json();
    team.says(&ada, &["org", "uninvite", "Bob"]).await.exits(0).tells(&[&made.item.id.to_string()]);
    let said = team.hears(&grace, &["org", "join"], &made.token).await;
    assert!(!matches!(said.code, Some(0)), "{said}");
    let made = team.says(&ada, &["org", "invite", "--role", "viewer"]).await.exits(0).out;
    team.hears(&grace, &["org", "join"], &made).await.exits(0).prints(&[TEAM, "viewer"]);
}

#[tokio::test]
async fn members_are_named_by_name_and_an_ambiguous_one_is_listed() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Owner).await;
    let bob = team.member("bob", Role::Viewer).await;
    let changed = team.says(&ada, &["org", "role", "bob", "admin", "-o", "json"]).await.exits(0);
    assert_eq!(changed.json::<Member>().role, Role::Admin);
    sqlx::query("update users set name = 'ADA' where id = $1")
        .bind(bob.user.uuid())
        .execute(&mut team.sql().await)
        .await
        .unwrap();
    let said = team.says(&ada, &["org", "role", "Ada", "viewer"]).await.exits(2);
    said.tells(&["may be any of 2", &ada.user.to_string(), &bob.user.to_string()]);
    team.says(&ada, &["org", "role", &bob.user.to_string(), "viewer"]).await.exits(0).prints(&["viewer"]);
    team.says(&ada, &["org", "role", "nobody", "viewer"])
        .await
        .exits(6)
        .tells(&["no member `nobody`", "ckrv org members"]);
    team.says(&bob, &["org", "role", &ada.user.to_string(), "viewer"]).await.exits(5);
}

#[tokio::test]
async fn who_is_suspended_is_out_until_they_are_let_in_again_and_who_is_removed_for_good() {
    let team = Team::new().await;
    let (ada, bob) = (team.member("ada", Role::Owner).await, team.member("bob", Role::Editor).await);
    let key = team.says(&bob, &["key", "create", "laptop"]).await.exits(0).out;
    team.key_says(key.trim(), &["list"]).await.exits(0);
    team.says(&ada, &["org", "suspend", "Bob"]).await.exits(0).prints(&["suspended"]);
    let until_refused = async |arguments: &[&str]| {
        ckrv_tests::wait::wait_for("he is refused", std::time::Duration::from_mins(1), async || {
            let (by_login, by_key) = (team.says(&bob, arguments).await, team.key_says(key.trim(), arguments).await);
            (by_login.code != Some(0) && by_key.code != Some(0)).then_some(())
        })
        .await;
    };
    until_refused(&["list"]).await;
    team.says(&ada, &["org", "resume", "Bob"]).await.exits(0);
    ckrv_tests::wait::wait_for("he is let in", std::time::Duration::from_mins(1), async || {
        (team.key_says(key.trim(), &["list"]).await.code == Some(0)).then_some(())
    })
    .await;
    team.says(&ada, &["org", "remove", "Bob"]).await.exits(0).tells(&["is removed from tests"]);
    until_refused(&["list"]).await;
    let left: Page<Member> = team.says(&ada, &["org", "members", "-o", "json"]).await.exits(0).json();
    assert_eq!(left.items.iter().map(|member| member.user).collect::<Vec<_>>(), [ada.user]);
}

#[tokio::test]
async fn the_last_owner_can_neither_go_nor_be_less_and_others_may_leave() {
    let team = Team::new().await;
    let (ada, bob) = (team.member("ada", Role::Owner).await, team.member("bob", Role::Viewer).await);
    for arguments in [&["org", "leave"][..], &["org", "role", "Ada", "admin"], &["org", "suspend", "Ada"]] {
        team.says(&ada, arguments).await.exits(1).tells(&["owner", "hint:"]);
    }
    team.says(&bob, &["org", "leave"]).await.exits(0).tells(&["you have left tests"]);
    let key = team.says(&ada, &["key", "create", "k"]).await.exits(0).out;
    team.key_says(key.trim(), &["org", "leave"]).await.exits(2).tells(&["an API key belongs to its organization"]);
}

#[tokio::test]
async fn an_organization_is_made_shown_and_renamed_and_the_profile_follows() {
    let team = Team::new().await;
    let ada = team.member("ada", Role::Editor).await;
    team.says(&ada, &["org", "create", "acme"]).await.exits(0).tells(&["ckrv profile org acme"]);
    team.says(&ada, &["profile", "org", "acme"]).await.exits(0);
    let org: Org = team.says(&ada, &["org", "show", "-o", "json"]).await.exits(0).json();
    assert_eq!((org.name.as_str(), org.tier.as_str(), org.members), ("acme", "free", 1));
    team.says(&ada, &["org", "rename", "apex"]).await.exits(0).tells(&["the organization apex"]);
    let me: WhoAmI = team.says(&ada, &["cloud", "whoami", "-o", "json"]).await.exits(0).json();
    assert_eq!((me.org, me.org_name.as_str()), (org.id, "apex"));
    team.says(&ada, &["org", "create", TEAM]).await.exits(1);
    team.says(&ada, &["org", "rename", "x", "--org", TEAM]).await.exits(5);
}
