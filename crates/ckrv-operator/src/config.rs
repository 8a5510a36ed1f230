//! Everything that can be set, read once in `main`. Nothing else reads the environment, but for the cluster's own
//! configuration (`KUBECONFIG`, the pod's service account), which kube finds as every Kubernetes client does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use url::Url;

use crate::policy::Peer;

/// ckrv's operator: runs jobs as pods.
#[derive(Debug, clap::Parser)]
#[command(name = "ckrv-operator", version)]
pub struct Cli {
    /// What to log to stderr, such as `info` or `ckrv_operator=debug,warn`.
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
    /// Be the runner of this cluster: take jobs and run each in a pod.
    Run(Box<Config>),
    /// Write the definitions of AgentJob and JobClass into a folder.
    Crds {
        /// The folder.
        folder: PathBuf,
    },
}

/// The operator.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The control plane, as the operator and the jobs' pods reach it.
    #[arg(long, env = "CKRV_SERVER")]
    pub server: Url,

    /// File with the runner's token.
    #[arg(long, env = "CKRV_TOKEN_FILE")]
    pub token_file: PathBuf,

    /// Talk to the control plane in clear text, and let the workers do so. The tokens travel in clear text then.
    #[arg(long, env = "CKRV_ALLOW_PLAIN_HTTP")]
    pub allow_plain_http: bool,

    /// Namespace of the jobs.
    #[arg(long, env = "CKRV_NAMESPACE")]
    pub namespace: String,

    /// Attempts at once.
    #[arg(long, env = "CKRV_CAPACITY", default_value_t = 100)]
    pub capacity: u32,

    /// The class of jobs that name none. Without a JobClass of this name they get the operator's defaults.
    #[arg(long, env = "CKRV_DEFAULT_CLASS", default_value = "default")]
    pub default_class: String,

    #[command(flatten)]
    pub pod: PodConfig,

    #[command(flatten)]
    pub network: NetworkConfig,

    #[command(flatten)]
    pub graces: Graces,

    /// Where health and metrics are answered: /livez, /readyz, /metrics.
    #[arg(long, env = "CKRV_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,

    /// Name of the Lease, in the jobs' namespace, by which one of several operators leads.
    #[arg(long, env = "CKRV_LEASE", default_value = "ckrv-operator")]
    pub lease: String,

    /// Name of this operator among its standbys, such as its pod's name; absent: a random one.
    #[arg(long, env = "CKRV_IDENTITY")]
    pub identity: Option<String>,
}

/// What every job's pod has, whatever its class.
#[derive(Debug, Clone, clap::Args)]
pub struct PodConfig {
    /// Image of the worker: git and `/ckrv/bin/ckrv-worker`.
    #[arg(long, env = "CKRV_WORKER_IMAGE")]
    pub worker_image: String,

    /// Image of agents whose job and class name none. It has `/ckrv/bin/ckrv-worker`.
    #[arg(long, env = "CKRV_AGENT_IMAGE")]
    pub agent_image: String,

    /// Further images that have `/ckrv/bin/ckrv-worker`, as patterns with `*`. Into others it is copied.
    #[arg(long = "shim-images", env = "CKRV_SHIM_IMAGES", value_delimiter = ',')]
    pub shim_images: Vec<String>,

    /// The pods' service account. It needs no rights, and its token is not mounted. What the operator makes goes with it.
    #[arg(long, env = "CKRV_JOB_SERVICE_ACCOUNT", default_value = "default")]
    pub service_account: String,

    /// Default room for the work tree.
    #[arg(long, env = "CKRV_WORK_VOLUME_SIZE", default_value = "20Gi", value_parser = quantity)]
    pub work_volume_size: Quantity,

    /// Room for what the worker keeps to itself: its own repository, the log on its way, results.
    #[arg(long, env = "CKRV_PRIVATE_VOLUME_SIZE", default_value = "10Gi", value_parser = quantity)]
    pub private_volume_size: Quantity,

    /// Room for each /tmp and each home.
    #[arg(long, env = "CKRV_SCRATCH_VOLUME_SIZE", default_value = "2Gi", value_parser = quantity)]
    pub scratch_volume_size: Quantity,

    /// Seconds for collecting and for storing an attempt's results.
    #[arg(long, env = "CKRV_UPLOAD_LIMIT", default_value_t = 600)]
    pub upload_limit: u64,

    /// Have workers take repositories at addresses that are not public, and plain http.
    #[arg(long, env = "CKRV_ALLOW_PRIVATE_REPOS")]
    pub allow_private_repos: bool,

    /// What the worker in a pod logs to stderr.
    #[arg(long, env = "CKRV_WORKER_LOG", default_value = "info")]
    pub worker_log: String,
}

/// What the jobs' pods may connect to.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NetworkConfig {
    /// The control plane, as `CIDR:PORT` or `NAMESPACE/LABEL=VALUE:PORT` of its pods.
    #[arg(long, env = "CKRV_SERVER_EGRESS", value_delimiter = ',')]
    pub server_egress: Vec<Peer>,

    /// The object store, likewise.
    #[arg(long, env = "CKRV_S3_EGRESS", value_delimiter = ',')]
    pub s3_egress: Vec<Peer>,

    /// The cluster's DNS, likewise.
    #[arg(long, env = "CKRV_DNS_EGRESS", value_delimiter = ',', default_value = "kube-system/k8s-app=kube-dns:53")]
    pub dns_egress: Vec<Peer>,

    /// What no class can open: the ranges of pods, services and nodes. Link-local addresses, and so the cloud's metadata,
    /// always are closed.
    #[arg(long, env = "CKRV_CLOSED_CIDRS", value_delimiter = ',')]
    pub closed_cidrs: Vec<String>,
}

/// How long trouble that may pass is borne, in seconds.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Graces {
    /// An image that cannot be pulled, and a container that cannot be started.
    #[arg(long, env = "CKRV_IMAGE_GRACE", default_value_t = 60)]
    pub image_grace: u64,

    /// A pod that the namespace's quota has no room for.
    #[arg(long, env = "CKRV_QUOTA_GRACE", default_value_t = 60)]
    pub quota_grace: u64,

    /// A pod that no node has room for.
    #[arg(long, env = "CKRV_UNSCHEDULABLE_GRACE", default_value_t = 600)]
    pub unschedulable_grace: u64,
}

impl PodConfig {
    pub const fn upload_limit(&self) -> Duration {
        Duration::from_secs(self.upload_limit)
    }
}

/// A number with an optional suffix (`Ki`, `M`, …); the cluster checks the rest.
fn quantity(text: &str) -> Result<Quantity, &'static str> {
    let fits = text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    if fits { Ok(Quantity(text.to_owned())) } else { Err("a size such as 20Gi is expected") }
}
