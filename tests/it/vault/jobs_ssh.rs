//! Real jobs on a repository behind SSH, by deploy keys of the vault.

use ckrv_tests::repo::Repo;
use ckrv_tests::ssh_host::SshHost;
use ckrv_tests::stack::Stack;
use serde_json::{Value, json};

use super::Api;

fn deploy_key(host: &SshHost, is_right: bool, known_is_right: bool) -> Value {
    let key = if is_right { host.key() } else { host.other_key() };
    let text = |path| std::fs::read_to_string(path).unwrap();
    json!({
        "name": "deploy", "kind": "deploy_key", "host": "127.0.0.1",
        "known_hosts": text(host.known_hosts(known_is_right)), "secret": text(key),
    })
}

#[tokio::test]
async fn a_repository_behind_ssh_is_cloned_with_the_organizations_key_and_the_agent_has_no_way_in() {
    let (stack, host, repo) = (Stack::start().await, SshHost::start().await, Repo::new());
    let api = Api::new(stack.server_url().parse().unwrap(), &stack.keys.api_key);
    let made = api.create(&deploy_key(&host, true, true)).await.credential();
    let url = host.url(&repo);
    let script = "echo done > work.txt; git remote get-url origin; env; cat .git/config
        GIT_SSH_COMMAND='ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null' git fetch ||
            echo 'no way in'";
    let said = stack.wait(&url, &[], script).await.exits(0);
    stack.logs(said.job()).await.prints(&[&format!("{url}\n"), "no way in\n"]);
    assert_eq!(host.log().matches("Accepted publickey for").count(), 1, "only the clone was let in: {}", host.log());
    assert!(host.log().contains(&made.fingerprint.clone().unwrap()), "it is known by its fingerprint: {}", host.log());
    let pulled = stack.pull(&repo, said.job()).await;
    assert_eq!(pulled.file("work.txt"), "done");

    // One that the host does not know, in its place; then none.
    api.replace(&made, &std::fs::read_to_string(host.other_key()).unwrap()).await.credential();
    let said = stack.wait(&url, &[], "true").await.exits(1);
    said.tells(&["cause: setup:credential: ", "127.0.0.1 refused the credential `deploy`"]);
    api.remove(&made).await;
    stack.wait(&url, &[], "true").await.exits(1).tells(&["cause: setup:credential: ", "127.0.0.1 wants a login"]);
    assert_eq!(host.log().matches("Accepted publickey for").count(), 1);
}

#[tokio::test]
async fn nothing_is_sent_to_a_host_that_shows_another_key_than_is_known() {
    let (stack, host, repo) = (Stack::start().await, SshHost::start().await, Repo::new());
    let api = Api::new(stack.server_url().parse().unwrap(), &stack.keys.api_key);
    api.create(&deploy_key(&host, true, false)).await.credential();
    let said = stack.wait(&host.url(&repo), &[], "true").await.exits(1);
    said.tells(&["cause: setup:clone: ", "is not in the known_hosts file of the credential `deploy`"]);
    assert_eq!(host.log().matches("Accepted publickey for").count(), 0);
}
