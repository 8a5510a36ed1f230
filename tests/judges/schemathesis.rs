//! schemathesis reads the contract, not the code, and sends what the contract allows and what it does not.
//!
//! It cannot guess ids and tokens, so each round is told what it needs to come past 401 and 404.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ckrv_server::admission;
use ckrv_tests::acting::{assignment_of, work_on};
use ckrv_tests::replica::{Installation, Loops, spec, submit};
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{Options, Stack};
use ckrv_types::identity::{CreateKey, CreateRunner};
use ckrv_types::{JobId, KeyId, RunnerId, Secret};
use tempfile::TempDir;

use crate::tools;

/// Besides the answers that schemathesis takes for a refusal of what the contract forbids: 431 (RFC 6585 section 5) for a
/// query that is too long in bytes.
const REFUSALS: &str = "[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 415, 422, 428, 429, 431]
";

/// Which operations a round is about, and what it knows.
struct Round<'a> {
    url: String,
    token: &'a Secret,
    /// Operation ids; none: all.
    only: &'a [&'a str],
    /// Operation ids.
    without: &'a [&'a str],
    /// Values of path parameters.
    known: &'a [(&'a str, String)],
}

fn unlimited() -> Vec<(&'static str, String)> {
    ["CKRV_RATE_PER_ADDRESS", "CKRV_RATE_PER_KEY", "CKRV_LOGINS_PER_ADDRESS"]
        .map(|name| (name, "1000000".to_owned()))
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_server_error_and_nothing_undocumented() {
    let stack = Stack::with(Options { server: unlimited(), ..Options::default() }).await;
    let repo = Repo::new();
    let job =
        stack.ckrv(&["run", "--repo", &repo.url(), "--wait", "--", "sh", "-c", "date > made"]).await.trim().to_owned();
    let client = stack.client();
    let (url, token) = (stack.server_url(), &stack.keys.api_key);

    // Nothing known. Revoking the key in use would end the run; frames of zstd are beyond what it can make up.
    judge(Round { url: url.clone(), token, only: &[], without: &["revokeKey", "appendLog"], known: &[] }).await;

    let artifact =
        client.artifacts(job.parse().expect("an id")).await.expect("it has a manifest").items[0].name.clone();
    let known = [("id", job), ("name", artifact)];
    let only = ["getJob", "explainJob", "listArtifacts", "getArtifact", "followEvents", "streamLogs"];
    judge(Round { url: url.clone(), token, only: &only, without: &[], known: &known }).await;
    let only = ["cancelJob", "retryJob"];
    judge(Round { url: url.clone(), token, only: &only, without: &[], known: &known }).await;

    let wanted = CreateKey { name: "to-be-revoked".into(), ..CreateKey::default() };
    let key = client.create_key(&wanted).await.expect("a key can be made").item.id.to_string();
    judge(Round { url: url.clone(), token, only: &["revokeKey"], without: &[], known: &[("id", key)] }).await;
    let wanted = CreateRunner { name: "to-be-revoked".into(), allow: BTreeMap::new() };
    let runner = client.create_runner(&wanted).await.expect("a runner can be made").item.id.to_string();
    for only in ["updateRunner", "revokeRunner"] {
        let known = &[("id", runner.clone())];
        judge(Round { url: url.clone(), token, only: &[only], without: &[], known }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_wrong_with_what_runners_and_workers_are_answered() {
    let limits = ["--rate-per-address", "1000000", "--rate-per-key", "1000000", "--logins-per-address", "0"];
    let on = Installation::with(Loops::On, &limits).await;
    let runner = on.runner(2).await;
    let job = submit(&on.client(), spec()).await.id;
    let worker = work_on(&on.replica, &runner, job).await;
    let job = submit(&on.client(), spec()).await.id;
    let assignment = assignment_of(&runner, job).await;
    let url = on.replica.url().to_string();
    // A finished attempt's token is good for nothing else: `finish` comes last.
    for only in [&["workerHeartbeat", "offerArtifact"][..], &["finishAttempt"]] {
        let token = &worker.started.attempt_token.0;
        judge(Round { url: url.clone(), token, only, without: &[], known: &[] }).await;
    }
    let token = &assignment.bootstrap_token.0;
    judge(Round { url: url.clone(), token, only: &["startAttempt"], without: &[], known: &[] }).await;

    let token = &on.keys().runner_token;
    let only = ["registerRunner", "runnerHeartbeat", "observe", "listAssignments", "handInJob", "getStandings"];
    judge(Round { url, token, only: &only, without: &[], known: &[] }).await;
}

/// An organization in whose things its mark stands, which is nowhere else.
struct Marked {
    mark: &'static str,
    token: Secret,
    job: JobId,
    key: KeyId,
    runner: RunnerId,
}

impl Marked {
    async fn new(on: &Installation, token: &Secret, mark: &'static str) -> Self {
        let client = on.replica.client(token);
        let name = format!("{mark}-of-theirs");
        let allow = [(name.clone(), client.whoami().await.expect("the key is good").project)].into();
        let runner = client.create_runner(&CreateRunner { name: name.clone(), allow }).await.expect("it can be made");
        let registered = on.replica.runner(&Secret::new(runner.token), 1, &[]).await;
        let mut marked = spec();
        marked.labels.insert("mark".to_owned(), name.clone());
        let job = submit(&client, marked).await.id;
        admission::pass(on.state()).await.expect("it is assigned");
        let worker = work_on(&on.replica, &registered, job).await;
        let line = format!("{{\"seq\":1,\"ts\":\"2026-11-21T12:00:00Z\",\"stream\":\"stdout\",\"text\":\"{name}\"}}\n");
        let frame = zstd::bulk::compress(line.as_bytes(), 3).expect("it can be compressed");
        worker.client.append(1, frame.into()).await.expect("it is taken");
        let key = CreateKey { name, ..CreateKey::default() };
        let key = client.create_key(&key).await.expect("a key can be made").item.id;
        Self { mark, token: token.clone(), job, key, runner: runner.item.id }
    }

    /// All that it was answered, as the organization of `token`, when it asked for things of this one.
    async fn asked_for_by(&self, url: &str, token: &Secret) -> String {
        let of_jobs = ["getJob", "explainJob", "listArtifacts", "followEvents", "streamLogs", "cancelJob", "retryJob"];
        let mut told = String::new();
        for (only, id) in [
            (&of_jobs[..], self.job.to_string()),
            (&["revokeKey"], self.key.to_string()),
            (&["updateRunner", "revokeRunner"], self.runner.to_string()),
        ] {
            let known = [("id", id)];
            told += &judge(Round { url: url.to_owned(), token, only, without: &[], known: &known }).await;
        }
        let lists = ["listJobs", "listKeys", "listRunners", "listAudit", "whoAmI"];
        told + &judge(Round { url: url.to_owned(), token, only: &lists, without: &[], known: &[] }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_is_told_nothing_of_another_organization_and_changes_nothing_there() {
    let limits = ["--rate-per-address", "1000000", "--rate-per-key", "1000000", "--logins-per-address", "0"];
    let on = Installation::with(Loops::Off, &limits).await;
    let url = on.replica.url().to_string();
    let other = on.organization("neighbours").await;
    let (ours, theirs) =
        (Marked::new(&on, &on.keys().api_key, "quagga").await, Marked::new(&on, &other.api_key, "thylacine").await);
    for (asker, owner) in [(&ours, &theirs), (&theirs, &ours)] {
        let told = owner.asked_for_by(&url, &asker.token).await;
        assert!(told.contains(asker.mark), "what it was answered is not kept, so that nothing is learned of it");
        for foreign in [owner.mark, &owner.job.to_string(), &owner.key.to_string(), &owner.runner.to_string()] {
            // What it has sent itself comes back in problems.
            let said = told.lines().find(|line| line.contains(foreign) && !line.contains("There is no"));
            assert!(said.is_none(), "{foreign} was told to another organization: {said:?}");
        }
        let client = on.replica.client(&owner.token);
        assert!(!client.job(owner.job).await.unwrap().state.is_terminal());
        assert!(client.keys().await.unwrap().items.iter().all(|key| key.revoked_at.is_none()));
        assert!(client.runners().await.unwrap().items.iter().all(|runner| runner.revoked_at.is_none()));
    }
}

/// The answers that it got, one a line.
async fn judge(round: Round<'_>) -> String {
    let program = tools::python("schemathesis", "schemathesis");
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/cloud-api.yaml");
    let folder = TempDir::new().expect("a temporary folder");
    let config = folder.path().join("schemathesis.toml");
    let parameters = round.known.iter().fold(String::new(), |mut toml, (name, value)| {
        writeln!(toml, "\"path.{name}\" = \"{value}\"").expect("text can be written");
        toml
    });
    std::fs::write(&config, format!("[parameters]\n{parameters}{REFUSALS}")).expect("the file can be written");

    let mut command = tokio::process::Command::new(program);
    command
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(contract)
        .args(["--url", &round.url])
        .args(["--header", &format!("Authorization: Bearer {}", round.token.expose())])
        // Some rules (what may be a repository, which fields go together) are told by `invalid` and not by the schema.
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        // One worker: CPython 3.11 cannot parse in two threads at once ("AST constructor recursion depth mismatch").
        .args(["--report", "har", "--report-har-path", "answers.har"])
        .args(["--max-examples", "25", "--request-timeout", "40", "--workers", "1", "--seed", "7"]);
    for operation in round.only {
        command.args(["--include-operation-id", operation]);
    }
    for operation in round.without {
        command.args(["--exclude-operation-id", operation]);
    }
    let run = command.current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(Duration::from_mins(9), run).await.expect("it ends in time").expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\nschemathesis objects to what it was answered of {:?}", round.only);
    answers(&folder.path().join("answers.har"))
}

/// The bodies of the answers in an HTTP archive.
fn answers(archive: &Path) -> String {
    let archive = std::fs::read(archive).expect("it has kept what it was answered");
    let archive: serde_json::Value = serde_json::from_slice(&archive).expect("an archive is JSON");
    let entries = archive["log"]["entries"].as_array().expect("an archive has entries");
    let bodies = entries.iter().filter_map(|entry| entry["response"]["content"]["text"].as_str());
    bodies.map(|body| body.replace('\n', " ") + "\n").collect()
}
