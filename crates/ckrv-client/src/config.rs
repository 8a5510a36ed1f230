//! What a client must be told, and the rule for server addresses.

use std::time::Duration;

use ckrv_types::Secret;
use reqwest::header::HeaderValue;
use url::{Host, Url};

use crate::{Credential, Retry};

/// Whom to talk to, as whom and how patiently.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `https://…`, or `http://…` to this machine itself. May have a path, which every route goes below.
    pub server: Url,
    pub credential: Credential,
    /// The organization that requests are about, by name or id (see [`ckrv_types::identity::ORG_HEADER`]).
    pub org: Option<String>,
    /// `ckrv-cli/0.1.0`.
    pub user_agent: String,
    pub timeouts: Timeouts,
    /// For requests that may be repeated safely.
    pub retry: Retry,
    /// Takes `http://` to other machines too: the token then travels in clear text.
    pub allow_plain_http: bool,
}

impl ClientConfig {
    /// Everything by default: https, and 10 s of retries.
    pub fn new(server: Url, credential: impl Into<Credential>, user_agent: impl Into<String>) -> Self {
        Self {
            server,
            credential: credential.into(),
            org: None,
            user_agent: user_agent.into(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            allow_plain_http: false,
        }
    }
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// For one whole exchange of a request and its answer; of a stream or download, for its beginning.
    pub request: Duration,
    /// Silence on a stream or download before it is taken for dead. A live stream says something every
    /// [`ckrv_types::limits::STREAM_HEARTBEAT_SECONDS`].
    pub silence: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            silence: Duration::from_secs(3 * ckrv_types::limits::STREAM_HEARTBEAT_SECONDS),
        }
    }
}

/// Why no client can be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("`{0}` is not the address of a control plane (expected https://host)")]
    ServerUrl(String),
    #[error("`{0}` is plain http to another machine: the token would travel in clear text")]
    PlainHttp(String),
    #[error("the token has characters that no token has")]
    Token,
    #[error("`{0}` cannot be an organization's name or id")]
    Org(String),
    #[error("cannot set up TLS")]
    Tls(#[source] reqwest::Error),
}

/// Checks a server's address, and that the token may be sent there.
pub(crate) fn check_server(url: &Url, allow_plain_http: bool) -> Result<(), ConfigError> {
    let shown = || without_userinfo(url);
    let clean =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if !clean || url.host().is_none() || !matches!(url.scheme(), "http" | "https") {
        return Err(ConfigError::ServerUrl(shown()));
    }
    if is_private_enough(url, allow_plain_http) { Ok(()) } else { Err(ConfigError::PlainHttp(shown())) }
}

/// Whether nobody between here and there can read along: https, or this machine itself.
pub(crate) fn is_private_enough(url: &Url, allow_plain_http: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => allow_plain_http || is_loopback(url),
        _ => false,
    }
}

/// Whether `url` names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `Authorization` for `token`, marked so that it is never printed or compressed.
pub(crate) fn bearer(token: &Secret) -> Result<HeaderValue, ConfigError> {
    if token.is_empty() || token.expose().chars().any(|c| !c.is_ascii_graphic()) {
        return Err(ConfigError::Token);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| ConfigError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The value of [`ckrv_types::identity::ORG_HEADER`].
pub(crate) fn org_value(org: &str) -> Result<HeaderValue, ConfigError> {
    let wrong = || ConfigError::Org(org.to_owned());
    if org.is_empty() || org.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(wrong());
    }
    HeaderValue::try_from(org).map_err(|_| wrong())
}

fn without_userinfo(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot have userinfo.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, allow_plain_http: bool) -> Result<(), ConfigError> {
        check_server(&Url::parse(text).unwrap(), allow_plain_http)
    }

    #[test]
    fn the_token_goes_only_where_nobody_reads_along() {
        for text in [
            "https://ckrv.example",
            "https://ckrv.example/base",
            "http://127.0.0.1:7000",
            "http://[::1]:7000",
            "http://localhost:7000",
        ] {
            assert!(check(text, false).is_ok(), "{text}");
        }
        for text in ["http://ckrv.example", "http://10.0.0.1", "http://localhost.example.com"] {
            assert!(matches!(check(text, false), Err(ConfigError::PlainHttp(_))), "{text}");
            assert!(check(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn other_schemes_and_adornments_are_refused_without_repeating_a_password() {
        for text in ["ftp://host/", "file:///x", "https://u:hunter2@host/", "https://host/?a=b", "https://host/#x"] {
            let error = check(text, true).unwrap_err();
            assert!(matches!(error, ConfigError::ServerUrl(_)), "{text}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_organization_that_would_break_the_header_is_refused() {
        for org in ["", "a b", "a\r\nx: y", "ü"] {
            assert!(matches!(org_value(org), Err(ConfigError::Org(_))), "{org:?}");
        }
        assert_eq!(org_value("acme").unwrap(), "acme");
    }

    #[test]
    fn a_token_that_would_break_the_header_is_refused() {
        for token in ["", "a b", "a\r\nx: y", "ü"] {
            assert!(matches!(bearer(&Secret::new(token)), Err(ConfigError::Token)), "{token:?}");
        }
        assert!(bearer(&Secret::new("ck_live_x")).unwrap().is_sensitive());
    }
}
