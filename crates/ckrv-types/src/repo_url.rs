//! Which repository URLs are taken, and how they are read.
//!
//! Every parser that handed a user's text to `git` has been tricked by it at some time (`--upload-pack`, `ext::`,
//! credentials sent to a chosen host), so the text is taken apart here and only a rebuilt URL goes on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::limits;

/// What an installation allows beyond public https and ssh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepoPolicy {
    /// `file://` URLs and absolute paths: the embedded default only.
    pub local: bool,
    /// Loopback, private and other addresses that are not public.
    pub private_addresses: bool,
    /// Plain `http://`.
    pub plain_http: bool,
}

impl RepoPolicy {
    /// The strict default of every shared installation.
    pub const fn public() -> Self {
        Self { local: false, private_addresses: false, plain_http: false }
    }

    /// Everything that works on one's own machine.
    pub const fn embedded() -> Self {
        Self { local: true, private_addresses: true, plain_http: true }
    }
}

/// Why a repository URL is refused. The texts never repeat userinfo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepoUrlError {
    #[error("is empty or longer than {} characters", limits::REPO_URL_CHARS)]
    Length,
    #[error("contains white space or control characters")]
    Characters,
    #[error("must not begin with `-`")]
    LeadingDash,
    #[error("`{0}` is not a URL that git can clone (use https://host/path or ssh://git@host/path)")]
    Malformed(String),
    #[error("the scheme `{0}` is not allowed here (use https:// or ssh://)")]
    Scheme(String),
    #[error(
        "must not contain a user name or password; give the organization or the runner a credential for the host instead"
    )]
    Userinfo,
    #[error("needs a host")]
    NoHost,
    #[error("`{0}` is not a public address, which this installation does not allow")]
    PrivateAddress(String),
    #[error("must not have a dot at the end of its host; write `{0}`")]
    TrailingDot(String),
    #[error("needs the repository's path after the host")]
    NoPath,
    #[error("must not have a query or fragment")]
    QueryOrFragment,
}

/// A repository URL that passed the rules, rebuilt from its parts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RepoUrl {
    text: String,
    host: Option<String>,
    kind: RepoKind,
}

/// How the repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RepoKind {
    Http,
    Ssh,
    Local,
}

impl RepoUrl {
    /// Reads `text` under `policy`.
    pub fn parse(text: &str, policy: &RepoPolicy) -> Result<Self, RepoUrlError> {
        if text.is_empty() || text.chars().count() > limits::REPO_URL_CHARS {
            return Err(RepoUrlError::Length);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(RepoUrlError::Characters);
        }
        if text.starts_with('-') {
            return Err(RepoUrlError::LeadingDash);
        }
        if text.starts_with('/') {
            return Self::local(text, policy);
        }
        // `transport::address` is git's remote-helper syntax and runs programs.
        if let Some((helper, _)) = text.split_once("::")
            && helper.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        {
            return Err(RepoUrlError::Scheme(format!("{helper}::")));
        }
        if !text.contains("://") {
            return Self::scp_form(text, policy);
        }
        Self::from_url(text, policy)
    }

    fn from_url(text: &str, policy: &RepoPolicy) -> Result<Self, RepoUrlError> {
        // The URL standard drops backslashes and tabs that git would see: refuse what two parsers read differently.
        if text.contains(['\\', '"', '\'', '`', '<', '>', '^', '|', '{', '}']) {
            return Err(RepoUrlError::Characters);
        }
        let url = Url::parse(text).map_err(|_| RepoUrlError::Malformed(redacted(text)))?;
        let kind = match url.scheme() {
            "https" => RepoKind::Http,
            "http" if policy.plain_http => RepoKind::Http,
            "ssh" => RepoKind::Ssh,
            "file" => {
                let host_ok = url.host_str().is_none_or(|host| host == "localhost");
                if !policy.local || !host_ok {
                    return Err(RepoUrlError::Scheme("file".into()));
                }
                return Self::local(url.path(), policy);
            }
            other => return Err(RepoUrlError::Scheme(other.to_owned())),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err(RepoUrlError::QueryOrFragment);
        }
        let ssh_user_ok = kind == RepoKind::Ssh && is_ssh_user(url.username());
        if url.password().is_some() || !(url.username().is_empty() || ssh_user_ok) {
            return Err(RepoUrlError::Userinfo);
        }
        let host = check_host(url.host().map(|host| host.to_owned()), kind, policy)?;
        if url.path().trim_matches('/').is_empty() {
            return Err(RepoUrlError::NoPath);
        }
        if url.path().starts_with("/-") || url.path().split('/').any(|part| part == "..") {
            return Err(RepoUrlError::Malformed(redacted(text)));
        }
        Ok(Self { text: url.to_string(), host: Some(host), kind })
    }

    /// `user@host:path`, rewritten as ssh://.
    fn scp_form(text: &str, policy: &RepoPolicy) -> Result<Self, RepoUrlError> {
        let malformed = || RepoUrlError::Malformed(redacted(text));
        let (user, rest) = text.split_once('@').ok_or_else(malformed)?;
        let (host, path) = rest.split_once(':').ok_or_else(malformed)?;
        if !is_ssh_user(user) || host.contains(['@', '/', '[']) || path.starts_with(['-', '/']) || path.is_empty() {
            return Err(malformed());
        }
        Self::from_url(&format!("ssh://{user}@{host}/{path}"), policy)
    }

    fn local(path: &str, policy: &RepoPolicy) -> Result<Self, RepoUrlError> {
        if !policy.local {
            return Err(RepoUrlError::Scheme("file".into()));
        }
        if path.trim_matches('/').is_empty() {
            return Err(RepoUrlError::NoPath);
        }
        if path.split('/').any(|part| part == "..") {
            return Err(RepoUrlError::Malformed(path.to_owned()));
        }
        Ok(Self { text: format!("file://{path}"), host: None, kind: RepoKind::Local })
    }

    /// The URL to hand to git, behind `--`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Lower-case host name or address, without brackets; none for local ones.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The port that git connects to; none for local ones.
    pub fn port(&self) -> Option<u16> {
        let fallback = match self.kind {
            RepoKind::Http => None,
            RepoKind::Ssh => Some(22),
            RepoKind::Local => return None,
        };
        Url::parse(&self.text).ok()?.port_or_known_default().or(fallback)
    }

    pub const fn kind(&self) -> RepoKind {
        self.kind
    }
}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What may stand before `@` in ssh: an account's name, no password.
fn is_ssh_user(user: &str) -> bool {
    !user.is_empty()
        && user.len() <= 32
        && user.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !user.starts_with('-')
}

/// The text without anything that may be a password, for messages.
fn redacted(text: &str) -> String {
    let shown: String = text.chars().take(200).collect();
    match shown.rsplit_once('@') {
        Some((_, tail)) => format!("…@{tail}"),
        None => shown,
    }
}

fn check_host(host: Option<Host<String>>, kind: RepoKind, policy: &RepoPolicy) -> Result<String, RepoUrlError> {
    let host = host.ok_or(RepoUrlError::NoHost)?;
    // The same host under a name that nothing else knows it by: credentials are bound to it without the dot, and so are the
    // addresses that git is held to.
    if let Host::Domain(name) = &host
        && let Some(bare) = name.strip_suffix('.')
    {
        return Err(RepoUrlError::TrailingDot(bare.trim_end_matches('.').to_owned()));
    }
    let host = match host {
        // For schemes that the URL standard does not know (ssh) an address stays a name: read it again.
        Host::Domain(name) if kind == RepoKind::Ssh => Host::parse(&name).map_err(|_| RepoUrlError::Malformed(name))?,
        other => other,
    };
    let (name, public) = match host {
        Host::Domain(name) => {
            let name = name.to_ascii_lowercase();
            if name.is_empty() || name.starts_with('-') || name.contains('%') {
                return Err(RepoUrlError::Malformed(name));
            }
            let local = name == "localhost"
                || [".localhost", ".local", ".internal", ".home.arpa"].iter().any(|suffix| name.ends_with(suffix));
            (name, !local)
        }
        Host::Ipv4(address) => (address.to_string(), is_public(IpAddr::V4(address))),
        Host::Ipv6(address) => (address.to_string(), is_public(IpAddr::V6(address))),
    };
    if public || policy.private_addresses { Ok(name) } else { Err(RepoUrlError::PrivateAddress(name)) }
}

/// Whether an address is reachable by everybody: not loopback, private, link-local, shared (CGNAT), documentation,
/// benchmark, multicast, reserved, ULA, nor an IPv6 form that wraps such an IPv4 address (mapped, NAT64, 6to4).
/// Source: the IANA special-purpose address registries (RFC 6890).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let wrapped = || {
        let [.., high, low] = segments;
        Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
    };
    if address.to_ipv4_mapped().is_some() || segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(wrapped());
    }
    if segments[0] == 0x2002 {
        return is_public_v4(Ipv4Addr::from((u32::from(segments[1]) << 16) | u32::from(segments[2])));
    }
    // Global unicast is 2000::/3; the rest is loopback, ULA, link-local, multicast or unassigned.
    (segments[0] & 0xe000) == 0x2000
        && !(segments[0] == 0x2001 && (segments[1] < 0x200 || segments[1] == 0xdb8))
        && !(segments[0] == 0x3fff && segments[1] < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_git_hosts_hand_out_are_taken() {
        for (text, host) in [
            ("https://github.com/team/app.git", "github.com"),
            ("https://GitHub.com/team/app", "github.com"),
            ("https://git.example.com:8443/a/b/c", "git.example.com"),
            ("ssh://git@github.com/team/app.git", "github.com"),
            ("ssh://git@git.example.com:2222/team/app", "git.example.com"),
            ("git@github.com:team/app.git", "github.com"),
            ("https://8.8.8.8/x/y", "8.8.8.8"),
            ("https://dev.azure.com/org/project/_git/repo", "dev.azure.com"),
        ] {
            let url = RepoUrl::parse(text, &RepoPolicy::public()).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(url.host(), Some(host), "{text}");
        }
    }

    #[test]
    fn the_short_ssh_form_is_rewritten() {
        let url = RepoUrl::parse("git@github.com:team/app.git", &RepoPolicy::public()).unwrap();
        assert_eq!(url.as_str(), "ssh://git@github.com/team/app.git");
    }

    #[test]
    fn the_corpus_of_refused_urls_is_refused() {
        let corpus = include_str!("../testdata/refused-repo-urls.txt");
        let cases: Vec<&str> = corpus.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert!(cases.len() >= 60, "only {} cases", cases.len());
        for case in cases {
            let text = case
                .replace("\\n", "\n")
                .replace("\\t", "\t")
                .replace("\\0", "\0")
                .replace("\\e", "\x1b")
                .replace("\\r", "\r");
            assert!(RepoUrl::parse(&text, &RepoPolicy::public()).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_host_with_a_dot_at_its_end_is_refused_and_the_other_spelling_named() {
        for text in [
            "https://git.example.com./a/b",
            "https://git.example.com.:8443/a/b",
            "ssh://git@git.example.com./a/b",
            "git@git.example.com.:a/b",
        ] {
            for policy in [RepoPolicy::public(), RepoPolicy::embedded()] {
                let error = RepoUrl::parse(text, &policy).unwrap_err();
                assert_eq!(error, RepoUrlError::TrailingDot("git.example.com".to_owned()), "{text}");
            }
        }
        // Also of addresses, which the URL standard reads without it.
        assert!(RepoUrl::parse("ssh://git@8.8.8.8./a/b", &RepoPolicy::public()).is_err());
        assert_eq!(
            RepoUrl::parse("https://8.8.8.8./a/b", &RepoPolicy::public()).unwrap().as_str(),
            "https://8.8.8.8/a/b"
        );
    }

    #[test]
    fn local_paths_work_only_in_the_embedded_default() {
        for text in ["/srv/repo", "file:///srv/repo"] {
            assert!(RepoUrl::parse(text, &RepoPolicy::public()).is_err());
            assert_eq!(RepoUrl::parse(text, &RepoPolicy::embedded()).unwrap().as_str(), "file:///srv/repo");
        }
    }

    #[test]
    fn a_refusal_never_repeats_a_password() {
        for text in
            ["https://user:hunter2@", "https://user:hunter2@host:99999/x", "user:hunter2@host", "https://u:hunter2@h/x"]
        {
            let error = RepoUrl::parse(text, &RepoPolicy::public()).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
