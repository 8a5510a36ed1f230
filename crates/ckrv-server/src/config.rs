//! Everything that can be set, read once in `main`. Nothing else reads the environment.

use std::net::SocketAddr;
use std::path::PathBuf;

use ckrv_types::identity::Role;
use ckrv_types::repo_url::RepoPolicy;
use ckrv_types::worker::CommitAuthor;
use ckrv_types::{AuditId, Secret, UserId};
use url::Url;

use crate::admin::limits::Setting;

/// `ckrv-server serve`. Every flag has a variable of the same name with `CKRV_` before it.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Address to listen on.
    #[arg(long, env = "CKRV_LISTEN", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,

    /// Address of a listener for `/metrics`, with `/healthz` and `/readyz`, such as 127.0.0.1:9090. Absent: no measurements
    /// are given out. Whoever reaches it may read it.
    #[arg(long, env = "CKRV_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,

    /// The server's address as users and their browsers reach it, such as `https://ckrv.example.com`: what access tokens are
    /// issued by. Absent: http:// and the address to listen on.
    #[arg(long, env = "CKRV_PUBLIC_URL", value_parser = parse_public_url)]
    pub public_url: Option<Url>,

    /// YAML file that says through whom people sign in: OpenID providers, GitHub. Absent: by passwords alone.
    #[arg(long, env = "CKRV_SIGN_IN_PROVIDERS")]
    pub sign_in_providers: Option<PathBuf>,

    /// Have people sign in by name and password.
    #[arg(long, env = "CKRV_SIGN_IN_PASSWORDS", default_value_t = true, action = clap::ArgAction::Set)]
    pub sign_in_passwords: bool,

    #[command(flatten)]
    pub database: DatabaseConfig,

    #[command(flatten)]
    pub s3: S3Config,

    /// Signs workers' tokens, makes refresh tokens, and encrypts the keys that access tokens are signed with, and
    /// credentials where there is no vault key: 64 hex digits. Keep it, the same for all replicas; a new one ends every running attempt's credentials.
    /// Before you replace it, configure a vault key and run `ckrv-server admin rotate-vault-key`.
    #[arg(long, env = "CKRV_SECRET_KEY", hide_env_values = true)]
    pub secret_key: Secret,

    #[command(flatten)]
    pub vault: VaultConfig,

    /// Take `file://` and local paths as repositories. For the embedded default only.
    #[arg(long, env = "CKRV_ALLOW_LOCAL_REPOS")]
    pub allow_local_repos: bool,

    /// Take repositories at addresses that are not public, and plain http.
    #[arg(long, env = "CKRV_ALLOW_PRIVATE_REPOS")]
    pub allow_private_repos: bool,

    /// Author of the commits that ckrv makes, as `Name <email>`.
    #[arg(long, env = "CKRV_COMMIT_AUTHOR", default_value = "ckrv <ckrv@localhost>", value_parser = parse_author)]
    pub commit_author: CommitAuthor,

    /// Requests per minute and address before authentication.
    #[arg(long, env = "CKRV_RATE_PER_ADDRESS", default_value_t = 6000)]
    pub rate_per_address: u32,

    /// Requests per minute and API key.
    #[arg(long, env = "CKRV_RATE_PER_KEY", default_value_t = 6000)]
    pub rate_per_key: u32,

    /// Logins that an address may begin per hour, of devices as at providers; 0, or 0 requests per address: any number.
    #[arg(long, env = "CKRV_LOGINS_PER_ADDRESS", default_value_t = 600)]
    pub logins_per_address: u32,

    /// Proxies in front of the server that append to X-Forwarded-For; 0: the header is not believed.
    #[arg(long, env = "CKRV_TRUSTED_PROXIES", default_value_t = 0)]
    pub trusted_proxies: u8,

    /// Bytes of log kept per job; lines past it are counted, not kept.
    #[arg(long, env = "CKRV_JOB_LOG_BYTES", default_value_t = ckrv_types::limits::JOB_LOG_BYTES)]
    pub job_log_bytes: u64,

    /// Days that log and artifacts are kept after a job's end.
    #[arg(long, env = "CKRV_RETENTION_DAYS", default_value_t = ckrv_types::limits::RETENTION_DAYS)]
    pub retention_days: i64,

    /// Days that a finished job's row is kept.
    #[arg(long, env = "CKRV_ROW_RETENTION_DAYS", default_value_t = ckrv_types::limits::ROW_RETENTION_DAYS)]
    pub row_retention_days: i64,

    /// Seconds that the server goes on serving when it is told to stop, while it says that it is not ready: as long as a
    /// load balancer or a cluster takes to send nobody new.
    #[arg(long, env = "CKRV_LEAVE_SECONDS", default_value_t = 0)]
    pub leave_seconds: u64,

    /// Seconds that streams and requests get to end at shutdown.
    #[arg(long, env = "CKRV_DRAIN_SECONDS", default_value_t = 20)]
    pub drain_seconds: u64,

    /// Who may make organizations: `operator`, by `ckrv-server admin create-org`, or `anyone` who can sign in.
    #[arg(long, env = "CKRV_ORG_CREATION", value_enum, default_value_t = OrgCreation::Operator)]
    pub org_creation: OrgCreation,

    /// Seconds after which a stream looks again whether whoever reads it still may (1 to 45).
    // With the 10 s that a credential is believed for, who may no longer read is gone within a minute.
    #[arg(
        long,
        env = "CKRV_STREAM_RECHECK_SECONDS",
        default_value_t = ckrv_types::limits::STREAM_RECHECK_SECONDS,
        value_parser = clap::value_parser!(u64).range(1..=45),
    )]
    pub stream_recheck_seconds: u64,

    /// Seconds of silence after which a worker or a runner is lost.
    #[arg(long, env = "CKRV_LEASE_SECONDS", default_value_t = ckrv_types::limits::LEASE_SECONDS)]
    pub lease_seconds: u64,

    /// Seconds between the beats that workers and runners are asked for.
    #[arg(long, env = "CKRV_BEAT_SECONDS", default_value_t = ckrv_types::limits::BEAT_SECONDS)]
    pub beat_seconds: u64,
}

/// Who may make organizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OrgCreation {
    Operator,
    Anyone,
}

/// The two roles that the running server uses. The owner's URL is `migrate`'s alone.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseConfig {
    /// PostgreSQL URL with the role ckrv_app.
    #[arg(long, env = "CKRV_DATABASE_URL", hide_env_values = true)]
    pub database_url: Secret,

    /// PostgreSQL URL with the role ckrv_system.
    #[arg(long, env = "CKRV_SYSTEM_DATABASE_URL", hide_env_values = true)]
    pub system_database_url: Secret,

    /// Connections of the application's pool, half of them at most for one organization; the system's pool has a quarter, at least 4.
    #[arg(long, env = "CKRV_DATABASE_CONNECTIONS", default_value_t = 32)]
    pub database_connections: u32,
}

/// `ckrv-server migrate`.
#[derive(Debug, Clone, clap::Args)]
pub struct MigrateConfig {
    /// PostgreSQL URL with the role ckrv_owner.
    #[arg(long, env = "CKRV_OWNER_DATABASE_URL", hide_env_values = true)]
    pub owner_database_url: Secret,
}

/// `ckrv-server admin bootstrap`.
#[derive(Debug, Clone, clap::Args)]
pub struct AdminConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// Name of the organization.
    #[arg(long, env = "CKRV_ORG_NAME", default_value = "default")]
    pub org_name: String,

    /// Take AgentJobs that are made by hand in this namespace of the runner's cluster; `*`: in every one.
    #[arg(long, env = "CKRV_RUNNER_ALLOW", value_delimiter = ',')]
    pub allow: Vec<String>,
}

/// `ckrv-server admin tiers`.
#[derive(Debug, Clone, clap::Args)]
pub struct TiersConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,
}

/// `ckrv-server admin set-tier`.
#[derive(Debug, Clone, clap::Args)]
pub struct SetTierConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// Name of the organization.
    #[arg(long, env = "CKRV_ORG_NAME", default_value = "default")]
    pub org: String,

    /// Name of the tier.
    #[arg(long)]
    pub tier: String,
}

/// `ckrv-server admin set-limit`.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "whose", required = true, multiple = false, args = ["org", "tier"])]
pub struct SetLimitConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// Name of the organization for which it is to hold, instead of what its tier says.
    #[arg(long)]
    pub org: Option<String>,

    /// Name of the tier for whose organizations it is to hold.
    #[arg(long)]
    pub tier: Option<String>,

    /// What to set.
    #[arg(long)]
    pub limit: Setting,

    /// A number; `unlimited`; with --org, `tier` for whatever its tier says; classes: names separated by commas, or `none`.
    #[arg(long)]
    pub to: String,
}

/// The keys that organizations' data keys are sealed by. Neither of them: one that is derived from the secret key.
#[derive(Debug, Clone, clap::Args)]
pub struct VaultConfig {
    /// File of the keys that credentials are encrypted under, each a line `id:` and 64 hex digits. The first one encrypts, all
    /// decrypt. Keep them, the same for all replicas.
    #[arg(long, env = "CKRV_VAULT_KEY_FILE", conflicts_with = "vault_key")]
    pub vault_key_file: Option<PathBuf>,

    /// The same lines themselves. Neither: a key that is derived from CKRV_SECRET_KEY.
    #[arg(long, env = "CKRV_VAULT_KEY", hide_env_values = true)]
    pub vault_key: Option<Secret>,
}

/// `ckrv-server admin rotate-vault-key`.
#[derive(Debug, Clone, clap::Args)]
pub struct RotateConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    #[command(flatten)]
    pub vault: VaultConfig,

    /// As the servers have it: 64 hex digits.
    #[arg(long, env = "CKRV_SECRET_KEY", hide_env_values = true)]
    pub secret_key: Secret,

    /// Give each organization a new data key, too, and encrypt its credentials by that.
    #[arg(long)]
    pub data_keys: bool,
}

/// `ckrv-server admin forget-vault-key`.
#[derive(Debug, Clone, clap::Args)]
pub struct ForgetConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    #[command(flatten)]
    pub vault: VaultConfig,

    /// As the servers have it: 64 hex digits.
    #[arg(long, env = "CKRV_SECRET_KEY", hide_env_values = true)]
    pub secret_key: Secret,

    /// Id of the key that is lost.
    pub id: String,
}

/// `ckrv-server admin audit`.
#[derive(Debug, Clone, clap::Args)]
pub struct AuditConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// Only what concerns the organization of this name. Absent: everything, also what concerns none.
    #[arg(long)]
    pub org: Option<String>,

    /// Begin behind this entry: the last that was printed before.
    #[arg(long)]
    pub after: Option<AuditId>,
}

/// `ckrv-server admin create-user`.
#[derive(Debug, Clone, clap::Args)]
pub struct UserConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// What they type to sign in: a-z, 0-9, and . _ - in between.
    #[arg(long)]
    pub login: String,

    /// What they are called [default: the login name]
    #[arg(long)]
    pub name: Option<String>,

    /// For people to read; nobody is known by it.
    #[arg(long)]
    pub email: Option<String>,

    /// Name of the organization that they belong to.
    #[arg(long, env = "CKRV_ORG_NAME", default_value = "default")]
    pub org: String,

    /// `owner`, `admin`, `editor` or `viewer`.
    #[arg(long)]
    pub role: Role,
}

/// `ckrv-server admin create-org`.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("owner").required(true)))]
pub struct OrgConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// Name of the organization.
    #[arg(long)]
    pub name: String,

    /// Who is to own it, by the name that they sign in with.
    #[arg(long, group = "owner")]
    pub owner_login: Option<String>,

    /// Who is to own it, by their id.
    #[arg(long, group = "owner")]
    pub owner_user: Option<UserId>,

    /// What it may use goes by this [default: what people get who make an organization for themselves]
    #[arg(long)]
    pub tier: Option<String>,
}

/// `ckrv-server admin suspend-user` and `resume-user`.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("who").required(true)))]
pub struct SuspendConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// Who, by the name that they sign in with.
    #[arg(long, group = "who")]
    pub login: Option<String>,

    /// Who, by their id.
    #[arg(long, group = "who")]
    pub user: Option<UserId>,
}

#[derive(Debug, Clone, clap::Args)]
pub struct S3Config {
    /// The object store as server and workers reach it.
    #[arg(id = "s3-endpoint", long = "s3-endpoint", env = "CKRV_S3_ENDPOINT")]
    pub endpoint: Url,

    /// The same as users reach it. Absent: the server streams artifacts itself.
    #[arg(id = "s3-public-endpoint", long = "s3-public-endpoint", env = "CKRV_S3_PUBLIC_ENDPOINT")]
    pub public_endpoint: Option<Url>,

    #[arg(id = "s3-bucket", long = "s3-bucket", env = "CKRV_S3_BUCKET", default_value = "ckrv")]
    pub bucket: String,

    #[arg(id = "s3-region", long = "s3-region", env = "CKRV_S3_REGION", default_value = "us-east-1")]
    pub region: String,

    #[arg(id = "s3-access-key", long = "s3-access-key", env = "CKRV_S3_ACCESS_KEY", hide_env_values = true)]
    pub access_key: Secret,

    #[arg(id = "s3-secret-key", long = "s3-secret-key", env = "CKRV_S3_SECRET_KEY", hide_env_values = true)]
    pub secret_key: Secret,

    /// `AES256` or a KMS key's id: asks the store to encrypt every object.
    #[arg(id = "s3-encryption", long = "s3-encryption", env = "CKRV_S3_ENCRYPTION")]
    pub encryption: Option<String>,
}

#[derive(clap::Parser)]
struct Alone {
    #[command(flatten)]
    config: Config,
}

impl Config {
    /// What these arguments, and the environment where they are silent, make of it.
    pub fn from_args<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, clap::Error> {
        let program = std::iter::once("ckrv-server");
        Ok(<Alone as clap::Parser>::try_parse_from(program.chain(arguments))?.config)
    }

    /// The issuer of access tokens, and what every address of the authorization server begins with: without a slash at its
    /// end.
    pub fn issuer(&self) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.listen),
        }
    }

    /// Which repository URLs this installation takes.
    pub fn repo_policy(&self) -> RepoPolicy {
        RepoPolicy {
            local: self.allow_local_repos,
            private_addresses: self.allow_private_repos || self.allow_local_repos,
            plain_http: self.allow_private_repos || self.allow_local_repos,
        }
    }
}

/// RFC 8414, section 2: an issuer has no query and no fragment. Ours has no path either, so that what browsers are asked to
/// keep is kept for the whole host.
fn parse_public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    if web && bare && anonymous { Ok(url) } else { Err("`https://HOST` or `https://HOST:PORT` is expected".to_owned()) }
}

/// `Name <email>`, as git writes it.
fn parse_author(text: &str) -> Result<CommitAuthor, String> {
    let parsed = text.strip_suffix('>').and_then(|text| text.split_once('<'));
    let (name, email) = parsed.map(|(name, email)| (name.trim(), email.trim())).unwrap_or_default();
    let fits = |part: &str| !part.is_empty() && !part.contains(['<', '>']) && !part.contains(char::is_control);
    if fits(name) && fits(email) {
        return Ok(CommitAuthor { name: name.to_owned(), email: email.to_owned() });
    }
    Err("`Name <email>` is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_a_name_and_an_address() {
        let author = parse_author("ckrv bot <bot@example.com>").unwrap();
        assert_eq!((author.name.as_str(), author.email.as_str()), ("ckrv bot", "bot@example.com"));
        for text in ["", "ckrv", "<a@b>", "ckrv <>", "a <b> <c>", "a\nb <c>"] {
            assert!(parse_author(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_public_address_is_a_scheme_and_a_host() {
        for good in ["https://ckrv.example.com", "https://ckrv.example.com:8443/", "http://[::1]:7070"] {
            assert!(parse_public_url(good).is_ok(), "{good}");
        }
        for bad in ["", "ckrv.example.com", "ftp://h", "https://h/ckrv", "https://h?a", "https://h#f", "https://u@h"] {
            assert!(parse_public_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_flag_has_a_name_of_its_own() {
        <Alone as clap::CommandFactory>::command().debug_assert();
    }
}
