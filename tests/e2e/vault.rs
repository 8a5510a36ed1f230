//! Credentials of the organization in a cluster: no class has a Secret, a job's pod works all the same, and no object of the
//! cluster, no log and no object of the store has one of them.

use std::net::SocketAddr;

use ckrv_tests::canary::Canaries;
use ckrv_tests::model::{Gate, ModelServer, Turn};
use ckrv_tests::relay::Relay;
use ckrv_tests::ssh_host::SshHost;
use ckrv_tests::wait::wait_for;
use ckrv_types::State;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::cluster::SOON;
use crate::release::{Release, Wanted, own_address};

const MODEL_KEY: &str = "sk-ant-canary-of-the-vault-77c21e";

async fn create(release: &Release, credential: &Value) {
    let url = format!("{}/v1/credentials", release.stack.server_url());
    let token = release.stack.keys.api_key.expose();
    let answer = reqwest::Client::new().post(url).bearer_auth(token).json(credential).send().await.expect("it answers");
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_works_with_the_organizations_credentials_and_no_object_of_the_cluster_has_them() {
    let (at, ssh) = (own_address().await, SshHost::start().await);
    let gate = Gate::default();
    let turns = vec![
        Turn::new().tool("Bash", &json!({ "command": "env > work.txt; ls -R /run/ckrv; cat .git/config" })),
        Turn::new().wait(&gate).text("It is done."),
    ];
    let model = ModelServer::start(MODEL_KEY, turns).await;
    let port = model.url().port().expect("it has a port");
    let upstream = Relay::start(at, ([127, 0, 0, 1], port).into()).await;
    let release = Release::with(Wanted::default()).await;
    let door = Relay::start(at, ssh.address()).await;
    let seen = |address: SocketAddr| format!("[{}]:{}", address.ip(), address.port());
    let known = std::fs::read_to_string(ssh.known_hosts(true)).expect("it was written");
    let known = known.replace(&seen(ssh.address()), &seen(door.address()));
    let key = std::fs::read_to_string(ssh.key()).expect("it was made");
    let host = door.address().to_string();
    create(
        &release,
        &json!({"name": "deploy", "kind": "deploy_key", "host": host, "known_hosts": known, "secret": key}),
    )
    .await;
    let gateway = format!("http://{}", upstream.address());
    create(&release, &json!({"name": "claude", "kind": "model_key", "host": gateway, "secret": MODEL_KEY})).await;
    let canaries = Canaries::new(&[("deploy key", &key), ("model key", MODEL_KEY)]);

    let url = ssh.url(&release.repo.repo).replace(&ssh.address().to_string(), &door.address().to_string());
    let run = ["run", "--repo", &url, "--agent", "claude-code", "--prompt", "Make the file."];
    let job = release.stack.says(&run).await.exits(0).job();
    wait_for("the agent has done its work", SOON, async || {
        let now = release.stack.client().job(job).await.ok()?;
        assert!(!now.state.is_terminal(), "{now:?}");
        (model.asked().len() >= 2).then_some(())
    })
    .await;
    // Secrets, too: what the vault gives goes by no object.
    let kubectl = async |arguments: &[&str]| release.kubectl(arguments).await.exits(0).out;
    let kinds = kubectl(&["api-resources", "--namespaced", "--verbs=list", "--output=name"]).await;
    let kinds: Vec<_> = kinds.lines().filter(|kind| !kind.contains("metrics")).collect();
    let objects = kubectl(&["get", &kinds.join(","), "--output=yaml"]).await;
    assert!(objects.contains(&format!("{job}-1")) && objects.contains("kind: Secret"), "{objects}");
    let logs = kubectl(&["logs", &format!("{job}-1"), "--all-containers"]).await;
    let operator = kubectl(&["logs", "deployment/ckrv-operator"]).await;
    gate.open();
    let ended = release.stack.ended(job).await;
    let log = release.stack.logs(job).await;
    assert_eq!(ended.state, State::Succeeded, "{log}\n{}", release.story().await);

    let mut hits = Vec::new();
    for (place, text) in [
        ("an object", objects),
        ("a container's log", logs),
        ("the operator's log", operator),
        ("the job's log", log.out + &log.err),
        ("the server's log", release.stack.log("server.log")),
        ("the agent's work", release.stack.pull(&release.repo.repo, job).await.file("work.txt")),
    ] {
        hits.extend(canaries.in_bytes(place, text.as_bytes()));
    }
    hits.extend(canaries.in_folder(release.stack.s3.folder(), &[]));
    let mut sql = PgConnection::connect(release.stack.superuser_url().expose()).await.expect("the database answers");
    hits.extend(canaries.in_database(&mut sql).await);
    assert_eq!(hits, Vec::<String>::new());
    assert!(!canaries.in_bytes("a place", MODEL_KEY.as_bytes()).is_empty(), "the search finds what is there");
    release.clean().await;
}
