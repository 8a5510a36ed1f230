//! Those who vouch for people: OpenID providers and GitHub. A person is sent there with what this sign-in is known by
//! ([`Begun`]), and comes back with an answer, of which [`Provider::identify`] makes whom it vouches for, or nobody.
//!
//! Knows neither pages nor tables: who of ours somebody is, and whether they may come in, is for others to say.

mod github;
mod http;
mod oidc;
mod settings;

use std::error::Error;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ckrv_types::Secret;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

pub use settings::SettingsError;

/// Whoever is configured, in the order of the file.
#[derive(Debug, Default)]
pub struct Providers(Vec<Provider>);

impl Providers {
    /// What the file says.
    pub fn read(file: &Path) -> Result<Self, SettingsError> {
        settings::read(file).map(Self)
    }

    pub fn all(&self) -> &[Provider] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn find(&self, id: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.id == id)
    }

    /// The one whose identities are of this issuer.
    pub fn of_issuer(&self, issuer: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.issuer() == issuer)
    }
}

/// Who becomes a user of this installation by signing in for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignUp {
    /// Whoever holds the link of an invitation that is still good.
    #[default]
    Invited,
    /// Everybody whom the provider vouches for.
    Open,
}

/// One that vouches for people.
#[derive(Debug)]
pub struct Provider {
    /// In addresses.
    pub id: String,
    /// For people to read.
    pub label: String,
    pub sign_up: SignUp,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Oidc(Box<oidc::Oidc>),
    GitHub(github::GitHub),
}

/// What one sign-in is known by, here and there.
#[derive(Debug, Clone)]
pub struct Begun {
    pub redirect_uri: Url,
    pub state: Secret,
    pub nonce: Secret,
    /// Of PKCE (RFC 7636).
    pub verifier: Secret,
}

impl Begun {
    /// The same at the browser's return.
    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.expose()))
    }
}

/// What a browser brings back for a sign-in that went well so far (RFC 6749, section 4.1.2).
#[derive(Debug)]
pub struct Answer {
    pub code: Secret,
    /// RFC 9207.
    pub iss: Option<String>,
}

/// Whom a provider vouches for. By `issuer` and `subject` they are known again; the rest is for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    pub issuer: String,
    pub subject: String,
    /// What they are known as there.
    pub account: Option<String>,
    pub name: Option<String>,
    pub email: Option<String>,
}

type Cause = Box<dyn Error + Send + Sync>;

/// Why nobody was vouched for. Nothing in it is secret.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    #[error("the provider cannot be reached")]
    Away(#[source] Cause),
    #[error("the provider did not take the code: {0}")]
    Refused(String),
    /// It is not who it should be, or vouches for somebody else.
    #[error("the provider's answer cannot be trusted: {0}")]
    Unsound(String),
}

impl Provider {
    /// Whose subjects it vouches for.
    pub fn issuer(&self) -> &str {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.issuer(),
            Kind::GitHub(github) => github.issuer(),
        }
    }

    /// Where the browser is sent.
    pub async fn authorize_url(&self, begun: &Begun) -> Result<Url, ProviderError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.authorize_url(begun).await,
            Kind::GitHub(github) => Ok(github.authorize_url(begun)),
        }
    }

    /// Whom the answer is about.
    pub async fn identify(&self, answer: &Answer, begun: &Begun) -> Result<Vouched, ProviderError> {
        let vouched = match &self.kind {
            Kind::Oidc(oidc) => oidc.identify(answer, begun).await?,
            Kind::GitHub(github) => github.identify(answer, begun).await?,
        };
        // An identity without a name would be everybody's.
        if vouched.issuer.is_empty() || vouched.subject.trim().is_empty() {
            return Err(ProviderError::Unsound("it names nobody".to_owned()));
        }
        Ok(vouched)
    }

    /// Asks the provider for what it says of itself, so that a mistake in the settings is heard of before anybody wants in.
    pub async fn try_out(&self) -> Result<(), ProviderError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.try_out().await,
            Kind::GitHub(_) => Ok(()),
        }
    }
}
