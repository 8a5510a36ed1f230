//! Credentials of a git host, and how git is given one: through files of a private folder that live as long as the call.
//!
//! A secret never stands in an argument, a URL, an environment, or a repository's configuration.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use ckrv_types::credential::GitHost;
use ckrv_types::repo_url::RepoKind;
use ckrv_types::{RepoUrl, Secret};
use tempfile::NamedTempFile;
use url::{Position, Url};

use super::address::Pin;
use super::call::Call;

/// A login to one git host, by the name that the runner's administrator or the organization gave it.
#[derive(Debug, Clone)]
pub struct GitCredential {
    pub name: String,
    /// The only host that it is ever sent to.
    pub host: GitHost,
    pub login: GitLogin,
}

#[derive(Debug, Clone)]
pub enum GitLogin {
    /// For https: a password or personal access token.
    Password { username: String, password: Secret },
    /// For ssh: a private key without passphrase, as it stands in its file; and the host's keys as lines of known_hosts,
    /// without which the first key that the host shows is believed.
    SshKey { key: Secret, known_hosts: Option<String> },
}

impl GitCredential {
    /// The first one bound to the URL's host that fits how it is reached.
    pub fn for_url<'a>(all: &'a [Self], url: &RepoUrl) -> Option<&'a Self> {
        all.iter().find(|credential| {
            let fits = match credential.login {
                GitLogin::Password { .. } => url.kind() == RepoKind::Http && is_private_transport(url),
                GitLogin::SshKey { .. } => url.kind() == RepoKind::Ssh,
            };
            fits && credential.host.is_of(url)
        })
    }
}

/// Over plain http a password goes to this machine only.
fn is_private_transport(url: &RepoUrl) -> bool {
    let is_loopback = url.host().is_some_and(|host| {
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    url.as_str().starts_with("https://") || is_loopback
}

/// What the calls to one host get. The files go with it.
pub(super) struct Access {
    config: Vec<(&'static str, String)>,
    ssh_command: Option<String>,
    protocol: &'static str,
    secrets: Vec<String>,
    files: Vec<NamedTempFile>,
}

impl Access {
    /// Prepares access to `url` with files in the folder `private`.
    pub fn prepare(
        url: &RepoUrl,
        pin: Option<&Pin>,
        credential: Option<&GitCredential>,
        private: &Path,
    ) -> io::Result<Self> {
        let mut access = Self {
            config: Vec::new(),
            ssh_command: None,
            protocol: protocol(url),
            secrets: Vec::new(),
            files: Vec::new(),
        };
        match (url.kind(), credential.map(|credential| &credential.login)) {
            (RepoKind::Ssh, login) => access.use_ssh(pin, login, private)?,
            (RepoKind::Http, Some(GitLogin::Password { username, password })) => {
                access.use_password(url, username, password, private)?;
            }
            _ => (),
        }
        if let (RepoKind::Http, Some(pin)) = (url.kind(), pin) {
            access.config.push(("http.curloptResolve", pin.curl()));
        }
        Ok(access)
    }

    /// Lets `call` reach the host.
    pub fn grant(&self, call: Call) -> Call {
        let call = self.config.iter().fold(call, |call, (key, value)| call.config(key, value));
        let call = match &self.ssh_command {
            Some(command) => call.env("GIT_SSH_COMMAND", command),
            None => call,
        };
        call.env("GIT_ALLOW_PROTOCOL", self.protocol).secrets(self.secrets.clone())
    }

    /// git's own `store` helper reads the login from a file and gives it to that protocol, host and port alone.
    fn use_password(&mut self, url: &RepoUrl, username: &str, password: &Secret, private: &Path) -> io::Result<()> {
        let place = Url::parse(url.as_str()).map_err(io::Error::other)?;
        let encoded = percent_encoded(password.expose());
        let mut file = private_file(private)?;
        // Not by `Url`, which takes a `%` for the beginning of something that is encoded already.
        let host = &place[Position::BeforeHost..Position::AfterPort];
        writeln!(file, "{}://{}:{encoded}@{host}", place.scheme(), percent_encoded(username))?;
        self.config.push(("credential.helper", format!("store --file={}", shell_word(&file.path().to_string_lossy()))));
        self.files.push(file);
        let pair = format!("{username}:{}", password.expose());
        self.secrets.extend([
            base64::engine::general_purpose::STANDARD.encode(pair),
            encoded,
            password.expose().to_owned(),
        ]);
        Ok(())
    }

    fn use_ssh(&mut self, pin: Option<&Pin>, login: Option<&GitLogin>, private: &Path) -> io::Result<()> {
        let mut options =
            vec!["BatchMode=yes".to_owned(), "IdentitiesOnly=yes".to_owned(), "ConnectTimeout=30".to_owned()];
        let mut hosts_file = private_file(private)?;
        if let Some(GitLogin::SshKey { known_hosts: Some(known_hosts), .. }) = login {
            options.push("StrictHostKeyChecking=yes".to_owned());
            hosts_file.write_all(known_hosts.as_bytes())?;
        } else {
            options.push("StrictHostKeyChecking=accept-new".to_owned());
        }
        let known_hosts = self.keep(hosts_file);
        options.push(format!("UserKnownHostsFile=\"{}\"", ssh_path(&known_hosts)));
        options.push("GlobalKnownHostsFile=/dev/null".to_owned());
        if let Some(pin) = pin
            && let Some(address) = pin.addresses.first()
        {
            options.extend([format!("HostName={address}"), format!("HostKeyAlias={}", pin.known_as())]);
        }
        let key = match login {
            Some(GitLogin::SshKey { key, .. }) => {
                let mut file = private_file(private)?;
                file.write_all(key.expose().as_bytes())?;
                self.keep(file)
            }
            _ => PathBuf::from("/dev/null"),
        };
        // Not `-i`: that one looks for the file before it fills in what stands behind a `%`.
        options.push(format!("IdentityFile=\"{}\"", ssh_path(&key)));
        let mut command = "ssh -F /dev/null".to_owned();
        for option in options {
            command += " -o ";
            command += &shell_word(&option);
        }
        self.ssh_command = Some(command);
        Ok(())
    }

    /// Until the access ends.
    fn keep(&mut self, file: NamedTempFile) -> PathBuf {
        let path = file.path().to_owned();
        self.files.push(file);
        path
    }
}

/// The one transport that the URL needs, for `GIT_ALLOW_PROTOCOL`.
fn protocol(url: &RepoUrl) -> &'static str {
    match url.kind() {
        RepoKind::Ssh => "ssh",
        RepoKind::Local => "file",
        RepoKind::Http if url.as_str().starts_with("http://") => "http",
        RepoKind::Http => "https",
    }
}

/// Made with mode 0600 by `tempfile`.
fn private_file(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix("git-").tempfile_in(folder)
}

/// For the shell that git starts helpers and ssh with.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// All but the unreserved characters (RFC 3986, section 2.3): git decodes whatever stands behind a `%`.
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    encoded.collect()
}

/// ssh fills in what stands behind a `%`.
fn ssh_path(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use ckrv_types::repo_url::RepoPolicy;

    use super::*;

    fn password(host: &str) -> GitCredential {
        let login = GitLogin::Password { username: "bot".into(), password: Secret::new("p@ss/word") };
        GitCredential { name: "forge".into(), host: GitHost::parse(host).unwrap(), login }
    }

    fn url(text: &str) -> RepoUrl {
        RepoUrl::parse(text, &RepoPolicy::embedded()).unwrap()
    }

    #[test]
    fn a_credential_goes_to_its_own_host_only() {
        let all = [password("forge.example")];
        assert!(GitCredential::for_url(&[password("forge.example:8443")], &url("https://forge.example/a/b")).is_none());
        assert!(GitCredential::for_url(&all, &url("https://forge.example/a/b")).is_some());
        assert!(GitCredential::for_url(&all, &url("https://FORGE.example:8443/a/b")).is_some());
        for other in
            ["https://evil.example/forge.example", "https://forge.example.evil.example/a", "https://x.forge.example/a"]
        {
            assert!(GitCredential::for_url(&all, &url(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear_nor_over_ssh() {
        let all = [password("forge.example"), password("127.0.0.1")];
        assert!(GitCredential::for_url(&all, &url("http://forge.example/a/b")).is_none());
        assert!(GitCredential::for_url(&all, &url("ssh://git@forge.example/a/b")).is_none());
        assert!(GitCredential::for_url(&all, &url("http://127.0.0.1:8080/a/b")).is_some());
    }

    #[test]
    fn git_reads_every_login_as_it_was_given() {
        for (username, secret) in [
            ("bot", "a%20b%41%"),
            ("50%25", "p@ss/w:rd?#[x]"),
            ("döner@example.com", "pässwörd €"),
            ("a/b c", "-._~&=+$,;'\"\\"),
        ] {
            let (folder, url) = (tempfile::tempdir().unwrap(), url("https://forge.example:8443/a/b"));
            let login = GitLogin::Password { username: username.to_owned(), password: Secret::new(secret) };
            let credential = GitCredential { login, ..password("forge.example") };
            let access = Access::prepare(&url, None, Some(&credential), folder.path()).unwrap();
            let mut git = Command::new("git")
                .args(["credential-store", "--file"])
                .arg(access.files[0].path())
                .arg("get")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            git.stdin.take().unwrap().write_all(b"protocol=https\nhost=forge.example:8443\n\n").unwrap();
            let said = String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap();
            assert_eq!(said, format!("username={username}\npassword={secret}\n"));
        }
    }

    #[test]
    fn the_login_is_in_a_private_file_and_nowhere_in_the_settings() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let url = url("https://forge.example:8443/a/b");
        let access = Access::prepare(&url, None, Some(&password("forge.example")), folder.path()).unwrap();
        let file = access.files[0].path().to_owned();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "https://bot:p%40ss%2Fword@forge.example:8443\n");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(access.config.iter().all(|(_, value)| !value.contains("p@ss") && !value.contains("p%40ss")));
        drop(access);
        assert!(!file.exists());
    }
}
