//! Everything that can be set, read once in `main`. Nothing else reads the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ckrv_types::Secret;
use ckrv_types::repo_url::RepoPolicy;
use url::Url;

/// ckrv's worker: runs coding-agent jobs.
#[derive(Debug, clap::Parser)]
#[command(name = "ckrv-worker", version)]
pub struct Cli {
    /// What to log to stderr, such as `info` or `ckrv_worker=debug,warn`.
    #[arg(long, env = "CKRV_LOG", default_value = "info", global = true)]
    pub log: String,

    #[arg(long, env = "CKRV_LOG_FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Carry one attempt from its start to its acknowledged end.
    Supervise(SuperviseConfig),
    /// Run the agent for a supervisor; started by it, or as the agent container's program.
    Shim(ShimConfig),
    /// Copy this program to where a container of another image finds it.
    Install(InstallConfig),
    /// Be the runner of this machine: take jobs and run each as child processes. Not a sandbox.
    Local(LocalConfig),
}

/// One attempt.
#[derive(Debug, Clone, clap::Args)]
pub struct SuperviseConfig {
    /// The control plane.
    #[arg(long, env = "CKRV_SERVER")]
    pub server: Url,

    /// File with the attempt's bootstrap token.
    #[arg(long, env = "CKRV_TOKEN_FILE")]
    pub token_file: PathBuf,

    /// The attempt's own folder. Everything of it lies below.
    #[arg(long, env = "CKRV_WORK")]
    pub work: PathBuf,

    /// Name of this machine, for people; absent: its host name.
    #[arg(long, env = "CKRV_NODE")]
    pub node: Option<String>,

    /// File that is kept locked while this process lives, and that must exist. Set by the local runner, in a session of
    /// whose own the supervisor then is.
    #[arg(long, env = "CKRV_ALIVE")]
    pub alive: Option<PathBuf>,

    #[command(flatten)]
    pub pod: PodConfig,

    #[command(flatten)]
    pub settings: Settings,
}

/// What a supervisor in a pod has besides; all of it or nothing. The agent's container shares the work folder.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PodConfig {
    /// In a pod: folder that the agent's container does not see, for the supervisor's own files.
    #[arg(long, env = "CKRV_PRIVATE", requires_all = ["shim_socket", "shim_uid"])]
    pub private: Option<PathBuf>,

    /// In a pod: where the supervisor listens for the shim of the agent's container.
    #[arg(long, env = "CKRV_SHIM_SOCKET", requires_all = ["private", "shim_uid"])]
    pub shim_socket: Option<PathBuf>,

    /// In a pod: the user whom the agent's container runs as. Nobody else is let in.
    #[arg(long, env = "CKRV_SHIM_UID", requires_all = ["private", "shim_socket"])]
    pub shim_uid: Option<u32>,
}

impl PodConfig {
    /// The three, if this is a pod.
    pub fn all(&self) -> Option<(&Path, &Path, u32)> {
        Some((self.private.as_deref()?, self.shim_socket.as_deref()?, self.shim_uid?))
    }
}

/// The shim.
#[derive(Debug, Clone, clap::Args)]
pub struct ShimConfig {
    /// The supervisor's unix socket, which is waited for; absent: it is standard input.
    #[arg(long, env = "CKRV_SHIM_SOCKET")]
    pub socket: Option<PathBuf>,
}

/// What the agent's container was started with: its agent gets it too, but for what tells of ckrv or of the cluster.
pub fn container_environment() -> BTreeMap<String, String> {
    let text = |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
    let is_agents = |key: &str| !key.starts_with("CKRV_") && !key.starts_with("KUBERNETES_");
    std::env::vars_os().filter_map(text).filter(|(key, _)| is_agents(key)).collect()
}

/// Where the program is copied to.
#[derive(Debug, Clone, clap::Args)]
pub struct InstallConfig {
    /// The copy, which anybody may run. Replaces what is there.
    pub path: PathBuf,
}

/// The local runner.
#[derive(Debug, Clone, clap::Args)]
pub struct LocalConfig {
    /// The control plane.
    #[arg(long, env = "CKRV_SERVER")]
    pub server: Url,

    /// File with the runner's token.
    #[arg(long, env = "CKRV_TOKEN_FILE")]
    pub token_file: PathBuf,

    /// Attempts at once.
    #[arg(long, env = "CKRV_SLOTS", default_value_t = 2)]
    pub slots: u32,

    /// The runner's folder: one runner to a folder, and everything of it below.
    #[arg(long, env = "CKRV_RUNNER_HOME")]
    pub home: PathBuf,

    /// Classes of jobs that this runner takes besides those without a class.
    #[arg(long = "class", env = "CKRV_CLASSES", value_delimiter = ',')]
    pub classes: Vec<String>,

    /// For telling runners apart.
    #[arg(long = "label", env = "CKRV_LABELS", value_delimiter = ',', value_name = "KEY=VALUE")]
    pub labels: Vec<Pair>,

    /// When told to end (SIGTERM), end the running attempts too. Otherwise they go on, and the next runner of this
    /// folder takes them over.
    #[arg(long, env = "CKRV_STOP_JOBS")]
    pub stop_jobs: bool,

    /// With `--stop-jobs`: seconds until attempts that have not ended are killed.
    #[arg(long, env = "CKRV_STOP_LIMIT", default_value_t = 60)]
    pub stop_limit: u64,

    /// Name of this machine, for people; absent: its host name.
    #[arg(long, env = "CKRV_NODE")]
    pub node: Option<String>,

    /// The worker's executable; absent: this one.
    #[arg(long, env = "CKRV_WORKER_EXE")]
    pub worker_exe: Option<PathBuf>,

    #[command(flatten)]
    pub settings: Settings,
}

/// What holds for every attempt of a runner.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Files with the runner's named secrets, mode 0600; in a pod also 0440.
    #[arg(long = "secrets", env = "CKRV_SECRETS", value_delimiter = ',')]
    pub secrets: Vec<PathBuf>,

    /// The list of agents in place of ckrv's own.
    #[arg(long, env = "CKRV_AGENTS")]
    pub agents: Option<PathBuf>,

    /// Where git and the agents' programs are found. In a pod only git: agents have their own container's.
    #[arg(long, env = "PATH", default_value = "/usr/local/bin:/usr/bin:/bin", hide_env_values = true)]
    pub search_path: OsString,

    /// More environment for every agent, such as `RUSTUP_HOME=/opt/rustup`. Agents get nothing of the runner's own.
    #[arg(long = "agent-env", env = "CKRV_AGENT_ENV", value_delimiter = ',', value_name = "KEY=VALUE")]
    pub agent_env: Vec<Pair>,

    /// More environment for ckrv's own git, such as `https_proxy=http://proxy:3128`. Never secrets.
    #[arg(long = "git-env", env = "CKRV_GIT_ENV", value_delimiter = ',', value_name = "KEY=VALUE")]
    pub git_env: Vec<Pair>,

    /// Bytes of log that wait on disk for the control plane; when they are used up, the agent waits.
    #[arg(long, env = "CKRV_SPOOL_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub spool_bytes: u64,

    /// Bytes that an agent may fill of the disk, its clone included; 0: no quota.
    #[arg(long, env = "CKRV_DISK_QUOTA", default_value_t = 20 * 1024 * 1024 * 1024)]
    pub disk_quota: u64,

    /// Seconds for collecting and for storing an attempt's results.
    #[arg(long, env = "CKRV_UPLOAD_LIMIT", default_value_t = 600)]
    pub upload_limit: u64,

    /// Take `file://` and local paths as repositories. For the embedded default only.
    #[arg(long, env = "CKRV_ALLOW_LOCAL_REPOS")]
    pub allow_local_repos: bool,

    /// Take repositories at addresses that are not public, and plain http.
    #[arg(long, env = "CKRV_ALLOW_PRIVATE_REPOS")]
    pub allow_private_repos: bool,

    /// Talk to a control plane on another machine in clear text. The tokens travel in clear text then.
    #[arg(long, env = "CKRV_ALLOW_PLAIN_HTTP")]
    pub allow_plain_http: bool,
}

impl Default for Settings {
    /// The defaults of the command line, with nothing of the environment.
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            agents: None,
            search_path: "/usr/local/bin:/usr/bin:/bin".into(),
            agent_env: Vec::new(),
            git_env: Vec::new(),
            spool_bytes: 64 * 1024 * 1024,
            disk_quota: 20 * 1024 * 1024 * 1024,
            upload_limit: 600,
            allow_local_repos: false,
            allow_private_repos: false,
            allow_plain_http: false,
        }
    }
}

impl Settings {
    /// Which repository URLs are cloned.
    pub const fn repo_policy(&self) -> RepoPolicy {
        RepoPolicy {
            local: self.allow_local_repos,
            private_addresses: self.allow_private_repos || self.allow_local_repos,
            plain_http: self.allow_private_repos || self.allow_local_repos,
        }
    }

    pub const fn upload_limit(&self) -> Duration {
        Duration::from_secs(self.upload_limit)
    }

    /// The same settings as arguments, for a supervisor that is started with an empty environment.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: OsString| args.extend([name.into(), value]);
        for path in &self.secrets {
            flag("--secrets", path.into());
        }
        if let Some(path) = &self.agents {
            flag("--agents", path.into());
        }
        flag("--search-path", self.search_path.clone());
        for pair in &self.agent_env {
            flag("--agent-env", pair.to_string().into());
        }
        for pair in &self.git_env {
            flag("--git-env", pair.to_string().into());
        }
        flag("--spool-bytes", self.spool_bytes.to_string().into());
        flag("--disk-quota", self.disk_quota.to_string().into());
        flag("--upload-limit", self.upload_limit.to_string().into());
        for (name, is_on) in [
            ("--allow-local-repos", self.allow_local_repos),
            ("--allow-private-repos", self.allow_private_repos),
            ("--allow-plain-http", self.allow_plain_http),
        ] {
            if is_on {
                args.push(name.into());
            }
        }
        args
    }
}

/// `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub key: String,
    pub value: String,
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("KEY=VALUE is expected")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// A file that holds one secret and nothing else.
pub fn read_secret(path: &Path) -> std::io::Result<Secret> {
    Ok(Secret::new(std::fs::read_to_string(path)?.trim()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn settings_survive_their_way_to_a_supervisor() {
        let settings = Settings {
            secrets: vec!["/etc/a".into(), "/etc/b".into()],
            agents: Some("/etc/agents.yaml".into()),
            agent_env: vec![Pair { key: "A".into(), value: "1=2".into() }],
            spool_bytes: 5,
            allow_local_repos: true,
            ..Settings::default()
        };
        let mut args: Vec<OsString> =
            ["ckrv-worker", "supervise", "--server=http://localhost", "--token-file=t", "--work=w"]
                .map(Into::into)
                .into();
        args.extend(settings.to_args());
        let Command::Supervise(config) = Cli::try_parse_from(args).unwrap().command else { panic!("another command") };
        assert_eq!(format!("{:?}", config.settings), format!("{settings:?}"));
    }

    #[test]
    fn a_supervisor_in_a_pod_is_told_all_about_it_or_nothing() {
        let base = ["x", "supervise", "--server=http://localhost", "--token-file=t", "--work=w"];
        let all = ["--private=p", "--shim-socket=s", "--shim-uid=7"];
        let parse = |args: &[&str]| Cli::try_parse_from(base.iter().chain(args));
        for left_out in 0..3 {
            let some: Vec<&str> =
                all.into_iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, arg)| arg).collect();
            assert!(parse(&some).is_err(), "{some:?}");
        }
        let Command::Supervise(config) = parse(&all).unwrap().command else { panic!("another command") };
        assert_eq!(config.pod.all(), Some((Path::new("p"), Path::new("s"), 7)));
        let Command::Supervise(config) = parse(&[]).unwrap().command else { panic!("another command") };
        assert_eq!(config.pod.all(), None);
    }

    #[test]
    fn the_defaults_of_code_and_command_line_are_the_same() {
        let args = ["x", "supervise", "--server=http://localhost", "--token-file=t", "--work=w", "--search-path"];
        let path = Settings::default().search_path;
        let args = args.map(OsString::from).into_iter().chain([path]);
        let Command::Supervise(config) = Cli::try_parse_from(args).unwrap().command else { panic!("another command") };
        assert_eq!(format!("{:?}", config.settings), format!("{:?}", Settings::default()));
    }
}
