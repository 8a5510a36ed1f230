//! `ckrv-server`: the control plane as a program.
//!
//! Exit codes: 0 done, 1 it did not work (the reason is on stderr), 2 usage.

mod logging;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use ckrv_server::admin::NewUser;
use ckrv_server::admin::limits::{self, Limit, Whose};
use ckrv_server::config::{
    AdminConfig, AuditConfig, Config, ForgetConfig, MigrateConfig, OrgConfig, RotateConfig, SetLimitConfig,
    SetTierConfig, SuspendConfig, TiersConfig, UserConfig,
};
use ckrv_server::db::Db;
use ckrv_server::http::openapi;
use ckrv_server::teams::operator::{self, Who};
use ckrv_server::{admin, migrate, serve};
use ckrv_types::{Secret, UserId};
use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The control plane of ckrv.
#[derive(Parser)]
#[command(name = "ckrv-server", version)]
struct Cli {
    #[command(flatten)]
    log: logging::LogConfig,

    /// Places where the process is to die, as `<name>=<action>` separated by `;`. For tests.
    #[cfg(feature = "failpoints")]
    #[arg(long, env = "CKRV_CRASH_POINTS", default_value = "")]
    crash_points: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API until SIGTERM or SIGINT
    Serve(Box<Config>),
    /// Bring the database's schema to this release's version
    Migrate(MigrateConfig),
    /// What is done once, by whoever installs
    #[command(subcommand)]
    Admin(Admin),
    /// Print the OpenAPI document
    Openapi {
        /// Print the schemas of the streams' events instead
        #[arg(long)]
        events: bool,
    },
}

#[derive(Subcommand)]
enum Admin {
    /// Make the first organization, its API key and its runner's token, and print them this one time
    Bootstrap(AdminConfig),
    /// List the tiers with their limits
    Tiers(TiersConfig),
    /// Give an organization another tier
    SetTier(SetTierConfig),
    /// Set a limit of a tier, or of one organization instead
    SetLimit(SetLimitConfig),
    /// Print the audit log, oldest entry first, an entry a line (NDJSON)
    Audit(AuditConfig),
    /// Make a person who signs in by a password, which is read from standard input
    CreateUser(UserConfig),
    /// Make an organization that somebody who is there already owns
    CreateOrg(OrgConfig),
    /// Shut somebody out of every organization: nothing of theirs is let in within a minute
    SuspendUser(SuspendConfig),
    /// Let somebody in again who was shut out
    ResumeUser(SuspendConfig),
    /// Encrypt the credentials of all organizations under the vault's current key; may be run again at any time
    RotateVaultKey(RotateConfig),
    /// Remove the credentials that nobody can decrypt any more, because this vault key is lost
    ForgetVaultKey(ForgetConfig),
}

#[tokio::main]
async fn main() -> ExitCode {
    // Before the first TLS client is made: the workspace has one provider and takes no default.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    logging::init(&cli.log).context("the log's filter cannot be understood")?;
    #[cfg(feature = "failpoints")]
    ckrv_server::crash::arm(&cli.crash_points).map_err(anyhow::Error::msg)?;
    match cli.command {
        Command::Serve(config) => serve(*config).await,
        Command::Migrate(config) => Ok(migrate::run(&config.owner_database_url).await?),
        Command::Admin(Admin::Bootstrap(config)) => bootstrap(&config).await,
        Command::Admin(Admin::Audit(config)) => audit(&config).await,
        Command::Admin(Admin::CreateUser(config)) => create_user(config).await,
        Command::Admin(Admin::Tiers(config)) => tiers(&config).await,
        Command::Admin(Admin::SetTier(config)) => {
            Ok(limits::set_tier(&Db::new(&config.database)?, &config.org, &config.tier).await?)
        }
        Command::Admin(Admin::SetLimit(config)) => set_limit(&config).await,
        Command::Admin(Admin::CreateOrg(config)) => create_org(config).await,
        Command::Admin(Admin::SuspendUser(config)) => set_suspended(config, true).await,
        Command::Admin(Admin::ResumeUser(config)) => set_suspended(config, false).await,
        Command::Admin(Admin::RotateVaultKey(config)) => rotate_vault_key(&config).await,
        Command::Admin(Admin::ForgetVaultKey(config)) => forget_vault_key(&config).await,
        Command::Openapi { events } => {
            let document = if events { openapi::events_yaml() } else { openapi::api_yaml() };
            print(&document?)
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    stop_on_signals(stop.clone())?;
    Ok(serve::serve(config, listener, stop).await?)
}

/// The first SIGTERM or SIGINT stops in order; the second ends the process at once.
fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(1);
            }
            stop.cancel();
        }
    });
    Ok(())
}

async fn bootstrap(config: &AdminConfig) -> anyhow::Result<()> {
    let db = Db::new(&config.database)?;
    let made = admin::bootstrap(&db, &config.org_name, &config.allow).await?;
    let lines = [
        ("organization", made.org.to_string()),
        ("project", made.project.to_string()),
        ("api_key", made.api_key.expose().to_owned()),
        ("runner", made.runner.to_string()),
        ("runner_token", made.runner_token.expose().to_owned()),
    ];
    print(&lines.map(|(name, value)| format!("{name}: {value}\n")).concat())
}

async fn audit(config: &AuditConfig) -> anyhow::Result<()> {
    let mut reading = admin::auditing::Reading::begin(&config.database, config.org.as_deref(), config.after).await?;
    while let Some(lines) = reading.next().await? {
        print(&lines)?;
    }
    Ok(())
}

async fn create_user(config: UserConfig) -> anyhow::Result<()> {
    let user = NewUser {
        password: read_password()?,
        name: config.name.unwrap_or_else(|| config.login.clone()),
        login: config.login,
        email: config.email,
        org: config.org,
        role: config.role,
    };
    let made = admin::create_user(&Db::new(&config.database)?, &user).await?;
    print(&format!("user: {made}\n"))
}

async fn tiers(config: &TiersConfig) -> anyhow::Result<()> {
    let tiers = limits::tiers(&Db::new(&config.database)?).await?;
    print(&tiers.iter().fold(String::new(), |all, tier| format!("{all}{tier}\n")))
}

async fn set_limit(config: &SetLimitConfig) -> anyhow::Result<()> {
    let whose = match (&config.org, &config.tier) {
        (Some(org), _) => Whose::Org(org.clone()),
        (None, Some(tier)) => Whose::Tier(tier.clone()),
        (None, None) => anyhow::bail!("say whose limit: --org or --tier"),
    };
    let limit = Limit::from(config.to.as_str());
    Ok(limits::set_limit(&Db::new(&config.database)?, &whose, config.limit, &limit).await?)
}

async fn create_org(config: OrgConfig) -> anyhow::Result<()> {
    let owner = who(config.owner_login, config.owner_user)?;
    let made = operator::create_org(&Db::new(&config.database)?, &config.name, &owner, config.tier.as_deref()).await?;
    print(&format!("organization: {}\n", made.id))
}

async fn set_suspended(config: SuspendConfig, suspended: bool) -> anyhow::Result<()> {
    let who = who(config.login, config.user)?;
    let changed = operator::set_suspended(&Db::new(&config.database)?, &who, suspended).await?;
    let now = if suspended { "suspended" } else { "not suspended" };
    print(&format!("user: {now}{}\n", if changed { "" } else { " already" }))
}

fn who(login: Option<String>, user: Option<UserId>) -> anyhow::Result<Who> {
    login.map(Who::Login).or(user.map(Who::Id)).context("a login name or a user's id is needed")
}

async fn rotate_vault_key(config: &RotateConfig) -> anyhow::Result<()> {
    let done = admin::rotate_vault_key(&Db::new(&config.database)?, config).await?;
    let lines = [("data_keys", done.data_keys), ("secrets", done.secrets)];
    print(&lines.map(|(name, count)| format!("{name}: {count}\n")).concat())?;
    anyhow::ensure!(
        done.unreadable.is_empty(),
        "these do not open and were left as they are: {}",
        done.unreadable.join("; ")
    );
    Ok(())
}

async fn forget_vault_key(config: &ForgetConfig) -> anyhow::Result<()> {
    let removed = admin::forget_vault_key(&Db::new(&config.database)?, config).await?;
    print(&format!("credentials: {removed}\n"))
}

/// The first line of standard input: never an argument, which everybody on the machine may read.
fn read_password() -> anyhow::Result<Secret> {
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        // Nobody is left to tell when stderr is gone.
        let _ = write!(std::io::stderr(), "Password (it is shown as you type; pipe it in to avoid that): ");
    }
    let mut line = String::new();
    stdin.read_line(&mut line).context("cannot read the password from standard input")?;
    Ok(Secret::new(line.trim_end_matches(['\n', '\r'])))
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")
}

/// What, then why, one cause a line.
fn report(error: &anyhow::Error) {
    let mut stderr = std::io::stderr().lock();
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(stderr, "error: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(stderr, "cause: {cause}");
    }
}
