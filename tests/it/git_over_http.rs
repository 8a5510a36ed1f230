//! A private repository behind HTTP, with a token among the runner's named secrets, by the whole path.

use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{Options, Stack, restrict};
use tempfile::TempDir;

use crate::git_host::GitHost;

const TOKEN: &str = "t0ken-of-the-forge";
/// Base64 of `bot:` and that.
const LOGIN: &str = "Ym90OnQwa2VuLW9mLXRoZS1mb3JnZQ==";

/// A stack whose runner has a login for this host.
async fn stack(folder: &TempDir, host: &str, token: &str) -> Stack {
    let secrets = folder.path().join("secrets.yaml");
    std::fs::write(&secrets, format!("forge:\n  git: {{host: {host}, username: bot, token: {token}}}\n")).unwrap();
    restrict(&secrets);
    Stack::with(Options { runner: vec![("CKRV_SECRETS", secrets.display().to_string())], ..Options::default() }).await
}

#[tokio::test]
async fn a_private_repository_is_cloned_with_the_runners_token_and_the_agent_has_no_way_in() {
    let (repo, folder) = (Repo::new(), TempDir::new().unwrap());
    let host = GitHost::start(repo.path(), LOGIN).await;
    let stack = stack(&folder, "127.0.0.1", TOKEN).await;
    let url = host.url(".git");
    let script = "echo done > work.txt; git remote get-url origin; env; cat .git/config
        GIT_TERMINAL_PROMPT=0 git fetch || echo 'no way in'";
    let said = stack.wait(url.as_str(), &["--secret", "forge"], script).await.exits(0);
    let log = stack.logs(said.job()).await.prints(&[&format!("{url}\n"), "no way in\n"]);
    assert!(host.logins() > 0);
    for text in [&said.err, &log.out, &log.err, &stack.log("server.log"), &stack.log("runner.log")] {
        assert!(!text.contains(TOKEN) && !text.contains(LOGIN) && !text.contains("[redacted"), "{text}");
    }
    let pulled = stack.pull(&repo, said.job()).await;
    assert_eq!(pulled.file("work.txt"), "done");
}

#[tokio::test]
async fn a_token_that_the_host_refuses_is_named_and_one_for_another_host_is_not_sent() {
    let (repo, folder) = (Repo::new(), TempDir::new().unwrap());
    let host = GitHost::start(repo.path(), LOGIN).await;
    let url = host.url(".git");
    let refused = stack(&folder, "127.0.0.1", "wr0ng-token").await;
    let said = refused.wait(url.as_str(), &[], "echo the agent ran").await.exits(1);
    let said = said.tells(&["cause: setup:credential: ", "127.0.0.1 refused the credential `forge`"]);
    assert!(!said.err.contains("wr0ng") && host.logins() > 0, "{said}");
    drop(refused);

    let before = host.logins();
    let elsewhere = stack(&folder, "forge.example", TOKEN).await;
    let said = elsewhere.wait(url.as_str(), &["--secret", "forge"], "echo the agent ran").await.exits(1);
    said.tells(&["cause: setup:credential: ", "127.0.0.1 wants a login"]);
    assert_eq!(host.logins(), before, "the token went to another host than its own");
}
