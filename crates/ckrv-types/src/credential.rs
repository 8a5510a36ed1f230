//! Credentials that an organization lets its jobs use: kept encrypted, given to workers alone, never told again.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{CredentialId, ProjectId, Secret};

/// A credential without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Credential {
    pub id: CredentialId,
    /// By which a specification's `secrets` name it.
    pub name: String,
    pub kind: CredentialKind,
    /// The one host that it is sent to: of git `host` or `host:port`, of a model key the provider's name or `https://…`.
    pub host: String,
    /// Of git over HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Limits it to the jobs of one project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// Raised with each new secret.
    pub version: u32,
    /// Of a deploy key: its public half's SHA-256, as `ssh-keygen -l` prints it. None of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<OffsetDateTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A token or password for git over HTTPS.
    GitToken,
    /// An SSH private key, without a passphrase.
    DeployKey,
    /// A key for a model provider.
    ModelKey,
}

/// A secret that has to travel in this one body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, max_length = 65536))]
#[serde(transparent)]
pub struct CredentialSecret(pub Secret);

impl Serialize for CredentialSecret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

/// `POST /v1/credentials`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateCredential {
    /// 1 to 63 of `a-z 0-9 -`, unique in the organization.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    pub kind: CredentialKind,
    /// See [`Credential::host`].
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 255))]
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 255))]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    /// Of a deploy key: lines as in `known_hosts`, the only keys that the host may show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 65536))]
    pub known_hosts: Option<String>,
    pub secret: CredentialSecret,
}

/// `PUT /v1/credentials/{id}/secret`: a new secret in the place of the old one; jobs that begin from now on get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplaceSecret {
    pub secret: CredentialSecret,
}
