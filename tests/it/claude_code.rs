//! The real Claude Code, as its entry in `agents.yaml` starts it, on a scripted model.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ckrv_tests::model::{ModelServer, Turn};
use ckrv_tests::repo::{Repo, git};
use ckrv_tests::stack::{Options, Stack};
use ckrv_types::usage::{Usage, UsageSource};
use ckrv_types::{AttemptId, JobId, JobSpec, Secret};
use ckrv_worker::agents::{Catalog, Progress};
use ckrv_worker::log::lines::Lines;
use ckrv_worker::log::redact::Redactor;
use ckrv_worker::proxy::{ModelProxy, Provider, ProxyConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::OnceCell;

const VERSION: &str = "2.1.197";
const REAL_KEY: &str = "sk-ant-the-real-key-of-the-runner";
const INSTALL_LIMIT: Duration = Duration::from_mins(5);
const RUN_LIMIT: Duration = Duration::from_mins(1);

/// The folder with the program `claude`, installed once from npm and kept below the target folder.
async fn claude() -> &'static Path {
    static BIN: OnceCell<PathBuf> = OnceCell::const_new();
    BIN.get_or_init(async || {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let kept = home.join(format!("claude-code-{VERSION}"));
        if !kept.exists() {
            // Complete or not there at all, also for another test run beside this one.
            let fresh = TempDir::new_in(home).expect("the target folder can be written");
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(fresh.path());
            npm.arg(format!("@anthropic-ai/claude-code@{VERSION}")).stdin(Stdio::null()).kill_on_drop(true);
            let done = tokio::time::timeout(INSTALL_LIMIT, npm.output()).await.expect("npm ends").expect("npm runs");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            if std::fs::rename(fresh.path(), &kept).is_ok() {
                // It is at its place: there is nothing to remove.
                drop(fresh.keep());
            }
        }
        kept.join("node_modules/.bin")
    })
    .await
}

/// More than an argument of a program may have.
fn prompt() -> String {
    "Make the file. ".repeat(15_000)
}

/// What a run of the agent left.
struct Run {
    model: ModelServer,
    proxy: ModelProxy,
    work: TempDir,
    output: Output,
    lines: Vec<String>,
    told: Option<Usage>,
    progress: Progress,
}

/// Runs the agent with nothing but what its entry and the proxy give it.
async fn run(turns: Vec<Turn>, budget_usd: Option<f64>) -> Run {
    ckrv_client::install_crypto_provider();
    let model = ModelServer::start(REAL_KEY, turns).await;
    let config = ProxyConfig {
        provider: Provider::Anthropic,
        upstream: Some(model.url()),
        key: Secret::new(REAL_KEY),
        attempt: AttemptId { job: JobId::new(), number: 1 },
        budget_usd,
        spent_usd: 0.0,
        say: Arc::new(|_| ()),
    };
    let proxy = ModelProxy::start(config).await.expect("the proxy starts");
    let [work, home] = [(); 2].map(|()| TempDir::new().expect("a temporary folder"));
    let catalog = Catalog::load(None).expect("the embedded list is good");
    let agent = catalog.get("claude-code").expect("the entry is there");
    let spec = JobSpec { prompt: Some(prompt()), ..JobSpec::new("https://example.com/a.git") };
    let input = home.path().join("input");
    std::fs::write(&input, agent.stdin(&spec).expect("the prompt comes on standard input")).expect("a file");
    let argv = agent.argv(&spec);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", claude().await.display());
    let base =
        [("PATH", path.as_str()), ("HOME", &home.path().to_string_lossy())].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let mut command = Command::new(claude().await.join(&argv[0]));
    command.args(&argv[1..]).env_clear().current_dir(work.path()).kill_on_drop(true);
    command.envs(BTreeMap::from(base)).envs(agent.env(&home.path().to_string_lossy())).envs(proxy.env());
    command.stdin(std::fs::File::open(&input).expect("the file was written"));
    let output = tokio::time::timeout(RUN_LIMIT, command.output()).await.expect("it ends").expect("it runs");
    let mut parser = agent.output.parser(&Redactor::default());
    let mut lines = Lines::new(Arc::new(Redactor::default()));
    parser.push(&output.stdout, &mut lines);
    parser.end(&mut lines);
    let progress = *parser.progress().expect("its output tells").borrow();
    let lines = lines.iter().map(str::to_owned).collect();
    Run { model, proxy, work, output, lines, told: parser.usage(), progress }
}

#[tokio::test]
async fn claude_code_works_through_the_proxy_and_its_usage_is_the_providers() {
    let used = json!({"input_tokens": 100, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7});
    let write = Turn::new().text("I write it.").tool("Write", &json!({"file_path": "made.txt", "content": "hi\n"}));
    let check = Turn::new().tool("Bash", &json!({"command": "cat made.txt; env"}));
    let turns = [write, check, Turn::new().text("All done.")];
    let turns = turns.map(|turn| turn.prompt_usage(used.clone()).output_tokens(20));
    let run = run(turns.into(), None).await;
    assert!(run.output.status.success(), "{:#?}", run.output);
    assert_eq!(std::fs::read_to_string(run.work.path().join("made.txt")).unwrap(), "hi\n");
    let lines = run.lines.join("\n");
    for expected in
        ["I write it.", "● Write made.txt", "● Bash: cat made.txt; env\n  ⎿ hi", "All done.", "✓ Done: 3 turns"]
    {
        assert!(lines.contains(expected), "{expected} is not in:\n{lines}");
    }
    assert_eq!(run.progress, Progress::Finished { ok: true });
    let counted = run.proxy.shutdown().await;
    let told = run.told.unwrap();
    assert_eq!(
        counted,
        Usage {
            source: UsageSource::Proxy,
            input_tokens: 300,
            output_tokens: 60,
            cache_read_tokens: 15,
            cache_write_tokens: 21,
            requests: 3,
            turns: None,
            ..counted.clone()
        }
    );
    // Both went by the same price list.
    assert!((counted.cost_usd.unwrap() - told.cost_usd.unwrap()).abs() < 1e-9, "{counted:?} {told:?}");
    assert_eq!((told.input_tokens, told.output_tokens, told.turns), (300, 60, Some(3)));

    assert!(run.model.asked()[0].body.to_string().contains(prompt().trim_end()));
    let seen = format!("{:?}", run.output);
    assert!(!seen.contains(REAL_KEY));
    // What the tool printed went to the model: not even there is the real key, but where it belongs.
    for asked in run.model.asked() {
        assert_eq!(asked.headers["x-api-key"], REAL_KEY);
        assert!(!asked.body.to_string().contains(REAL_KEY));
    }
}

#[tokio::test]
async fn claude_code_is_stopped_by_its_budget_and_what_it_did_is_kept() {
    // Each prompt costs five cents, each answer one.
    let used = json!({"input_tokens": 10_000});
    let write = Turn::new().tool("Write", &json!({"file_path": "first.txt", "content": "1\n"}));
    let more = Turn::new().tool("Write", &json!({"file_path": "second.txt", "content": "2\n"}));
    let turns =
        [write, more.clone(), more.clone(), more].map(|turn| turn.prompt_usage(used.clone()).output_tokens(400));
    let run = run(turns.into(), Some(0.1)).await;
    tokio::time::timeout(RUN_LIMIT, run.proxy.budget_exceeded()).await.expect("the budget is exceeded");
    assert_eq!(run.output.status.code(), Some(1), "{:#?}", run.output);
    assert_eq!(run.progress, Progress::Finished { ok: false });
    let last = run.lines.last().unwrap();
    assert!(last.starts_with("✗ Failed: API Error: 402 the job's model budget of $0.1000 is used up"), "{last}");
    assert!(run.work.path().join("first.txt").exists());
    assert!(!run.work.path().join("second.txt").exists());
    assert_eq!(run.model.asked().len(), 2, "nothing is asked for again");
    let usage = run.proxy.shutdown().await;
    assert_eq!((usage.requests, usage.input_tokens), (2, 20_000));
}

/// A control plane whose runner has Claude Code and a key for the scripted model.
struct Jobs {
    model: ModelServer,
    stack: Stack,
    repo: Repo,
    _secrets: TempDir,
}

impl Jobs {
    async fn new(turns: Vec<Turn>) -> Self {
        let model = ModelServer::start(REAL_KEY, turns).await;
        let secrets = TempDir::new().expect("a temporary folder");
        let file = secrets.path().join("secrets.yaml");
        let key = format!("claude: {{model: {{provider: anthropic, key: {REAL_KEY}, base_url: \"{}\"}}}}", model.url());
        std::fs::write(&file, key).expect("the secrets can be written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("the mode can be set");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", claude().await.display());
        let runner = vec![("CKRV_SECRETS", file.display().to_string()), ("PATH", path)];
        let stack = Stack::with(Options { runner, ..Options::default() }).await;
        Self { model, stack, repo: Repo::new(), _secrets: secrets }
    }

    /// Runs a job to its end: its id, and its exit code.
    async fn run(&self, more: &[&str]) -> (String, i32) {
        let repo = self.repo.url();
        let mut arguments = vec!["run", "--repo", &repo, "--branch", "main", "--agent", "claude-code", "--wait"];
        arguments.extend(["--prompt", "Make the file."]);
        arguments.extend(more);
        let output = self.stack.ckrv_in(self.stack.home.path(), &arguments).await;
        let job = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(job.starts_with("job-"), "{output:#?}\n{}", self.stack.log("runner.log"));
        (job, output.status.code().expect("the CLI was not killed"))
    }

    /// A checkout into which the job's branch was pulled.
    async fn pulled(&self, job: &str) -> PathBuf {
        let checkout = self.repo.clone_to(self.stack.home.path());
        let pull = self.stack.ckrv_in(&checkout, &["pull", job]).await;
        assert!(pull.status.success(), "{pull:#?}");
        checkout
    }

    /// The job's only attempt, as the API shows it.
    async fn attempt(&self, job: &str) -> Value {
        let job: Value = serde_json::from_str(&self.stack.ckrv(&["status", job, "-o", "json"]).await).expect("JSON");
        let attempts = job["attempts"].as_array().expect("a job has attempts");
        assert_eq!(attempts.len(), 1, "{job:#}");
        attempts[0].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_claude_code_comes_back_as_a_commit_with_a_readable_log_and_its_usage() {
    let used = json!({"input_tokens": 100, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 7});
    let write = Turn::new().text("I write it.").tool("Write", &json!({"file_path": "made.txt", "content": "hi\n"}));
    let turns = [write, Turn::new().text("All done.")].map(|turn| turn.prompt_usage(used.clone()).output_tokens(20));
    let jobs = Jobs::new(turns.into()).await;
    let (job, code) = jobs.run(&["--budget", "1.5"]).await;
    let log = jobs.stack.ckrv(&["logs", &job]).await;
    assert_eq!(code, 0, "{log}");
    for line in ["I write it.", "● Write made.txt", "All done.", "✓ Done: 2 turns, $0.0021"] {
        assert!(log.contains(line), "{line} is not in:\n{log}");
    }
    let checkout = jobs.pulled(&job).await;
    let branch = format!("ckrv/{job}");
    assert_eq!(git(&checkout, &["show", &format!("{branch}:made.txt")]), "hi");
    assert_eq!(git(&checkout, &["rev-parse", &format!("{branch}^")]), jobs.repo.head());
    let usage = jobs.attempt(&job).await["usage"].clone();
    for (field, value) in [
        ("source", json!("proxy")),
        ("model", json!("claude-opus-4-8")),
        ("input_tokens", json!(200)),
        ("output_tokens", json!(40)),
        ("cache_read_tokens", json!(10)),
        ("cache_write_tokens", json!(14)),
        ("requests", json!(2)),
        ("turns", json!(2)),
    ] {
        assert_eq!(usage[field], value, "{usage:#}");
    }
    for name in ["runner.log", "server.log"] {
        assert!(!jobs.stack.log(name).contains(REAL_KEY), "the real key is in {name}");
    }
    assert!(jobs.model.asked().iter().all(|asked| asked.headers["x-api-key"] == REAL_KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_budget_is_used_up_fails_for_it_and_keeps_what_it_did() {
    let write = Turn::new().tool("Write", &json!({"file_path": "first.txt", "content": "1\n"}));
    let more = Turn::new().tool("Write", &json!({"file_path": "second.txt", "content": "2\n"}));
    let turns = [write, more].map(|turn| turn.prompt_usage(json!({"input_tokens": 10_000})).output_tokens(400));
    let jobs = Jobs::new(turns.into()).await;
    let (job, code) = jobs.run(&["--budget", "0.1"]).await;
    assert_eq!(code, 1);
    let attempt = jobs.attempt(&job).await;
    assert_eq!(attempt["cause"], "agent:budget", "{attempt:#}");
    assert_eq!(attempt["usage"]["input_tokens"], 20_000, "{attempt:#}");
    let checkout = jobs.pulled(&job).await;
    assert_eq!(git(&checkout, &["show", &format!("ckrv/{job}:first.txt")]), "1");
    assert_eq!(jobs.model.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_needs_a_key_fails_before_its_clone_on_a_runner_without_one() {
    let stack = Stack::start().await;
    let run = ["run", "--repo", "/a/repository/that/is/not/there", "--agent", "claude-code", "--prompt", "x", "--wait"];
    let output = stack.ckrv_in(stack.home.path(), &run).await;
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let job = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let job: Value = serde_json::from_str(&stack.ckrv(&["status", &job, "-o", "json"]).await).unwrap();
    let attempt = &job["attempts"][0];
    assert_eq!(attempt["cause"], "setup:secret", "{job:#}");
    assert!(attempt["message"].as_str().unwrap().contains("needs a key for anthropic"), "{attempt:#}");
}
