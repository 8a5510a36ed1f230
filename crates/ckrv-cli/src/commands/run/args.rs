//! What `ckrv run` can be told.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;

use super::draft::{Draft, DraftLimits, DraftRetries};
use crate::commands::list::pair;
use crate::{duration, env};

#[derive(Debug, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[command(after_help = "The job's id is printed on stdout at once; the job goes on without this command.\n\n\
What is given on the command line goes before the specification file, and that before the checkout that you stand in: its \
`origin` and its branch are the defaults of --repo and --branch. The job clones them afresh: push what it is to see.\n\n\
A word after `run` that names a .yaml, .yml or .md file is a specification file, anything else is the prompt.\n\n\
Examples:\n  \
ckrv run --follow \"fix the flaky test\"\n  \
ckrv run --repo https://github.com/team/app --branch main --wait --pull \"update the dependencies\"\n  \
ckrv run --agent codex --prompt - < task.txt\n  \
ckrv run nightly.yaml --label run=nightly\n  \
ckrv run --artifact 'target/*.log' -- make test")]
pub struct Args {
    /// A specification file (YAML, or Markdown with front matter), or the prompt
    #[arg(value_name = "SPEC_FILE|PROMPT", value_hint = ValueHint::FilePath)]
    pub input: Option<String>,
    /// The specification file, whatever its name
    #[arg(long, env = env::RUN_SPEC, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub spec: Option<PathBuf>,
    /// The repository: https://… or ssh://… (a path, with the control plane on this machine)
    #[arg(long, env = env::RUN_REPO, value_name = "URL")]
    pub repo: Option<String>,
    /// The branch to start from [default: the one checked out here, or the remote's default]
    #[arg(long, short, env = env::RUN_BRANCH)]
    pub branch: Option<String>,
    /// The agent [default: `command` with `-- CMD`, otherwise claude-code]
    #[arg(long, env = env::RUN_AGENT, value_name = "NAME")]
    pub agent: Option<String>,
    /// What the agent is to do; `-` reads it from stdin
    #[arg(long, short, env = env::RUN_PROMPT, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// The agent's container image
    #[arg(long, env = env::RUN_IMAGE)]
    pub image: Option<String>,
    /// The class of pod, as the administrator named it
    #[arg(long, env = env::RUN_CLASS, value_name = "NAME")]
    pub class: Option<String>,
    /// A plain environment variable of the agent (no secrets: it is shown with the job); may be repeated
    #[arg(long, env = env::RUN_ENV, value_name = "KEY=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// A secret that the job may use, by name: the organization's (`ckrv cloud credentials`) or the runner's; may be repeated
    #[arg(long, env = env::RUN_SECRET, value_name = "NAME", value_delimiter = ',')]
    pub secret: Vec<String>,
    /// Keep these files too, by a glob in the work tree; may be repeated
    #[arg(long, env = env::RUN_ARTIFACT, value_name = "GLOB")]
    pub artifact: Vec<String>,
    /// Put a label on the job; may be repeated
    #[arg(long, env = env::RUN_LABEL, value_name = "KEY=VALUE", value_parser = pair)]
    pub label: Vec<(String, String)>,
    /// -100 to 100; higher goes first
    #[arg(long, env = env::RUN_PRIORITY, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Longest wait for a runner [default: 24h]
    #[arg(long, env = env::RUN_QUEUE_LIMIT, value_name = "TIME", value_parser = duration::parse_seconds)]
    pub queue_limit: Option<u64>,
    /// Longest start, from a runner's taking it to the agent's first step [default: 15m]
    #[arg(long, env = env::RUN_START_LIMIT, value_name = "TIME", value_parser = duration::parse_seconds)]
    pub start_limit: Option<u64>,
    /// Longest run of the agent [default: 2h]
    #[arg(long, env = env::RUN_RUN_LIMIT, value_name = "TIME", value_parser = duration::parse_seconds)]
    pub run_limit: Option<u64>,
    /// Longest silence of the agent [default: 30m]
    #[arg(long, env = env::RUN_IDLE_LIMIT, value_name = "TIME", value_parser = duration::parse_seconds)]
    pub idle_limit: Option<u64>,
    /// Time between asking the agent to stop and stopping it [default: 30s]
    #[arg(long, env = env::RUN_GRACE, value_name = "TIME", value_parser = duration::parse_seconds)]
    pub grace: Option<u64>,
    /// Attempts in all when infrastructure fails, 1 to 10 [default: 3]
    #[arg(long, env = env::RUN_MAX_ATTEMPTS, value_name = "N")]
    pub max_attempts: Option<u32>,
    /// Try again when the agent runs out of memory
    #[arg(long, env = env::RUN_RETRY_OOM)]
    pub retry_oom: bool,
    /// Hard cap on the model's cost over all attempts, in US dollars
    #[arg(long, env = env::RUN_BUDGET, value_name = "USD")]
    pub budget: Option<f64>,
    /// The project that the job belongs to, by name or id
    #[arg(long, env = env::RUN_PROJECT)]
    pub project: Option<String>,
    /// Print the log until the job is over, and end with its exit code
    #[arg(long, short, env = env::RUN_FOLLOW)]
    pub follow: bool,
    /// Wait until the job is over, and end with its exit code
    #[arg(long, short, env = env::RUN_WAIT)]
    pub wait: bool,
    /// With --wait, --follow or --pull: give up waiting after this time (exit code 8; the job goes on)
    #[arg(long, env = env::RUN_TIMEOUT, value_name = "TIME", value_parser = duration::parse)]
    pub timeout: Option<Duration>,
    /// Wait, and get the job's work as a local branch
    #[arg(long, env = env::RUN_PULL)]
    pub pull: bool,
    /// A command to run instead of an agent, without a shell
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

impl Args {
    /// What the flags say of the specification; the prompt apart, which may come from elsewhere.
    pub fn draft(&self) -> Draft {
        Draft {
            repo: self.repo.clone(),
            branch: self.branch.clone(),
            agent: self.agent.clone(),
            prompt: None,
            command: self.command.clone(),
            image: self.image.clone(),
            class: self.class.clone(),
            env: self.env.iter().cloned().collect(),
            secrets: self.secret.clone(),
            artifacts: self.artifact.clone(),
            limits: DraftLimits {
                queue: self.queue_limit,
                start: self.start_limit,
                run: self.run_limit,
                idle: self.idle_limit,
                grace: self.grace,
            },
            retries: DraftRetries { max_attempts: self.max_attempts, oom: self.retry_oom.then_some(true) },
            budget_usd: self.budget,
            labels: self.label.iter().cloned().collect(),
            priority: self.priority,
            project: self.project.clone(),
        }
    }
}
