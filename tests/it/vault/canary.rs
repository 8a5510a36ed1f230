//! The canary test: secrets of every kind are planted, real jobs use them, and nothing that the system leaves has one of
//! them, but what is encrypted and what is hashed. Then each place is given one, to see that it would have been found.

use std::path::PathBuf;
use std::process::Stdio;

use ckrv_tests::canary::{Canaries, Watch};
use ckrv_tests::gate::Gate;
use ckrv_tests::model::{ModelServer, Turn};
use ckrv_tests::people;
use ckrv_tests::repo::{Repo, git};
use ckrv_tests::ssh_host::SshHost;
use ckrv_tests::stack::{Options, Stack};
use ckrv_types::JobId;
use ckrv_types::identity::{CreateKey, Role};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::process::Command;
use url::Url;

use super::{Api, git_token};
use crate::git_host::GitHost;

/// An agent whose prompt is a shell script, and which has a model.
const AGENTS: &str =
    r#"agents: {script: {argv: [sh, -c, "{prompt}"], provider: anthropic}, command: {argv: ["{command}"]}}"#;
/// The user's own program: it is given its token by its user, in its environment.
const OF_THE_USER: &[&str] = &["ckrv"];
const CLIENT: &str = "ckrv-cli";

/// Secrets of this run alone: another test's processes do not have them.
fn random(prefix: &str) -> String {
    format!("{prefix}{}", hex::encode(rand::random::<[u8; 16]>()))
}

/// The part of a token that is secret.
fn secret_part(token: &str) -> &str {
    token.rsplit('_').next().expect("a text has an end")
}

/// A stack with all that is planted in it, and what it was planted with.
struct Scene {
    stack: Stack,
    repo: Repo,
    web: GitHost,
    ssh: SshHost,
    model: ModelServer,
    canaries: Canaries,
    gate: Gate,
    _agents: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (git, model_key) = (random("git-canary-"), random("sk-canary-"));
        let repo = Repo::new();
        let login = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("bot:{git}"));
        let (web, ssh) = (GitHost::start(repo.path(), &login).await, SshHost::start().await);
        let model = ModelServer::start(&model_key, vec![Turn::new().text("hello"); 4]).await;
        let agents = TempDir::new().unwrap();
        std::fs::write(agents.path().join("agents.yaml"), AGENTS).unwrap();
        let debug = || ("CKRV_LOG", "debug".to_owned());
        let runner = vec![("CKRV_AGENTS", agents.path().join("agents.yaml").display().to_string()), debug()];
        let stack = Stack::with(Options { runner, server: vec![debug()], ..Options::default() }).await;
        let api = Api::new(stack.server_url().parse().unwrap(), &stack.keys.api_key);
        let ssh_key = std::fs::read_to_string(ssh.key()).unwrap();
        let known_hosts = std::fs::read_to_string(ssh.known_hosts(true)).unwrap();
        for credential in [
            git_token("forge", "127.0.0.1", &git),
            json!({"name": "claude", "kind": "model_key", "host": model.url(), "secret": model_key}),
            json!({"name": "deploy", "kind": "deploy_key", "host": "127.0.0.1", "known_hosts": known_hosts, "secret": ssh_key}),
        ] {
            api.create(&credential).await.credential();
        }
        let key = CreateKey {
            name: "canary".to_owned(),
            service_account: None,
            scopes: None,
            projects: Vec::new(),
            expires_in_days: None,
        };
        let key = stack.client().create_key(&key).await.unwrap().token;
        let (password, refresh, access) = login_of_a_person(&stack).await;
        let refused = random("refused-canary-");
        let answer = api.create(&git_token("x", "no host", &refused)).await;
        assert!(answer.status.is_client_error() && !answer.text.contains(&refused));
        let canaries = Canaries::new(&[
            ("git token", &git),
            ("deploy key", &ssh_key),
            ("model key", &model_key),
            ("API key", secret_part(&key)),
            ("the stack's API key", secret_part(stack.keys.api_key.expose())),
            ("runner token", secret_part(stack.keys.runner_token.expose())),
            ("refresh token", secret_part(&refresh)),
            ("access token", access.rsplit('.').next().unwrap()),
            ("password", &password),
            ("refused secret", &refused),
        ]);
        Self { stack, repo, web, ssh, model, canaries, gate: Gate::new(), _agents: agents }
    }

    async fn sql(&self) -> PgConnection {
        PgConnection::connect(self.stack.superuser_url().expose()).await.unwrap()
    }

    /// A script that shows whatever it can get hold of, and stands still in between.
    fn script(&self, stop: &str) -> String {
        let ask = json!({"model": "claude-opus-4-8", "max_tokens": 10, "messages": []});
        format!(
            "env; cat .git/config; tr '\\0' '\\n' < /proc/$PPID/environ; tr '\\0' ' ' < /proc/$PPID/cmdline
             test -z \"$ANTHROPIC_BASE_URL\" || curl --silent --fail --header \"x-api-key: $ANTHROPIC_API_KEY\" \\
                 --json '{ask}' \"$ANTHROPIC_BASE_URL/v1/messages\" || exit 9
             env > work.txt; cp .git/config config.txt; {}",
            self.gate.stop(stop)
        )
    }

    /// Real jobs: over HTTP and with a model, and over SSH. Each is looked at while it runs, too.
    async fn run_jobs(&self, watch: &Watch) -> Vec<JobId> {
        let mut jobs = Vec::new();
        for (stop, url) in [("web", self.web.url(".git").to_string()), ("ssh", self.ssh.url(&self.repo))] {
            let script = self.script(stop);
            let run = ["run", "--repo", &url, "--agent", "script", "--prompt", &script];
            let job = self.stack.says(&run).await.exits(0).job();
            self.gate.reached(stop).await;
            watch.look().await;
            assert_eq!(self.hits().await, Vec::<String>::new(), "while {stop} runs");
            self.gate.open(stop);
            assert_eq!(self.stack.ended(job).await.state.as_str(), "succeeded", "{}", self.stack.logs(job).await);
            jobs.push(job);
        }
        jobs
    }

    /// Every place that lasts.
    async fn hits(&self) -> Vec<String> {
        // What the test itself has written for the runner.
        let given: PathBuf = self.stack.home.path().join("runner-token");
        let mut hits = self.canaries.in_folder(self.stack.home.path(), &[given]);
        hits.extend(self.canaries.in_folder(self.stack.s3.folder(), &[]));
        hits.extend(self.canaries.in_database(&mut self.sql().await).await);
        hits
    }

    /// What users are shown of the jobs.
    async fn shown(&self, jobs: &[JobId]) -> Vec<String> {
        let mut hits = Vec::new();
        for job in jobs {
            let job = job.to_string();
            for command in
                [&["logs", &job][..], &["status", "-o", "json", &job], &["explain", &job], &["list", "-o", "json"]]
            {
                let said = self.stack.says(command).await.exits(0);
                hits.extend(self.canaries.in_bytes(command[0], format!("{}{}", said.out, said.err).as_bytes()));
            }
        }
        for job in jobs {
            let pulled = self.stack.pull(&self.repo, *job).await;
            let work = git(&pulled.checkout, &["log", "--all", "--patch"]);
            assert!(work.contains("ANTHROPIC_BASE_URL"), "the agent's work is there: {work}");
            hits.extend(self.canaries.in_bytes("the work", work.as_bytes()));
        }
        hits
    }
}

/// Somebody signs in by their password, and lets a program act for them: password, refresh token, access token.
async fn login_of_a_person(stack: &Stack) -> (String, String, String) {
    let server: Url = stack.server_url().parse().unwrap();
    let mut sql = PgConnection::connect(stack.superuser_url().expose()).await.unwrap();
    people::add(&mut sql, stack.keys.org, "ada", Role::Owner).await;
    let http = reqwest::Client::new();
    let post = async |path: &str, form: &[(&str, &str)]| -> Value {
        http.post(server.join(path).unwrap()).form(form).send().await.unwrap().json().await.unwrap()
    };
    let device = post("/oauth/device_authorization", &[("client_id", CLIENT)]).await;
    let mut browser = people::sign_in(&server, "ada").await;
    people::approve(&mut browser, &server, device["user_code"].as_str().unwrap()).await;
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let code = device["device_code"].as_str().unwrap();
    let form = [("client_id", CLIENT), ("grant_type", grant), ("device_code", code)];
    let tokens = post("/oauth/token", &form).await;
    let text = |name: &str| tokens[name].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned();
    (people::PASSWORD.to_owned(), text("refresh_token"), text("access_token"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_is_anywhere_but_encrypted_or_hashed_and_one_that_leaks_is_found() {
    let scene = Scene::new().await;
    let watch = scene.canaries.watch_processes(OF_THE_USER);
    let jobs = scene.run_jobs(&watch).await;
    let seen = watch.end();
    assert_eq!(seen.found, Vec::<String>::new());
    for program in ["ckrv-server", "ckrv-worker", "git", "sh"] {
        assert!(seen.programs.contains_key(program), "{program} was not looked at: {:?}", seen.programs);
    }
    assert_eq!(scene.model.asked().len(), 2, "both jobs had their model");
    assert!(scene.web.logins() > 0 && scene.ssh.log().contains("Accepted publickey for"), "both had their repository");
    assert_eq!(scene.shown(&jobs).await, Vec::<String>::new());
    assert_eq!(scene.hits().await, Vec::<String>::new());
    let log = scene.stack.log("server.log");
    assert!(log.contains("DEBUG") && scene.stack.log("runner.log").contains("DEBUG"), "they tell all they can: {log}");
    every_leak_is_found(&scene).await;
}

/// Plants one leak in each kind of place.
async fn every_leak_is_found(scene: &Scene) {
    let token = random("leaked-canary-");
    let canaries = Canaries::new(&[("leak", &token)]);
    let scene_hits = async || {
        let mut hits = canaries.in_folder(scene.stack.home.path(), &[]);
        hits.extend(canaries.in_folder(scene.stack.s3.folder(), &[]));
        hits.extend(canaries.in_database(&mut scene.sql().await).await);
        hits
    };
    assert_eq!(scene_hits().await, Vec::<String>::new());
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("bot:{token}"));
    let zipped = zstd::encode_all(token.as_bytes(), 1).unwrap();
    std::fs::write(scene.stack.home.path().join("some.log"), format!("DEBUG authorization: Basic {encoded}\n"))
        .unwrap();
    std::fs::write(scene.stack.s3.folder().join("object"), &zipped).unwrap();
    let mut sql = scene.sql().await;
    sqlx::query("update jobs set message = $1").bind(hex::encode(&token)).execute(&mut sql).await.unwrap();
    sqlx::query("update data_keys set sealed = $1").bind(&zipped).execute(&mut sql).await.unwrap();
    sqlx::query("update jobs set spec = spec || jsonb_build_object('prompt', $1::text)")
        .bind(&token)
        .execute(&mut sql)
        .await
        .unwrap();
    let hits = scene_hits().await;
    for place in [
        "(base64) in ",
        "/some.log",
        "/object (zstd)",
        "(hex) in jobs.message",
        "data_keys.sealed (zstd)",
        "(as it is) in jobs.spec",
    ] {
        assert!(hits.iter().any(|hit| hit.contains(place)), "{place} is not among {hits:?}");
    }
    let watch = canaries.watch_processes(OF_THE_USER);
    let mut sleep = Command::new("sh");
    sleep.args(["-c", "read line", &token]).env("LEAK", &encoded).stdin(Stdio::piped()).kill_on_drop(true);
    let mut child = sleep.spawn().unwrap();
    watch.look().await;
    let found = watch.end().found;
    assert!(found.iter().any(|hit| hit.contains("(as it is) in cmdline of sh")), "{found:?}");
    assert!(found.iter().any(|hit| hit.contains("(base64) in environ of sh")), "{found:?}");
    drop(child.stdin.take());
    child.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_may_know_a_secret_is_not_taken_for_the_one_that_starts_it() {
    let secret = random("users-own-");
    let watch = Canaries::new(&[("secret", &secret)]).watch_processes(&["true"]);
    for _ in 0..500 {
        assert!(Command::new("true").env("SECRET", &secret).status().await.unwrap().success());
    }
    assert_eq!(watch.end().found, Vec::<String>::new());
}
