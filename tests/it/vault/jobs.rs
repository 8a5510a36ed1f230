//! Real jobs on a repository behind HTTP, by tokens of the vault.

use ckrv_tests::cli::Said;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{Options, Stack, restrict};
use ckrv_types::ProjectId;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::{Api, actions, git_token};
use crate::git_host::GitHost;

const TOKEN: &str = "t0ken-of-the-forge";
/// Base64 of `bot:` and that.
const LOGIN: &str = "Ym90OnQwa2VuLW9mLXRoZS1mb3JnZQ==";

fn api(stack: &Stack) -> Api {
    Api::new(stack.server_url().parse().unwrap(), &stack.keys.api_key)
}

async fn sql(stack: &Stack) -> PgConnection {
    PgConnection::connect(stack.superuser_url().expose()).await.unwrap()
}

#[tokio::test]
async fn a_private_repository_is_cloned_with_the_organizations_token_and_the_agent_has_no_way_in() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let host = GitHost::start(repo.path(), LOGIN).await;
    api(&stack).create(&git_token("forge", "127.0.0.1", TOKEN)).await.credential();
    let url = host.url(".git");
    let script = format!(
        "echo done > work.txt; git remote get-url origin; env; cat .git/config
        GIT_TERMINAL_PROMPT=0 git fetch || echo 'no way in'
        echo t0ken-of-the''-forge; echo {} | base64 -d", // what it guesses is struck out, too
        "dDBrZW4tb2YtdGhlLWZvcmdl"
    );
    let said = stack.wait(url.as_str(), &[], &script).await.exits(0);
    let log = stack.logs(said.job()).await.prints(&[&format!("{url}\n"), "no way in\n", "[redacted]\n[redacted]"]);
    assert!(host.logins() > 0);
    for text in [&said.err, &log.out, &log.err, &stack.log("server.log"), &stack.log("runner.log")] {
        assert!(!text.contains(TOKEN) && !text.contains(LOGIN), "{text}");
    }
    let pulled = stack.pull(&repo, said.job()).await;
    assert_eq!(pulled.file("work.txt"), "done");
}

#[tokio::test]
async fn the_next_job_has_a_replaced_token_and_none_that_was_removed() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let host = GitHost::start(repo.path(), LOGIN).await;
    let (api, url) = (api(&stack), host.url(".git"));
    let forge = api.create(&git_token("forge", "127.0.0.1", "wr0ng-token")).await.credential();
    let run = async || stack.wait(url.as_str(), &[], "echo the agent ran").await;
    let refused = |said: Said| {
        let said = said.exits(1).tells(&["cause: setup:credential: ", "127.0.0.1 refused the credential `forge`"]);
        assert!(!said.err.contains("wr0ng"), "{said}");
    };
    refused(run().await);
    api.replace(&forge, TOKEN).await.credential();
    run().await.exits(0);
    api.replace(&forge, "wr0ng-again").await.credential();
    refused(run().await);
    api.remove(&forge).await;
    let before = host.logins();
    run().await.exits(1).tells(&["cause: setup:credential: ", "127.0.0.1 wants a login"]);
    assert_eq!(host.logins(), before);
    let named = stack.wait(url.as_str(), &["--secret", "forge"], "true").await.exits(1);
    named.tells(&["cause: setup:secret: ", "neither the job's organization nor this runner has a secret `forge`"]);
    let done = actions(&mut sql(&stack).await, stack.keys.org).await;
    let (used, changed): (Vec<_>, Vec<_>) = done.into_iter().partition(|action| action == "credential.used");
    assert_eq!(used.len(), 3);
    let expected = ["created", "replaced", "replaced", "removed"].map(|what| format!("credential.{what}"));
    assert_eq!(changed, expected);
}

#[tokio::test]
async fn a_token_goes_to_no_other_host_or_port_than_its_own_not_even_by_a_redirect() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let (own, other) = (GitHost::start(repo.path(), LOGIN).await, GitHost::start(repo.path(), LOGIN).await);
    let port = |host: &GitHost| host.url("x").port().unwrap();
    let bound = git_token("forge", &format!("127.0.0.1:{}", port(&own)), TOKEN);
    let (api, script) = (api(&stack), "echo the agent ran");
    api.create(&bound).await.credential();
    api.create(&git_token("elsewhere", "forge.example", TOKEN)).await.credential();
    for options in [&[][..], &["--secret", "forge", "--secret", "elsewhere"]] {
        let said = stack.wait(other.url(".git").as_str(), options, script).await.exits(1);
        said.tells(&["cause: setup:credential: ", "127.0.0.1 wants a login"]);
    }
    assert_eq!(other.logins(), 0, "a token went to another port than its own");
    stack.wait(own.url(".git").as_str(), &[], script).await.exits(0);
    // The own host sends whoever asks for this on to another one.
    let redirecting = GitHost::redirecting(LOGIN, &other).await;
    api.create(&git_token("redirecting", &format!("127.0.0.1:{}", port(&redirecting)), TOKEN)).await.credential();
    stack.wait(redirecting.url(".git").as_str(), &[], script).await.exits(1);
    assert!(redirecting.logins() > 0);
    assert_eq!(other.logins(), 0, "a token followed a redirect");
}

#[tokio::test]
async fn a_projects_token_is_of_no_use_to_another_projects_job() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let host = GitHost::start(repo.path(), LOGIN).await;
    let second = ProjectId::new();
    sqlx::query("insert into projects (id, org_id, name) values ($1, $2, 'second')")
        .bind(second.uuid())
        .bind(stack.keys.org.uuid())
        .execute(&mut sql(&stack).await)
        .await
        .unwrap();
    let mut token = git_token("forge", "127.0.0.1", TOKEN);
    token["project"] = json!(second);
    api(&stack).create(&token).await.credential();
    let url = host.url(".git");
    stack.wait(url.as_str(), &[], "true").await.exits(1).tells(&["127.0.0.1 wants a login"]);
    assert_eq!(host.logins(), 0);
    let spec = ckrv_types::JobSpec { command: vec!["true".to_owned()], ..ckrv_types::JobSpec::new(url.as_str()) };
    let job = ckrv_types::job::SubmitJob { spec, project: Some(second) };
    let job = stack.client().submit(&job).await.unwrap().id;
    assert_eq!(stack.ended(job).await.state.as_str(), "succeeded");
    assert!(host.logins() > 0);
}

#[tokio::test]
async fn of_two_of_the_same_name_the_organizations_is_used_and_the_runners_where_it_has_none() {
    let (repo, folder) = (Repo::new(), tempfile::TempDir::new().unwrap());
    let host = GitHost::start(repo.path(), LOGIN).await;
    let secrets = folder.path().join("secrets.yaml");
    std::fs::write(&secrets, "forge:\n  git: {host: 127.0.0.1, username: bot, token: wr0ng-token}\n").unwrap();
    restrict(&secrets);
    let runner = vec![("CKRV_SECRETS", secrets.display().to_string())];
    let stack = Stack::with(Options { runner, ..Options::default() }).await;
    let url = host.url(".git");
    stack.wait(url.as_str(), &[], "true").await.exits(1).tells(&["127.0.0.1 refused the credential `forge`"]);
    let made = api(&stack).create(&git_token("forge", "127.0.0.1", TOKEN)).await.credential();
    stack.wait(url.as_str(), &[], "true").await.exits(0);
    stack.wait(url.as_str(), &["--secret", "forge"], "true").await.exits(0);
    api(&stack).remove(&made).await;
    stack.wait(url.as_str(), &[], "true").await.exits(1).tells(&["127.0.0.1 refused the credential `forge`"]);
}

#[tokio::test]
async fn a_job_whose_credential_was_changed_in_the_database_fails_and_says_why() {
    let (stack, repo) = (Stack::start().await, Repo::new());
    let host = GitHost::start(repo.path(), LOGIN).await;
    api(&stack).create(&git_token("forge", "127.0.0.1", TOKEN)).await.credential();
    let mut sql = sql(&stack).await;
    sqlx::query("set session_replication_role = replica").execute(&mut sql).await.unwrap();
    sqlx::query("update credentials set sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)")
        .execute(&mut sql)
        .await
        .unwrap();
    let said = stack.wait(host.url(".git").as_str(), &[], "true").await.exits(1);
    said.tells(&[
        "cause: setup:secret: the organization's credential `forge` cannot be decrypted",
        "Replace its secret",
    ]);
    assert_eq!(host.logins(), 0);
    assert!(stack.log("server.log").contains("a credential does not open"));
}
