//! What every handler and loop shares.

use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::Arc;

use ckrv_types::OrgId;
use tokio_util::sync::CancellationToken;

use crate::auth::tokens::{InvalidSecretKey, Signer};
use crate::auth::{Cache, Credentials};
use crate::config::Config;
use crate::db::Db;
use crate::http::health::Readiness;
use crate::http::rate::Gates;
use crate::http::rate::address::AddressLimit;
use crate::http::streams::Streams;
use crate::metrics::Metrics;
use crate::oauth::signing::SigningKeys;
use crate::providers::{Providers, SettingsError};
use crate::s3::S3;
use crate::vault::Vault;
use crate::vault::keyring::{Keyring, KeyringError};
use crate::wake::Wake;

#[derive(Clone)]
pub struct AppState(Arc<App>);

pub struct App {
    pub config: Config,
    pub db: Db,
    pub s3: S3,
    pub wake: Wake,
    /// Checks and makes workers' tokens.
    pub signer: Signer,
    /// Signs and checks access tokens.
    pub signing_keys: SigningKeys,
    /// Seals and opens what jobs are lent.
    pub vault: Vault,
    /// Who vouches for people.
    pub providers: Providers,
    /// Credentials found lately.
    pub credentials: Credentials,
    /// What organizations may ask for a minute, as found lately.
    pub rates: Cache<Option<NonZeroU32>, OrgId>,
    pub metrics: Metrics,
    /// The limits on requests, by address.
    pub addresses: AddressLimit,
    /// Where the requests of callers who have a limit wait for each other.
    pub gates: Gates,
    /// The streams that are open, by person or API key.
    pub streams: Streams,
    pub readiness: Readiness,
    /// Cancelled when the server is to stop: streams and long polls end, loops return.
    pub shutdown: CancellationToken,
}

/// A configuration that the server cannot run with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("a database URL cannot be understood")]
    Database(#[source] sqlx::Error),
    #[error("CKRV_SECRET_KEY cannot be used")]
    SecretKey(#[source] InvalidSecretKey),
    #[error("the vault's keys cannot be used")]
    VaultKeys(#[from] KeyringError),
    #[error("CKRV_SIGN_IN_PROVIDERS cannot be used")]
    Providers(#[source] SettingsError),
    #[error("nobody can sign in: CKRV_SIGN_IN_PASSWORDS is false, and CKRV_SIGN_IN_PROVIDERS names nobody")]
    NoWayIn,
}

impl AppState {
    /// Connects to nothing yet. `shutdown` ends what outlives a request.
    pub fn new(config: Config, shutdown: CancellationToken) -> Result<Self, ConfigError> {
        let metrics = Metrics::new();
        let signer = Signer::new(&config.secret_key).map_err(ConfigError::SecretKey)?;
        let keyring = Keyring::load(&config.vault, &signer)?;
        if keyring.is_derived() {
            tracing::info!(
                "no vault key is configured: credentials are encrypted under one that is derived from CKRV_SECRET_KEY"
            );
        }
        let providers = config.sign_in_providers.as_deref().map(Providers::read).transpose();
        let providers = providers.map_err(ConfigError::Providers)?.unwrap_or_default();
        if providers.is_empty() && !config.sign_in_passwords {
            return Err(ConfigError::NoWayIn);
        }
        Ok(Self(Arc::new(App {
            vault: Vault::new(Arc::new(keyring)),
            providers,
            signing_keys: SigningKeys::new(&signer),
            db: Db::new(&config.database).map_err(ConfigError::Database)?,
            s3: S3::new(&config.s3),
            wake: Wake::new(),
            signer,
            credentials: Credentials::default(),
            rates: Cache::default(),
            addresses: AddressLimit::new(config.rate_per_address),
            gates: Gates::default(),
            streams: Streams::new(metrics.streams.clone()),
            readiness: Readiness::new(&metrics.component_up),
            metrics,
            config,
            shutdown,
        })))
    }
}

impl Deref for AppState {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}
