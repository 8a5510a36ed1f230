//! Secrets that a job is run with, and everything that could show them: what the agent can read, the cluster's objects, logs.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ckrv_tests::model::{Gate, ModelServer, Turn};
use ckrv_tests::relay::Relay;
use ckrv_tests::wait::wait_for;
use ckrv_types::token::{SECRET_BYTES, TokenKind, compose};
use ckrv_types::{JobId, State};
use serde_json::json;

use crate::release::{Release, Wanted, own_address};

const SCRIPT: &str = include_str!("search.sh");
const MODEL_KEY: &str = "sk-ant-canary-of-the-model-5b1f9c";
const GIT_PASSWORD: &str = "canary-of-the-forge-83ad07";
/// Base64 of `bot:` and the password, as git sends it.
const LOGIN: &str = "Ym90OmNhbmFyeS1vZi10aGUtZm9yZ2UtODNhZDA3";
/// The search reads all of an image.
const LIMIT: Duration = Duration::from_mins(4);
/// Where the search leaves what it found, in the work tree.
const OUT: &str = "seen";

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_where_the_agent_or_a_reader_of_objects_and_logs_can_see_it() {
    let bait = compose(TokenKind::Attempt, "a.1.b.c", &[0x5a; SECRET_BYTES]);
    let command = format!("bash search.sh {} {} {OUT}", encoded(&wanted()), encoded(&bait));
    let gate = Gate::default();
    let searching = Turn::new().tool("Bash", &json!({ "command": command, "timeout": 300_000 }));
    let model = ModelServer::start(MODEL_KEY, vec![searching, Turn::new().wait(&gate).text("Seen.")]).await;
    let at = own_address().await;
    let upstream =
        Relay::start(at, format!("127.0.0.1:{}", model.url().port().expect("a port")).parse().unwrap()).await;
    let class = json!({ "egressCIDRs": [], "secrets": ["job-secrets"] });
    let reachable = vec![upstream.address()];
    let release = Release::with(Wanted { class, reachable, ..Wanted::default() }).await;
    release.repo.repo.commit(&[("search.sh", SCRIPT)], "Look around");
    let secrets = format!(
        "forge:\n  git: {{host: {at}, username: bot, token: {GIT_PASSWORD}}}\n\
         claude:\n  model: {{provider: anthropic, key: {MODEL_KEY}, base_url: \"http://{}\"}}\n",
        upstream.address()
    );
    release.secret("job-secrets", &[("secrets.yaml", &secrets)]).await;

    let repo = release.repo.url();
    let arguments = ["run", "--repo", &repo, "--agent", "claude-code", "--prompt", "Look around."];
    let job = release.stack.says(&arguments).await.exits(0).job();
    // Its second question says what the search has printed: from here on until the gate opens it is at rest.
    wait_for("the search is through", LIMIT, async || {
        let now = release.stack.client().job(job).await.ok()?;
        assert!(!now.state.is_terminal(), "{now:?}");
        (model.asked().len() >= 2).then_some(())
    })
    .await;
    let shown = Shown::of(&release, job).await;
    gate.open();
    let ended = release.stack.ended(job).await;
    let log = release.stack.logs(job).await;
    assert_eq!(ended.state, State::Succeeded, "{log}\n{shown:?}");
    assert!(model.asked().iter().all(|asked| asked.headers["x-api-key"] == MODEL_KEY), "the key was not used");

    shown.holds_none();
    for (name, text) in [("the job's log", log.out + &log.err), ("the server's", release.stack.log("server.log"))] {
        assert_none(name, &text);
    }
    the_agent_saw_none(&release, job).await;
    release.clean().await;
}

/// What the agent's search left.
async fn the_agent_saw_none(release: &Release, job: JobId) {
    let pulled = release.stack.pull(&release.repo.repo, job).await;
    let file = |name: &str| pulled.file(&format!("{OUT}/{name}"));
    let found = file("found");
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(
        found,
        ["/home/ckrv/bait/file", "environment of sleep", "memory of sleep"],
        "more than the bait, or less"
    );
    assert!(file("remembering").contains("ckrv-worker"), "the shim's memory was not read: {}", file("remembering"));

    let (processes, environment, folders) = (file("processes"), file("environment"), file("folders"));
    assert!(processes.contains("ckrv-worker shim") && processes.contains("claude"), "{processes}");
    assert!(!processes.contains("supervise"), "the orchestrator can be seen:\n{processes}");
    assert!(environment.contains("CKRV_ATTEMPT=") && !environment.contains("KUBERNETES_"), "{environment}");
    assert!(folders.contains("/ckrv/work"), "{folders}");
    for closed in ["serviceaccount", "/run/ckrv", "/run/secrets"] {
        assert!(!folders.contains(closed), "{closed} is there:\n{folders}");
    }
    // Without a key, with another's, and with the agent's own: which only lacks a body of sense.
    assert_eq!(file("proxy").lines().collect::<Vec<_>>(), ["401", "401", "400"]);
}

/// What a reader of the namespace sees, while the job runs.
#[derive(Debug)]
struct Shown {
    objects: String,
    logs: String,
}

impl Shown {
    async fn of(release: &Release, job: JobId) -> Self {
        let kubectl = async |arguments: &[&str]| release.kubectl(arguments).await.exits(0).out;
        let kinds = kubectl(&["api-resources", "--namespaced", "--verbs=list", "--output=name"]).await;
        // Measurements of pods are listed nowhere in a cluster without their server.
        let kinds: Vec<_> = kinds.lines().filter(|kind| *kind != "secrets" && !kind.contains("metrics")).collect();
        let objects = kubectl(&["get", &kinds.join(","), "--output=yaml"]).await;
        let pod = format!("{job}-1");
        let secret = kubectl(&["get", "secret", &pod, "--output=jsonpath={.data.bootstrap-token}"]).await;
        let token = String::from_utf8(BASE64_STANDARD.decode(secret).expect("Base64")).expect("text");
        assert!(is_secret(&token), "the attempt's secret holds no token");
        assert!(objects.contains(&pod) && objects.contains("kind: AgentJob"), "{objects}");
        let logs = kubectl(&["logs", &pod, "--all-containers"]).await;
        let operator = kubectl(&["logs", "deployment/ckrv-operator"]).await;
        assert!(!logs.is_empty() && !operator.is_empty(), "there are no logs: {logs}{operator}");
        Self { objects, logs: logs + &operator }
    }

    fn holds_none(&self) {
        assert_none("an object", &self.objects);
        assert_none("a container's log", &self.logs);
    }
}

#[track_caller]
fn assert_none(place: &str, text: &str) {
    let line = text.lines().find(|line| is_secret(line));
    assert!(line.is_none(), "a secret is in {place}: {line:?}");
}

fn is_secret(text: &str) -> bool {
    let plain = [MODEL_KEY, GIT_PASSWORD, LOGIN].map(str::to_owned);
    let encoded = [encoded(MODEL_KEY), encoded(GIT_PASSWORD)];
    let tokens = TokenKind::ALL.map(|kind| format!("ck_{}_", kind.as_str()));
    plain.iter().chain(&encoded).chain(&tokens).any(|secret| text.contains(secret))
}

/// As an extended regular expression. The agent's own key, a phantom, is its to know.
fn wanted() -> String {
    let tokens = "ck_(live|test|runner|boot|attempt)_[a-z0-9.]+_[0-9a-f]{72}";
    [tokens, MODEL_KEY, GIT_PASSWORD, LOGIN].join("|")
}

fn encoded(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}
