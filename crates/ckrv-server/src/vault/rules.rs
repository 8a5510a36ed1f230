//! What a credential must be so that jobs can use it: told to who gives it, not to the jobs. The worker binds it to its host
//! by the same words ([`GitHost`]).

use ckrv_types::credential::{CreateCredential, CredentialKind, GitHost, PROVIDERS};
use ckrv_types::problem::FieldError;
use ckrv_types::spec::is_name;
use ckrv_types::{Secret, limits};
use url::{Host, Url};

use super::{known_hosts, ssh_key};

/// A secret that can be used, as it is kept.
#[derive(Debug)]
pub struct GoodSecret {
    pub secret: Secret,
    /// Of a deploy key.
    pub fingerprint: Option<String>,
}

/// All that is wrong with a new credential, by field, or its host and its secret as they are kept. `plain_http`: whether
/// gateways of models may be reached without TLS, at private addresses alone.
pub fn check(new: &CreateCredential, plain_http: bool) -> Result<(String, GoodSecret), Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, message: String| errors.push(FieldError { field: field.to_owned(), message });
    if !is_name(&new.name) {
        wrong("name", "1 to 63 of a-z 0-9 - are expected".to_owned());
    }
    let host = match new.kind {
        CredentialKind::GitToken | CredentialKind::DeployKey => git_host(&new.host),
        CredentialKind::ModelKey => model_host(&new.host, plain_http),
    };
    if let Err(message) = &host {
        wrong("host", message.clone());
    }
    if let Err(message) = username(new) {
        wrong("username", message.to_owned());
    }
    if let Err(message) = host_keys(new) {
        wrong("known_hosts", message);
    }
    let good = secret(new.kind, &new.secret.0);
    if let Err(message) = &good {
        wrong("secret", message.clone());
    }
    match (host, good) {
        (Ok(host), Ok(good)) if errors.is_empty() => Ok((host, good)),
        _ => Err(errors),
    }
}

/// What is wrong with a secret of this kind, or the secret as it is kept.
pub fn secret(kind: CredentialKind, given: &Secret) -> Result<GoodSecret, String> {
    let text = given.expose();
    if text.len() > limits::CREDENTIAL_BYTES {
        return Err(format!("at most {} KiB", limits::CREDENTIAL_BYTES / 1024));
    }
    if kind == CredentialKind::DeployKey {
        let key = ssh_key::read(text).map_err(|unusable| unusable.to_string())?;
        // ssh wants the last line to end.
        let text = format!("{}\n", text.trim().replace("\r\n", "\n"));
        return Ok(GoodSecret { secret: Secret::new(text), fingerprint: Some(key.fingerprint) });
    }
    // How it comes out of a file.
    let text = text.trim_end_matches(['\r', '\n']);
    let (least, most) = (limits::CREDENTIAL_TOKEN_CHARS_MIN, limits::CREDENTIAL_TOKEN_BYTES);
    if text.chars().count() < least || text.len() > most {
        return Err(format!("{least} characters at least, {most} bytes at most"));
    }
    if text.chars().any(char::is_control) {
        return Err("one line without control characters is expected".to_owned());
    }
    if kind == CredentialKind::ModelKey && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("visible ASCII characters are expected".to_owned());
    }
    Ok(GoodSecret { secret: Secret::new(text), fingerprint: None })
}

fn git_host(text: &str) -> Result<String, String> {
    let fits = text.chars().count() <= limits::CREDENTIAL_HOST_CHARS && GitHost::parse(text).is_some();
    if fits {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a host or host:port is expected, such as git.example.com".to_owned())
    }
}

fn model_host(text: &str, plain_http: bool) -> Result<String, String> {
    if PROVIDERS.contains(&text) {
        return Ok(text.to_owned());
    }
    let expected = || format!("a provider ({}) or the https:// address of a gateway is expected", PROVIDERS.join(", "));
    // The URL standard drops some of these: what is kept would not be what is used.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("an address without white space and control characters is expected".to_owned());
    }
    let url = Url::parse(text).map_err(|_| expected())?;
    if url.as_str().chars().count() > limits::CREDENTIAL_HOST_CHARS {
        return Err(expected());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("an address without user, password, query and fragment is expected".to_owned());
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url.into()),
        "http" if plain_http && is_near(&url) => Ok(url.into()),
        _ => Err(expected()),
    }
}

/// Where the worker's proxy sends a key without TLS.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_private(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unique_local(),
        None => false,
    }
}

fn username(new: &CreateCredential) -> Result<(), &'static str> {
    match (new.kind, new.username.as_deref()) {
        (CredentialKind::GitToken, None) => Err("a git token is sent with a user name; most hosts take any"),
        // RFC 7617, section 2: what stands before the colon.
        (CredentialKind::GitToken, Some(name)) => {
            let fits = !name.is_empty() && name.chars().count() <= 255 && !name.contains(':');
            if fits && !name.chars().any(char::is_control) {
                Ok(())
            } else {
                Err("1 to 255 characters without a colon are expected")
            }
        }
        (_, Some(_)) => Err("a git token alone has one; ssh's stands in the repository's URL"),
        (_, None) => Ok(()),
    }
}

fn host_keys(new: &CreateCredential) -> Result<(), String> {
    match (new.kind, new.known_hosts.as_deref(), GitHost::parse(&new.host)) {
        (CredentialKind::DeployKey, None, _) => Err(
            "a deploy key needs the keys that its host may show, as lines of known_hosts; otherwise whoever answers in the \
             host's place would be believed"
                .to_owned(),
        ),
        (CredentialKind::DeployKey, Some(text), _) if text.len() > limits::CREDENTIAL_BYTES => {
            Err(format!("at most {} KiB", limits::CREDENTIAL_BYTES / 1024))
        }
        (CredentialKind::DeployKey, Some(text), Some(host)) => known_hosts::check(text, &host),
        (_, Some(_), _) if new.kind != CredentialKind::DeployKey => Err("deploy keys alone have known hosts".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ckrv_types::credential::CredentialSecret;

    use super::*;

    fn new(kind: CredentialKind, host: &str, username: Option<&str>, secret: &str) -> CreateCredential {
        CreateCredential {
            name: "x".to_owned(),
            kind,
            host: host.to_owned(),
            username: username.map(str::to_owned),
            project: None,
            known_hosts: None,
            secret: CredentialSecret(Secret::new(secret)),
        }
    }

    fn fields(new: &CreateCredential) -> Vec<String> {
        check(new, true).err().unwrap_or_default().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_good_token_is_kept_without_the_end_of_its_line() {
        let (host, good) =
            check(&new(CredentialKind::GitToken, "Git.Example.com", Some("bot"), "ghp_12345678\n"), false).unwrap();
        assert_eq!((host.as_str(), good.secret.expose()), ("git.example.com", "ghp_12345678"));
    }

    #[test]
    fn each_broken_rule_names_its_field_and_no_error_the_secret() {
        use CredentialKind::{DeployKey, GitToken, ModelKey};
        let known = "git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        let with = |known: &str, new: CreateCredential| CreateCredential { known_hosts: Some(known.to_owned()), ..new };
        let secret = "hunter2-hunter2";
        for (broken, expected) in [
            (new(GitToken, "https://git.example.com", Some("bot"), secret), vec!["host"]),
            (new(GitToken, "git.example.com", None, secret), vec!["username"]),
            (new(GitToken, "git.example.com", Some("a:b"), secret), vec!["username"]),
            (new(GitToken, "git.example.com", Some("bot"), "hunter2"), vec!["secret"]),
            (new(GitToken, "git.example.com", Some("bot"), "hunter2\nhunter2"), vec!["secret"]),
            (new(GitToken, "git.example.com", Some("bot"), &secret.repeat(400)), vec!["secret"]),
            (with(known, new(GitToken, "git.example.com", Some("bot"), secret)), vec!["known_hosts"]),
            (new(DeployKey, "git.example.com", None, secret), vec!["known_hosts", "secret"]),
            (
                with("x", new(DeployKey, "git.example.com", Some("git"), secret)),
                vec!["username", "known_hosts", "secret"],
            ),
            (with(known, new(DeployKey, "git.example.org", None, secret)), vec!["known_hosts", "secret"]),
            (new(ModelKey, "openai", None, secret), vec!["host"]),
            (new(ModelKey, "http://gateway.example.com", None, secret), vec!["host"]),
            (new(ModelKey, "https://me:x@gateway.example.com", None, secret), vec!["host"]),
            (new(ModelKey, "anthropic", None, "hunter2 hunter2"), vec!["secret"]),
            (new(ModelKey, "anthropic", Some("me"), secret), vec!["username"]),
            (CreateCredential { name: "X".to_owned(), ..new(ModelKey, "anthropic", None, secret) }, vec!["name"]),
        ] {
            assert_eq!(fields(&broken), expected, "{broken:?}");
            let told = format!("{:?}", check(&broken, true).unwrap_err());
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_gateways_address_is_kept_as_it_is_used() {
        let host =
            |host: &str| check(&new(CredentialKind::ModelKey, host, None, "sk-12345678"), false).map(|(host, _)| host);
        assert_eq!(host("HTTPS://Gateway.EXAMPLE.com:443/a/../b").unwrap(), "https://gateway.example.com/b");
        for broken in [
            " https://gateway.example.com",
            "https://gateway.example.com\n",
            "https://gate\tway.example.com",
            "https://g.example/a b",
        ] {
            assert_eq!(host(broken).unwrap_err()[0].field, "host", "{broken:?}");
        }
    }

    #[test]
    fn a_gateway_without_tls_is_taken_at_private_addresses_and_only_where_it_is_allowed() {
        for (host, plain_http, good) in [
            ("https://gateway.example.com/anthropic", false, true),
            ("http://10.1.2.3:8080", true, true),
            ("http://10.1.2.3:8080", false, false),
            ("http://8.8.8.8", true, false),
        ] {
            let key = new(CredentialKind::ModelKey, host, None, "sk-12345678");
            assert_eq!(check(&key, plain_http).is_ok(), good, "{host}");
        }
    }
}
