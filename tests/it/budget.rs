//! The budget is the job's: what one attempt has spent, the next one cannot spend again.

use std::os::unix::fs::PermissionsExt as _;

use ckrv_tests::gate::Gate;
use ckrv_tests::model::{ModelServer, Turn};
use ckrv_tests::processes::kill_hard;
use ckrv_tests::repo::Repo;
use ckrv_tests::stack::{JOB, Options, Stack};
use ckrv_tests::wait::wait_for;
use ckrv_types::{Attempt, AttemptId, Cause, Job, JobId, State};
use serde_json::json;
use tempfile::TempDir;

const REAL_KEY: &str = "sk-ant-the-real-key-of-the-runner";

/// An agent whose prompt is a shell script, and which has a model.
const AGENTS: &str = r#"agents: {script: {argv: [sh, -c, "{prompt}"], provider: anthropic}}"#;

/// Shell: asks the model once, for up to `tokens` of output; fails if it is refused.
fn ask(tokens: u64) -> String {
    let body = json!({"model": "claude-opus-4-8", "max_tokens": tokens, "messages": []});
    format!(
        "curl --silent --show-error --fail --output answer.json --header \"x-api-key: $ANTHROPIC_API_KEY\" \
         --json '{body}' \"$ANTHROPIC_BASE_URL/v1/messages\""
    )
}

/// Costs six cents: five for the prompt, one for the answer.
fn turn() -> Turn {
    Turn::new().prompt_usage(json!({"input_tokens": 10_000})).output_tokens(400)
}

/// A control plane whose runner has that agent, with a key for the scripted model.
struct Jobs {
    model: ModelServer,
    stack: Stack,
    repo: Repo,
    gate: Gate,
    _files: TempDir,
}

impl Jobs {
    async fn new(turns: usize) -> Self {
        let model = ModelServer::start(REAL_KEY, vec![turn(); turns]).await;
        let files = TempDir::with_prefix("ckrv-test-agents-").expect("a temporary folder");
        let (agents, secrets) = (files.path().join("agents.yaml"), files.path().join("secrets.yaml"));
        let key = format!("model: {{model: {{provider: anthropic, key: {REAL_KEY}, base_url: \"{}\"}}}}", model.url());
        std::fs::write(&agents, AGENTS).expect("the agents can be written");
        std::fs::write(&secrets, key).expect("the secrets can be written");
        std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o600)).expect("the mode can be set");
        let runner =
            vec![("CKRV_SECRETS", secrets.display().to_string()), ("CKRV_AGENTS", agents.display().to_string())];
        let server = vec![("CKRV_BEAT_SECONDS", "1".to_owned())];
        let stack = Stack::with(Options { runner, server, ..Options::default() }).await;
        Self { model, stack, repo: Repo::new(), gate: Gate::new(), _files: files }
    }

    async fn submit(&self, budget: &str, script: &str) -> JobId {
        let repo = self.repo.url();
        let run = ["run", "--repo", &repo, "--agent", "script", "--budget", budget, "--prompt", script];
        self.stack.says(&run).await.exits(0).job()
    }

    /// Waits until the first attempt's six cents are known, and kills its worker.
    async fn lose_the_first_attempt(&self, job: JobId) {
        self.gate.reached("asked").await;
        let client = self.stack.client();
        wait_for("a beat says what was spent", JOB, async || {
            let attempts = client.job(job).await.ok()?.attempts;
            (spent(&attempts[0]) > 0.0).then_some(())
        })
        .await;
        let alive = self.stack.runner_home().join("work").join(AttemptId { job, number: 1 }.to_string()).join("alive");
        kill_hard(std::fs::read_to_string(alive).expect("it lives").trim().parse().expect("a process id"));
    }

    fn max_tokens_asked(&self) -> Vec<u64> {
        self.model.asked().iter().map(|asked| asked.body["max_tokens"].as_u64().expect("a number")).collect()
    }
}

fn spent(attempt: &Attempt) -> f64 {
    attempt.usage.as_ref().and_then(|usage| usage.cost_usd).unwrap_or_default()
}

#[track_caller]
fn ended_by_its_budget(job: &Job, attempt: u32) {
    let shown = (job.state, job.cause, job.attempt);
    assert_eq!(shown, (State::Failed, Some(Cause::Budget), attempt), "{:?}", job.message);
    assert_eq!(job.attempts[0].cause, Some(Cause::WorkerLost));
}

#[tokio::test]
async fn a_second_attempt_has_what_the_first_has_left_of_the_budget() {
    let jobs = Jobs::new(3).await;
    let script = format!("{} && {}; while {}; do :; done", ask(2000), jobs.gate.stop("asked"), ask(64_000));
    let job = jobs.submit("0.1", &script).await;
    jobs.lose_the_first_attempt(job).await;
    jobs.gate.open("asked");
    let ended = jobs.stack.ended(job).await;
    ended_by_its_budget(&ended, 2);
    // Four cents were left, for output at 27.50 dollars a million at most.
    assert_eq!(jobs.max_tokens_asked(), [2000, 1454]);
    for attempt in &ended.attempts {
        assert!((spent(attempt) - 0.06).abs() < 1e-9, "each has its own usage: {attempt:?}");
    }
    let log = jobs.stack.logs(job).await;
    log.tells(&["The model budget of $0.1000 is used up: $0.1200 spent. The agent is stopped."]);
}

#[tokio::test]
async fn where_nothing_is_left_a_second_attempt_ends_at_once_and_a_retry_of_the_job_has_it_all_again() {
    let jobs = Jobs::new(2).await;
    let script = format!("{} && {}", ask(1000), jobs.gate.stop("asked"));
    let job = jobs.submit("0.05", &script).await;
    jobs.lose_the_first_attempt(job).await;
    let ended = jobs.stack.ended(job).await;
    ended_by_its_budget(&ended, 2);
    let message = ended.message.unwrap();
    assert_eq!(message, "the job's model budget of $0.0500 was used up by its earlier attempts ($0.0600 spent)");
    assert_eq!(jobs.max_tokens_asked(), [1000], "it was not even started");

    jobs.gate.open("asked");
    let again = jobs.stack.says(&["retry", &job.to_string()]).await.exits(0).job();
    let ended = jobs.stack.ended(again).await;
    assert_eq!((ended.state, ended.retry_of, jobs.max_tokens_asked().len()), (State::Succeeded, Some(job), 2));
}
