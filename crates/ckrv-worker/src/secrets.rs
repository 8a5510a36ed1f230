//! Named secrets: git credentials and model keys, each bound to where it may be sent. The runner's own, and those that the
//! job's organization has given it; of two with the same name, and of two for the same place, the organization's is taken,
//! because it is meant for fewer.
//!
//! The runner's lie in files that nobody but their owner can read, so that the control plane holds none. Files that they name
//! are looked for beside them, unless their paths are absolute:
//! ```yaml
//! forge:
//!   git: {host: git.example.com, username: bot, token: …}
//! deploy:
//!   git: {host: git.example.com, ssh_key_file: /etc/ckrv/id_ed25519, known_hosts_file: /etc/ckrv/known_hosts}
//! claude:
//!   model: {provider: anthropic, key: …}
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ckrv_types::Secret;
use ckrv_types::credential::{CredentialKind, GitHost, GivenCredential, PROVIDERS};
use serde::Deserialize;
use url::Url;

use crate::git::{GitCredential, GitLogin};

/// Far more than any list of credentials needs.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why secrets cannot be used. Never carries a value, nor a piece of a file.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} can be read by others (mode {mode:03o}); make it your own: chmod 600 {path}")]
    Mode { path: PathBuf, mode: u32 },
    #[error("{path} is not a list of secrets: look at line {line}, column {column}")]
    Parse { path: PathBuf, line: u64, column: u64 },
    #[error("{path}: `{name}` {reason}")]
    Entry { path: PathBuf, name: String, reason: &'static str },
    #[error("neither the job's organization nor this runner has a secret `{0}`")]
    Unknown(String),
    #[error("the organization's credential `{name}` {reason}")]
    Given { name: String, reason: &'static str },
    #[error(
        "the organization's credential `{0}` cannot be decrypted: what is stored of it was changed. Replace its secret, and \
         tell whoever runs the control plane"
    )]
    Unreadable(String),
}

/// All that the runner holds, or all that a job may use.
#[derive(Default)]
pub struct Secrets {
    git: Vec<GitCredential>,
    models: Vec<ModelKey>,
}

/// A key for a model provider.
#[derive(Debug, Clone)]
pub struct ModelKey {
    pub name: String,
    /// None: of whichever is at `base_url`.
    pub provider: Option<String>,
    /// The only place that it is ever sent to; none: the provider's own.
    pub base_url: Option<Url>,
    pub key: Secret,
    /// By the job's organization; otherwise the runner's own.
    is_given: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    Git(GitEntry),
    Model(ModelEntry),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GitEntry {
    host: String,
    username: Option<String>,
    token: Option<Secret>,
    ssh_key_file: Option<PathBuf>,
    known_hosts_file: Option<PathBuf>,
}

impl GitEntry {
    /// With the paths of its files as seen from anywhere. `list`: the file that the entry stands in.
    fn beside(self, list: &Path) -> Self {
        let folder = list.parent().unwrap_or(list);
        let seen = |file: Option<PathBuf>| file.map(|file| folder.join(file));
        Self { ssh_key_file: seen(self.ssh_key_file), known_hosts_file: seen(self.known_hosts_file), ..self }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    provider: String,
    base_url: Option<Url>,
    key: Secret,
}

/// Who besides its owner may read a file of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    Nobody,
    /// In a pod: a Secret's files are root's, and reach an ordinary user through the pod's group. Who else is of that group
    /// does not see the volume.
    Group,
}

impl Secrets {
    /// Reads all files; a name may stand in one of them only.
    pub fn load(paths: &[PathBuf], readers: Readers) -> Result<Self, SecretsError> {
        let mut secrets = Self::default();
        for path in paths {
            let entries = parse(path, &read_private(path, readers)?)?;
            for (name, entry) in entries {
                let refused = |reason| SecretsError::Entry { path: path.clone(), name: name.clone(), reason };
                if secrets.has(&name) {
                    return Err(refused("is there twice"));
                }
                match entry {
                    Entry::Git(entry) => secrets.add_git(&name, entry.beside(path), readers, refused)?,
                    Entry::Model(ModelEntry { provider, base_url, key }) => {
                        let provider = Some(provider);
                        let name = name.clone();
                        secrets.models.push(ModelKey { name, provider, base_url, key, is_given: false });
                    }
                }
            }
        }
        Ok(secrets)
    }

    fn add_git(
        &mut self,
        name: &str,
        entry: GitEntry,
        readers: Readers,
        refused: impl Fn(&'static str) -> SecretsError,
    ) -> Result<(), SecretsError> {
        let login = match (entry.token, entry.ssh_key_file) {
            (Some(password), None) => {
                let username = entry.username.ok_or_else(|| refused("needs a `username` with its `token`"))?;
                GitLogin::Password { username, password }
            }
            (None, Some(key)) => GitLogin::SshKey {
                key: Secret::new(read_private(&key, readers)?),
                known_hosts: entry.known_hosts_file.as_deref().map(read_public).transpose()?,
            },
            _ => return Err(refused("needs either a `token` or an `ssh_key_file`")),
        };
        let host = GitHost::parse(&entry.host).ok_or_else(|| refused("needs a `host`, or `host:port`"))?;
        self.git.push(GitCredential { name: name.to_owned(), host, login });
        Ok(())
    }

    /// What a job may use: these and those of its organization, which go before them.
    pub fn with_given(self, given: &[GivenCredential]) -> Result<Self, SecretsError> {
        let mut all = Self::default();
        for credential in given {
            let refused = |reason| SecretsError::Given { name: credential.name.clone(), reason };
            all.add_given(credential).map_err(refused)?;
        }
        let is_left = |name: &str| !given.iter().any(|credential| credential.name == name);
        all.git.extend(self.git.into_iter().filter(|git| is_left(&git.name)));
        all.models.extend(self.models.into_iter().filter(|model| is_left(&model.name)));
        Ok(all)
    }

    fn add_given(&mut self, given: &GivenCredential) -> Result<(), &'static str> {
        let (name, secret) = (given.name.clone(), given.secret.0.clone());
        let login = match given.kind {
            CredentialKind::ModelKey => {
                let is_provider = PROVIDERS.contains(&given.host.as_str());
                let base_url = (!is_provider).then(|| Url::parse(&given.host)).transpose();
                let base_url = base_url.map_err(|_| "is bound to what is no address")?;
                let provider = is_provider.then(|| given.host.clone());
                self.models.push(ModelKey { name, provider, base_url, key: secret, is_given: true });
                return Ok(());
            }
            CredentialKind::GitToken => {
                let username = given.username.clone().ok_or("has no user name")?;
                GitLogin::Password { username, password: secret }
            }
            CredentialKind::DeployKey => GitLogin::SshKey { key: secret, known_hosts: given.known_hosts.clone() },
        };
        let host = GitHost::parse(&given.host).ok_or("is bound to what is no host")?;
        self.git.push(GitCredential { name, host, login });
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.git.iter().any(|git| git.name == name) || self.models.iter().any(|model| model.name == name)
    }

    /// Whether all that a job names is there.
    pub fn check(&self, names: &[String]) -> Result<(), SecretsError> {
        names.iter().find(|name| !self.has(name)).map_or(Ok(()), |name| Err(SecretsError::Unknown(name.clone())))
    }

    /// The git credentials, those that the job names first.
    pub fn git(&self, names: &[String]) -> Vec<GitCredential> {
        let mut credentials = self.git.clone();
        credentials.sort_by_key(|credential| !names.contains(&credential.name));
        credentials
    }

    /// The key for a provider's models: one that the job names, or else one that its organization has given; of those, one for
    /// whichever is at its address comes after those for the provider.
    pub fn model(&self, provider: &str, names: &[String]) -> Option<&ModelKey> {
        let mut fitting: Vec<&ModelKey> =
            self.models.iter().filter(|model| model.provider.as_deref().is_none_or(|of| of == provider)).collect();
        fitting.sort_by_key(|model| (!names.contains(&model.name), !model.is_given, model.provider.is_none()));
        fitting.first().copied()
    }

    /// Every value that must never stand in a log.
    pub fn values(&self) -> impl Iterator<Item = &Secret> {
        let logins = self.git.iter().map(|credential| match &credential.login {
            GitLogin::Password { password, .. } => password,
            GitLogin::SshKey { key, .. } => key,
        });
        logins.chain(self.models.iter().map(|model| &model.key))
    }
}

/// Reads a file that anybody may read.
fn read_public(path: &Path) -> Result<String, SecretsError> {
    let failed = |source| SecretsError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(failed)?.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Reads a file that nobody but its owner and `readers` can read.
fn read_private(path: &Path, readers: Readers) -> Result<String, SecretsError> {
    let failed = |source| SecretsError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the open file: nobody can put another in its place meanwhile.
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    let allowed = if readers == Readers::Group { 0o740 } else { 0o700 };
    if mode & !allowed != 0 {
        return Err(SecretsError::Mode { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, Entry>, SecretsError> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // The error itself quotes the file.
        let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
        SecretsError::Parse { path: path.to_owned(), line, column }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use ckrv_types::credential::CredentialSecret;
    use tempfile::NamedTempFile;

    use super::*;

    fn file(text: &str, mode: u32) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    fn load(text: &str) -> Result<Secrets, SecretsError> {
        Secrets::load(&[file(text, 0o600).path().to_owned()], Readers::Nobody)
    }

    #[test]
    fn entries_are_found_by_what_they_are_for() {
        let key = file("-----BEGIN KEY-----\nb3BlbnNzaC1rZXk\n", 0o400);
        let secrets = load(&format!(
            "forge: {{git: {{host: a.example, username: bot, token: tok-en-1}}}}\n\
             other: {{git: {{host: a.example, username: bot, token: tok-en-2}}}}\n\
             deploy: {{git: {{host: b.example, ssh_key_file: {}}}}}\n\
             claude: {{model: {{provider: anthropic, key: sk-1234}}}}\n",
            key.path().display()
        ))
        .unwrap();
        let named = ["other".to_owned()];
        assert_eq!(secrets.git(&named)[0].name, "other");
        assert_eq!(secrets.git(&[]).len(), 3);
        assert_eq!(secrets.model("anthropic", &named).unwrap().name, "claude");
        assert!(secrets.model("openai", &[]).is_none());
        let values: Vec<&str> = secrets.values().map(Secret::expose).collect();
        assert!(values.contains(&"sk-1234") && values.iter().any(|value| value.contains("b3BlbnNzaC1rZXk")));
        assert!(secrets.check(&named).is_ok());
        assert!(matches!(secrets.check(&["x".to_owned()]), Err(SecretsError::Unknown(name)) if name == "x"));
    }

    fn given(name: &str, kind: CredentialKind, host: &str, secret: &str) -> GivenCredential {
        GivenCredential {
            name: name.to_owned(),
            kind,
            host: host.to_owned(),
            username: Some("bot".to_owned()),
            known_hosts: None,
            secret: CredentialSecret(Secret::new(secret)),
        }
    }

    #[test]
    fn what_the_organization_gives_goes_before_what_the_runner_holds() {
        let own = "forge: {git: {host: a.example, username: own, token: own-forge}}\n\
                   kept: {git: {host: a.example, username: own, token: own-kept}}\n\
                   claude: {model: {provider: anthropic, key: own-claude}}\n";
        let secrets = load(own)
            .unwrap()
            .with_given(&[
                given("forge", CredentialKind::GitToken, "a.example", "given-forge"),
                given("gateway", CredentialKind::ModelKey, "https://gateway.example/x", "given-gateway"),
                given("other", CredentialKind::ModelKey, "anthropic", "given-other"),
                given("deploy", CredentialKind::DeployKey, "b.example:2222", "given-deploy"),
            ])
            .unwrap();
        let values: Vec<&str> = secrets.values().map(Secret::expose).collect();
        for value in ["given-forge", "own-kept", "own-claude", "given-gateway", "given-other", "given-deploy"] {
            assert!(values.contains(&value), "{value}");
        }
        assert!(!values.contains(&"own-forge"), "its name is taken");
        assert_eq!(secrets.git(&[])[0].name, "forge");
        assert_eq!(secrets.git(&["kept".to_owned()])[0].name, "kept");
        assert_eq!(secrets.model("anthropic", &[]).unwrap().name, "other");
        assert_eq!(secrets.model("anthropic", &["claude".to_owned()]).unwrap().name, "claude");
        let gateway = secrets.model("anthropic", &["gateway".to_owned()]).unwrap();
        assert_eq!(gateway.base_url.as_ref().unwrap().as_str(), "https://gateway.example/x");
        assert_eq!(secrets.model("openai", &[]).unwrap().name, "gateway");
    }

    #[test]
    fn a_gateway_that_the_organization_gives_goes_before_the_runners_own_key_unless_the_job_names_that() {
        let secrets = load("claude: {model: {provider: anthropic, key: own-claude}}")
            .unwrap()
            .with_given(&[given("gateway", CredentialKind::ModelKey, "https://gateway.example/x", "given-gateway")])
            .unwrap();
        assert_eq!(secrets.model("anthropic", &[]).unwrap().name, "gateway");
        assert_eq!(secrets.model("anthropic", &["claude".to_owned()]).unwrap().name, "claude");
    }

    #[test]
    fn what_is_given_without_a_host_is_refused() {
        for (kind, host) in [(CredentialKind::GitToken, "https://a.example"), (CredentialKind::ModelKey, "nowhere")] {
            let error = Secrets::default().with_given(&[given("x", kind, host, "hunter2")]).err().unwrap();
            assert!(matches!(&error, SecretsError::Given { name, .. } if name == "x"), "{error}");
        }
    }

    #[test]
    fn the_control_plane_knows_the_same_providers() {
        assert_eq!(crate::proxy::Provider::ALL.map(crate::proxy::Provider::name), PROVIDERS);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_and_the_way_out_is_named() {
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let file = file("{}", mode);
            let error = Secrets::load(&[file.path().to_owned()], Readers::Nobody).err().unwrap();
            assert!(matches!(error, SecretsError::Mode { mode: found, .. } if found == mode));
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        for mode in [0o600, 0o400] {
            assert!(Secrets::load(&[file("{}", mode).path().to_owned()], Readers::Nobody).is_ok());
        }
    }

    #[test]
    fn in_a_pod_the_group_may_read_and_no_more() {
        for (mode, is_good) in
            [(0o440, true), (0o640, true), (0o400, true), (0o444, false), (0o660, false), (0o404, false)]
        {
            let loaded = Secrets::load(&[file("{}", mode).path().to_owned()], Readers::Group);
            assert_eq!(loaded.is_ok(), is_good, "{mode:o}");
        }
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused_too() {
        let key = file("key", 0o644);
        let error = load(&format!("d: {{git: {{host: a, ssh_key_file: {}}}}}", key.path().display())).err().unwrap();
        assert!(matches!(error, SecretsError::Mode { .. }));
    }

    #[test]
    fn what_is_wrong_is_told_without_a_word_of_the_file() {
        for text in [
            "a: {git: {host: h, token: hunter2}}",
            "a: {git: {host: h, username: u}}",
            "a: {git: {host: h, username: u, token: hunter2, ssh_key_file: /x}}",
            "a: {git: {hots: hunter2}}",
            "a: {model: {provider: p, key: [hunter2]}}",
            "a: {vault: hunter2}",
            "a: hunter2: x",
            "a: {model: {provider: p, key: hunter2}}\na: {model: {provider: p, key: hunter2}}",
        ] {
            let error = anyhow::Error::from(load(text).err().expect(text));
            assert!(!format!("{error:#} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
