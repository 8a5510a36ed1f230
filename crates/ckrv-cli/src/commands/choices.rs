//! What can be chosen of a closed list, as it is typed: the same words in every command, in help and completions.

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use ckrv_types::credential::CredentialKind;
use ckrv_types::identity::{Role, Scope};
use ckrv_types::quota::UsageBy;

pub fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|text| text.parse::<Role>())
}

pub fn scope() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(Scope::ALL.map(Scope::as_str)).try_map(|text| text.parse::<Scope>())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A token or password for git over HTTPS
    GitToken,
    /// An SSH private key, without a passphrase
    DeployKey,
    /// A key for a model provider
    ModelKey,
}

impl From<Kind> for CredentialKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::GitToken => Self::GitToken,
            Kind::DeployKey => Self::DeployKey,
            Kind::ModelKey => Self::ModelKey,
        }
    }
}

/// As it is typed.
pub const fn kind(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::GitToken => "git-token",
        CredentialKind::DeployKey => "deploy-key",
        CredentialKind::ModelKey => "model-key",
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    #[default]
    Project,
    Key,
    User,
    ServiceAccount,
    Day,
}

impl From<By> for UsageBy {
    fn from(by: By) -> Self {
        match by {
            By::Project => Self::Project,
            By::Key => Self::Key,
            By::User => Self::User,
            By::ServiceAccount => Self::ServiceAccount,
            By::Day => Self::Day,
        }
    }
}
