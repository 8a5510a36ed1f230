//! Credentials that an organization lets its jobs use: kept encrypted, given to workers alone, never told again.

use serde::{Deserialize, Deserializer, Serialize, de};
use time::OffsetDateTime;

use crate::repo_url::RepoKind;
use crate::{CredentialId, ProjectId, RepoUrl, Secret};

/// The model providers that a model key may be for.
pub const PROVIDERS: [&str; 1] = ["anthropic"];

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

impl CredentialKind {
    pub const ALL: [Self; 3] = [Self::GitToken, Self::DeployKey, Self::ModelKey];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GitToken => "git_token",
            Self::DeployKey => "deploy_key",
            Self::ModelKey => "model_key",
        }
    }

    /// Whether git is given it for repositories that are reached in this way.
    pub const fn serves(self, repository: RepoKind) -> bool {
        matches!((self, repository), (Self::GitToken, RepoKind::Http) | (Self::DeployKey, RepoKind::Ssh))
    }
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of credential")]
pub struct UnknownKind(String);

impl std::str::FromStr for CredentialKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// The one host of a git credential: a name or address, which stands for all of its ports, or with one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitHost {
    /// In lower case, an IPv6 address without brackets.
    host: String,
    port: Option<u16>,
}

impl GitHost {
    /// Reads `host`, `host:port`, `[address]:port`; nothing: it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address has several, and stands alone or in brackets.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok().filter(|p| *p > 0)?),
            Some(_) => return None,
            None => None,
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let written = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
        // What the URL standard reads as something else (`0x7f.1`, `ä.example`) is not what somebody wrote here.
        let as_written = url::Host::parse(&written).is_ok_and(|read| read.to_string().eq_ignore_ascii_case(&written));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_".contains(&byte);
        // A repository's URL has no dot at the end of its host either.
        let fits = as_written && bare.bytes().all(plain) && !bare.starts_with('-') && !bare.ends_with('.');
        fits.then(|| Self { host: bare.to_ascii_lowercase(), port })
    }

    /// Whether a credential of this host is meant for the repository.
    pub fn is_of(&self, url: &RepoUrl) -> bool {
        url.host().is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            && self.port.is_none_or(|port| url.port() == Some(port))
    }

    /// As known_hosts(5) writes it for ssh; none: of any port.
    pub fn known_as(&self) -> Option<String> {
        match self.port {
            Some(22) => Some(self.host.clone()),
            Some(port) => Some(format!("[{}]:{port}", self.host)),
            None => None,
        }
    }

    /// Whether it stands for one port.
    pub const fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// The name or address.
    pub fn name(&self) -> &str {
        &self.host
    }
}

/// A secret that has to travel in this one body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, max_length = 65536))]
pub struct CredentialSecret(pub Secret);

impl<'de> Deserialize<'de> for CredentialSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of a number would quote it.
        let text = String::deserialize(deserializer).map_err(|_| de::Error::custom("a string is expected"))?;
        Ok(Self(Secret::new(text)))
    }
}

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

/// A credential as the worker of an attempt gets it: what it needs to use it, and no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GivenCredential {
    pub name: String,
    pub kind: CredentialKind,
    /// See [`Credential::host`]: the worker sends it nowhere else.
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<String>,
    pub secret: CredentialSecret,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo_url::RepoPolicy;

    fn is_of(host: &str, url: &str) -> bool {
        GitHost::parse(host).unwrap().is_of(&RepoUrl::parse(url, &RepoPolicy::embedded()).unwrap())
    }

    #[test]
    fn a_host_stands_for_all_of_its_ports_and_a_port_for_itself() {
        for (host, url) in [
            ("forge.example", "https://forge.example/a/b"),
            ("Forge.Example", "https://FORGE.example:8443/a/b"),
            ("forge.example:443", "https://forge.example/a/b"),
            ("forge.example:22", "git@forge.example:a/b"),
            ("forge.example:2222", "ssh://git@forge.example:2222/a/b"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/a"),
            ("[::1]:8080", "http://[::1]:8080/a"),
            ("::1", "http://[::1]:8080/a"),
        ] {
            assert!(is_of(host, url), "{host} {url}");
        }
        for (host, url) in [
            ("forge.example", "https://evil.example/forge.example"),
            ("forge.example", "https://forge.example.evil.example/a"),
            ("forge.example", "https://x.forge.example/a"),
            ("forge.example:443", "https://forge.example:8443/a/b"),
            ("forge.example:443", "ssh://git@forge.example/a/b"),
            ("forge.example:80", "https://forge.example/a/b"),
        ] {
            assert!(!is_of(host, url), "{host} {url}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ":22",
            "https://forge.example",
            "forge.example/x",
            "forge.example:",
            "forge.example:0",
            "forge.example:70000",
            "forge.example:+1",
            "u@forge.example",
            "forge example",
            "*.example",
            "-o.example",
            "forge.example\n",
            "0x7f.1",
            "[::1",
            "::1]:22",
        ] {
            assert_eq!(GitHost::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_secret_of_another_type_is_refused_without_being_told() {
        let error = serde_json::from_str::<ReplaceSecret>(r#"{"secret": 8271828182}"#).unwrap_err().to_string();
        assert!(error.contains("a string is expected") && !error.contains("8271"), "{error}");
        let secret = CredentialSecret(Secret::new("hunter2"));
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
