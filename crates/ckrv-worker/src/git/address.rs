//! Where a repository's host name really leads: the addresses are looked at before git is, and git is held to them, so
//! that a name which changes its mind between the two look-ups (DNS rebinding) gains nothing.

use std::net::IpAddr;
use std::time::Duration;

use ckrv_types::RepoUrl;
use ckrv_types::repo_url::{RepoKind, RepoPolicy, is_public};
use url::Url;

use super::error::CloneError;

const LOOKUP_LIMIT: Duration = Duration::from_secs(15);

/// A host with the addresses that git may use for it.
pub(super) struct Pin {
    pub host: String,
    pub port: u16,
    pub addresses: Vec<IpAddr>,
}

impl Pin {
    /// As known_hosts(5) names the host: whoever wrote it down saw the name, not the address.
    pub fn known_as(&self) -> String {
        if self.port == 22 { self.host.clone() } else { format!("[{}]:{}", self.host, self.port) }
    }

    /// curl's form (CURLOPT_RESOLVE), for `http.curloptResolve`.
    pub fn curl(&self) -> String {
        let addresses: Vec<String> = self
            .addresses
            .iter()
            .map(|address| match address {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            })
            .collect();
        format!("{}:{}:{}", self.host, self.port, addresses.join(","))
    }
}

/// Looks the host up under a policy that wants public addresses. `None`: nothing to hold git to (a local repository, an
/// address that was judged when the URL was read, or a policy that allows every address).
pub(super) async fn pin(url: &RepoUrl, policy: &RepoPolicy) -> Result<Option<Pin>, CloneError> {
    let Some(host) = url.host() else { return Ok(None) };
    if policy.private_addresses || host.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    let unreachable = |said: String| CloneError::Unreachable { host: host.to_owned(), said };
    let port = port(url);
    let found = tokio::time::timeout(LOOKUP_LIMIT, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| unreachable(format!("its name was not resolved within {} s", LOOKUP_LIMIT.as_secs())))?
        .map_err(|error| unreachable(error.to_string()))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(unreachable("its name has no address".to_owned()));
    }
    judge(host, &addresses)?;
    Ok(Some(Pin { host: host.to_owned(), port, addresses }))
}

/// One private address among public ones is already a trick.
fn judge(host: &str, addresses: &[IpAddr]) -> Result<(), CloneError> {
    match addresses.iter().find(|address| !is_public(**address)) {
        Some(address) => Err(CloneError::PrivateAddress { host: host.to_owned(), address: *address }),
        None => Ok(()),
    }
}

fn port(url: &RepoUrl) -> u16 {
    let fallback = if url.kind() == RepoKind::Ssh { 22 } else { 443 };
    Url::parse(url.as_str()).ok().and_then(|url| url.port_or_known_default()).unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_one_private_address_is_refused() {
        let public: IpAddr = "93.184.216.34".parse().unwrap();
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        assert!(judge("git.example.com", &[public]).is_ok());
        let error = judge("git.example.com", &[public, metadata]).unwrap_err();
        assert!(error.to_string().contains("169.254.169.254"), "{error}");
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_unless_private_addresses_are_allowed() {
        // Refused as text already; what is judged here is the look-up, so the URL is read under a lenient policy.
        let url = RepoUrl::parse("https://localhost/team/app", &RepoPolicy::embedded()).unwrap();
        assert!(matches!(pin(&url, &RepoPolicy::public()).await, Err(CloneError::PrivateAddress { .. })));
        assert!(matches!(pin(&url, &RepoPolicy::embedded()).await, Ok(None)));
    }

    #[test]
    fn the_pin_has_the_form_that_curl_reads() {
        let addresses = vec!["93.184.216.34".parse().unwrap(), "2606:2800::1".parse().unwrap()];
        let pin = Pin { host: "a.example".into(), port: 8443, addresses };
        assert_eq!(pin.curl(), "a.example:8443:93.184.216.34,[2606:2800::1]");
        assert_eq!(pin.known_as(), "[a.example]:8443");
        assert_eq!(Pin { port: 22, ..pin }.known_as(), "a.example");
    }
}
