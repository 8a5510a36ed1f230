//! The file that says who vouches for people (`docs/sign-in.md`).

use std::path::{Path, PathBuf};

use ckrv_types::Secret;
use openidconnect::IssuerUrl;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::{Host, Url};

use super::github::GitHub;
use super::http::Http;
use super::oidc::Oidc;
use super::{Kind, Provider, SignUp};

const ID_CHARS: usize = 32;
const LABEL_CHARS: usize = 60;
const GITHUB: &str = "https://github.com";

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{0} cannot be read")]
    File(PathBuf, #[source] std::io::Error),
    #[error("{0} is not a list of providers")]
    Form(PathBuf, #[source] Box<serde_saphyr::Error>),
    #[error("provider `{0}`: {1}")]
    Provider(String, &'static str),
    #[error("provider `{0}`: the file of its secret, {1}, cannot be read")]
    SecretFile(String, PathBuf, #[source] std::io::Error),
    #[error("the client for requests to providers cannot be made")]
    Http(#[source] reqwest::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    providers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    label: Option<String>,
    kind: KindName,
    issuer: Option<String>,
    url: Option<Url>,
    client_id: String,
    #[serde(default, deserialize_with = "secret")]
    client_secret: Option<Secret>,
    client_secret_file: Option<PathBuf>,
    #[serde(default)]
    sign_up: SignUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    Oidc,
    GitHub,
}

/// Says of what is no text only that: the library would say what it is.
fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    let read = Option::deserialize(from).map_err(|_| D::Error::custom("client_secret is a text, in quotes"))?;
    Ok(read)
}

pub fn read(path: &Path) -> Result<Vec<Provider>, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|error| SettingsError::File(path.to_owned(), error))?;
    // A snippet of the file could have a secret in it.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(&text, options)
        .map_err(|error| SettingsError::Form(path.to_owned(), Box::new(error)))?;
    let http = Http::new().map_err(SettingsError::Http)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut providers: Vec<Provider> = Vec::new();
    for entry in file.providers {
        if providers.iter().any(|known| known.id == entry.id) {
            return Err(SettingsError::Provider(entry.id, "there are two of this id"));
        }
        providers.push(entry.provider(folder, &http)?);
    }
    Ok(providers)
}

impl Entry {
    fn provider(self, folder: &Path, http: &Http) -> Result<Provider, SettingsError> {
        let secret = self.secret(folder)?;
        let wrong = |what| SettingsError::Provider(self.id.clone(), what);
        if !is_id(&self.id) {
            return Err(wrong("an id has 1 to 32 of a-z 0-9 -"));
        }
        if self.client_id.trim().is_empty() {
            return Err(wrong("client_id is empty"));
        }
        let label = self.label.as_deref().unwrap_or(if self.kind == KindName::GitHub { "GitHub" } else { &self.id });
        if label.trim().is_empty() || label.chars().count() > LABEL_CHARS || label.chars().any(char::is_control) {
            return Err(wrong("a label has 1 to 60 characters"));
        }
        let kind = match self.kind {
            KindName::Oidc => {
                let Some(issuer) = self.issuer.as_deref().filter(|_| self.url.is_none()) else {
                    return Err(wrong("of kind oidc, it has an issuer, and no url"));
                };
                let safe = checked(issuer).is_some();
                // As it is written: another spelling of the address is another issuer.
                let issuer = IssuerUrl::new(issuer.to_owned()).ok().filter(|_| safe);
                let issuer = issuer.ok_or_else(|| wrong("its issuer is no https address"))?;
                Kind::Oidc(Box::new(Oidc::new(issuer, &self.client_id, secret, http.clone())))
            }
            KindName::GitHub => {
                if self.issuer.is_some() {
                    return Err(wrong("of kind github, it has no issuer; a GitHub Enterprise Server has a url"));
                }
                let secret = secret.ok_or_else(|| wrong("of kind github, it has a client_secret"))?;
                let url = self.url.as_ref().map_or(GITHUB, Url::as_str).trim_end_matches('/');
                checked(url).ok_or_else(|| wrong("its url is no https address"))?;
                Kind::GitHub(GitHub::new(url, &self.client_id, secret, http.clone()))
            }
        };
        Ok(Provider { label: label.trim().to_owned(), sign_up: self.sign_up, kind, id: self.id })
    }

    fn secret(&self, folder: &Path) -> Result<Option<Secret>, SettingsError> {
        let wrong = |what| Err(SettingsError::Provider(self.id.clone(), what));
        let secret = match (&self.client_secret, &self.client_secret_file) {
            (Some(_), Some(_)) => return wrong("it has both client_secret and client_secret_file"),
            (Some(secret), None) => secret.clone(),
            (None, Some(file)) => {
                let file = folder.join(file);
                let text = std::fs::read_to_string(&file)
                    .map_err(|error| SettingsError::SecretFile(self.id.clone(), file, error))?;
                Secret::new(text.trim())
            }
            (None, None) => return Ok(None),
        };
        if secret.is_empty() { wrong("its client secret is empty") } else { Ok(Some(secret)) }
    }
}

fn is_id(id: &str) -> bool {
    (1..=ID_CHARS).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The address, if what is sent there and comes from there is encrypted, or stays on this machine.
fn checked(url: &str) -> Option<Url> {
    let parsed: Url = url.parse().ok()?;
    let plain = parsed.query().is_none() && parsed.fragment().is_none() && parsed.username().is_empty();
    (plain && is_private(&parsed)).then_some(parsed)
}

/// Whether nobody between here and there can read along.
pub fn is_private(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(domain)) => domain == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Provider>, SettingsError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = std::env::temp_dir().join(format!("ckrv-providers-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("secret"), "from a file\n").unwrap();
        std::fs::write(folder.join("providers.yaml"), text).unwrap();
        let found = read(&folder.join("providers.yaml"));
        std::fs::remove_dir_all(&folder).unwrap();
        found
    }

    #[test]
    fn a_file_names_providers_in_their_order() {
        let text = "
providers:
  - { id: acme, label: Acme & Co, kind: oidc, issuer: https://login.acme.example/, client_id: ckrv, client_secret_file: secret, sign_up: open }
  - { id: github, kind: github, client_id: Iv1.0, client_secret: x }
  - { id: ghe, label: Our GitHub, kind: github, url: https://ghe.acme.example/, client_id: a, client_secret: b }
  - { id: local, kind: oidc, issuer: 'http://127.0.0.1:9', client_id: public }
";
        let found = read_text(text).unwrap();
        let shown: Vec<_> = found.iter().map(|p| (p.id.as_str(), p.label.as_str(), p.issuer(), p.sign_up)).collect();
        assert_eq!(
            shown,
            [
                ("acme", "Acme & Co", "https://login.acme.example/", SignUp::Open),
                ("github", "GitHub", "github", SignUp::Invited),
                ("ghe", "Our GitHub", "github:https://ghe.acme.example", SignUp::Invited),
                ("local", "local", "http://127.0.0.1:9", SignUp::Invited),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_by_the_providers_id() {
        let oidc = "kind: oidc, client_id: c";
        for (entry, why) in [
            (format!("id: A, {oidc}, issuer: 'https://a'"), "an id has"),
            (format!("id: a, {oidc}"), "it has an issuer"),
            (format!("id: a, {oidc}, issuer: 'http://a.example'"), "no https"),
            (format!("id: a, {oidc}, issuer: 'https://a', client_secret: x, client_secret_file: secret"), "both"),
            (format!("id: a, {oidc}, issuer: 'https://a', client_secret_file: nothing"), "cannot be read"),
            (format!("id: a, {oidc}, issuer: 'https://a', client_secret: ''"), "is empty"),
            (format!("id: a, {oidc}, issuer: 'https://a', label: ''"), "a label has"),
            ("id: a, kind: github, client_id: c".to_owned(), "it has a client_secret"),
            ("id: a, kind: github, client_id: c, client_secret: s, issuer: github".to_owned(), "no issuer"),
            (format!("id: a, {oidc}, issuer: 'https://a', secret: x"), "is not a list of providers"),
            (format!("id: a, {oidc}, issuer: 'https://a', sign_up: everybody"), "is not a list of providers"),
        ] {
            let error = read_text(&format!("providers: [{{ {entry} }}]")).expect_err(&entry).to_string();
            assert!(error.contains(why), "{entry}: {error}");
        }
        for text in ["providers: [{ id: a, client_secret: [hush] }]", "providers: [{ id: a, client_secret: 'hush's' }]"]
        {
            let error = read_text(text).unwrap_err();
            let said = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            assert!(!said.map(ToString::to_string).collect::<String>().contains("hush"), "{error:?}");
        }
        let twice = "{ id: a, kind: oidc, client_id: c, issuer: 'https://a' }";
        let error = read_text(&format!("providers: [{twice}, {twice}]")).unwrap_err();
        assert_eq!(error.to_string(), "provider `a`: there are two of this id");
    }
}
