//! A class's Secret, with each kind of credential: the worker in the pod uses them, and the agent beside it has none.

use std::net::SocketAddr;

use ckrv_tests::model::{ModelServer, Turn};
use ckrv_tests::relay::Relay;
use ckrv_tests::ssh_host::SshHost;
use serde_json::json;

use crate::release::{Hosted, Release, Wanted, own_address};

const TOKEN: &str = "t0ken-of-the-forge";
/// Base64 of `bot:` and that.
const LOGIN: &str = "Ym90OnQwa2VuLW9mLXRoZS1mb3JnZQ==";
const MODEL_KEY: &str = "sk-ant-the-real-key-of-the-class";
/// The class's Secret.
const SECRET: &str = "keys";

async fn release() -> Release {
    Release::with(Wanted { class: json!({ "secrets": [SECRET] }), ..Wanted::default() }).await
}

#[tokio::test]
async fn a_private_repository_is_cloned_with_the_classs_deploy_key_and_a_token_is_not_sent_in_clear_text() {
    let (release, at) = (release().await, own_address().await);
    let (private, ssh) = (Hosted::new(LOGIN).await, SshHost::start().await);
    let door = Relay::start(at, ssh.address()).await;
    let seen = |address: SocketAddr| format!("[{}]:{}", address.ip(), address.port());
    let known = std::fs::read_to_string(ssh.known_hosts(true)).expect("it was written");
    let known = known.replace(&seen(ssh.address()), &seen(door.address()));
    let list = format!(
        "forge: {{git: {{host: {at}, username: bot, token: {TOKEN}}}}}\n\
         deploy: {{git: {{host: {at}, ssh_key_file: deploy-key, known_hosts_file: known_hosts}}}}\n"
    );
    let key = std::fs::read_to_string(ssh.key()).expect("it was made");
    release.secret(SECRET, &[("secrets.yaml", &list), ("deploy-key", &key), ("known_hosts", &known)]).await;

    let by_ssh = ssh.url(&private.repo).replace(&ssh.address().to_string(), &door.address().to_string());
    let script = "echo done > work.txt; env; cat .git/config; ls -R /run/ckrv; true";
    let said = release.stack.wait(&by_ssh, &["--secret", "deploy"], script).await;
    assert_eq!(said.code, Some(0), "{said}\n{}", release.story().await);
    let log = release.stack.logs(said.job()).await;
    assert!(!log.out.contains("deploy-key") && !log.out.contains(TOKEN), "{log}");
    let pulled = release.stack.pull(&private.repo, said.job()).await;
    assert_eq!(pulled.file("work.txt"), "done");

    let said = release.stack.wait(&private.url(), &["--secret", "forge"], "true").await;
    said.exits(1).tells(&["cause: setup:credential: "]);
    assert_eq!(private.host.logins(), 0, "the token went over the network in clear text");
}

#[tokio::test]
async fn claude_code_works_in_a_pod_with_a_key_that_it_never_sees() {
    let (release, at) = (release().await, own_address().await);
    let turns = vec![
        Turn::new().tool("Bash", &json!({ "command": "echo by the agent > work.txt; env" })),
        Turn::new().text("It is done."),
    ];
    let model = ModelServer::start(MODEL_KEY, turns).await;
    let port = model.url().port().expect("it has a port");
    let door = Relay::start(at, ([127, 0, 0, 1], port).into()).await;
    let list = format!(
        "claude: {{model: {{provider: anthropic, key: {MODEL_KEY}, base_url: 'http://{}'}}}}\n",
        door.address()
    );
    release.secret(SECRET, &[("secrets.yaml", &list)]).await;
    let repo = release.repo.url();
    let said =
        release.stack.says(&["run", "--repo", &repo, "--agent", "claude-code", "--wait", "Make the file."]).await;
    assert_eq!(said.code, Some(0), "{said}\n{}", release.story().await);
    let log = release.stack.logs(said.job()).await;
    assert!(!log.out.contains(MODEL_KEY), "{log}");
    assert!(model.asked().iter().any(|asked| asked.path.ends_with("/messages")), "the model was asked");
    let pulled = release.stack.pull(&release.repo.repo, said.job()).await;
    assert_eq!(pulled.file("work.txt"), "by the agent");
}
